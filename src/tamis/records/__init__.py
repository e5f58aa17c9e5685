"""The nouns: what flows from problems to choices. Frozen, slotted, JSON at rest.

    Problem --(prompt, Sampling)--> Request --(engine)--> Sample (+ TokenStats) --> Grade, Verdict, Score --> Choice
                                                          `--------- all of one problem: a Pool --------'

Everything here is a value: no I/O, no clock, no globals. `to_json` gives plain dicts without defaults, `from_json` reads
them back; files that hold records begin each line with the record's key, so that a resume need not parse them.
"""

from tamis.records.asked import Draw, Message, OnText, Problem, Prompt, Request, Sampling, Watch
from tamis.records.drawn import RECORD_VERSION, STATISTICS, EmbeddingChain, Failure, FinishReason, Image, Sample, TokenStats
from tamis.records.judged import Choice, Grade, Pool, Question, Reading, Score, Unscored, Verdict
from tamis.records.traced import Trace

__all__ = [
    "RECORD_VERSION",
    "STATISTICS",
    "Choice",
    "Draw",
    "EmbeddingChain",
    "Failure",
    "FinishReason",
    "Grade",
    "Image",
    "Message",
    "OnText",
    "Pool",
    "Problem",
    "Prompt",
    "Question",
    "Reading",
    "Request",
    "Sample",
    "Sampling",
    "Score",
    "TokenStats",
    "Trace",
    "Unscored",
    "Verdict",
    "Watch",
]
