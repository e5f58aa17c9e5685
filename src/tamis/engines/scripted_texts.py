"""What a scripted server says to a prompt under a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

Script = Callable[[str, int], str] | Mapping[str, Sequence[str]] | Sequence[str]
"""A function of prompt and seed; or texts, of which the seed picks one, by a part of the prompt; or the same texts for all."""


def numbers(prompt: str, seed: int) -> str:
    """The script of a server that is given none: a short text that ends in a boxed number."""
    number = digest(prompt, seed)
    return f"Step 1: think of {number % 10_007}.\nThe answer is \\boxed{{{number % 10}}}."


def text_of(script: Script, prompt: str, seed: int) -> str:
    """What a script says.

    Raises:
        LookupError: It has nothing to say to this prompt.
    """
    if callable(script):
        return script(prompt, seed)
    texts = next((texts for part, texts in script.items() if part in prompt), ()) if isinstance(script, Mapping) else script
    if not texts:
        raise LookupError("The script has no answer to this prompt.")
    return texts[digest(prompt, seed) % len(texts)]


def digest(prompt: str, seed: int) -> int:
    """31 bits of a prompt and a seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {prompt}".encode(errors="surrogatepass"), digest_size=4).digest()) >> 1
