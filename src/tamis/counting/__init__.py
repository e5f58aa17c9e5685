"""How many tokens a text has under a model's tokenizer: exactly what the Hugging Face tokenizer counts, several times as fast.

    recipe             ->  probe                              ->  counter
    (a tokenizer.json)     (the last proof; kept by `kept`)       (text -> number)

Byte-level BPE is counted by tiktoken, built from the same file. It is used where it is proved to agree: merges by their
structure (`merges`), the pattern by its form (`patterns`), characters by their age (`characters`), the whole on probe strings
when a tokenizer is first read. Everything else goes through `tokenizers` itself.
"""

from tamis.counting.counter import TokenCounter
from tamis.counting.probe import open_counter

__all__ = ["TokenCounter", "open_counter"]
