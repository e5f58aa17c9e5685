"""A service over any engine: OpenAI's protocol, behind which the best of several answers is chosen.

    request --(guard)--> body --(asking)--> order --> desk --> engine: all requests in one stream
                                               '--(answering)--> answer --(replies, streaming)--> response

It is a door beside the command line: workflows do the work.
"""
