"""What makes two problems or two draws the same: hashes of their content, never of their place or order."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from tamis.records import Message, Pool, Prompt, Sample, Sampling

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]{0,99}")
_LONGEST_NAME = 120  # bytes of a readable name; file systems end at 255


def _digest(*values: Any) -> bytes:
    try:
        content = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # half a surrogate pair
        content = json.dumps(values, sort_keys=True).encode()
    return hashlib.blake2b(content, digest_size=8).digest()


def content_id(prompt: str, messages: tuple[Message, ...] = (), images: tuple[str, ...] = ()) -> str:
    """The id of a problem whose source gives none: 16 hex digits of its content."""
    return _digest(prompt, [(m.role, m.content) for m in messages], list(images)).hex()


def sample_keys(problem_id: str, prompt: Prompt, sampling: Sampling, indices: Iterable[int]) -> list[str]:
    """The names of draws, for ever: 16 hex digits of problem, prompt, sampling (seed included, `n` not) and index."""
    messages = [(m.role, m.content) for m in prompt.messages]
    schema = [] if prompt.schema is None else [prompt.schema]
    base = _digest(problem_id, messages, list(prompt.images), prompt.raw, sampling.to_json(), *schema)
    return [hashlib.blake2b(base + index.to_bytes(4), digest_size=8).hexdigest() for index in indices]


def sample_seed(run_seed: int, problem_id: str, index: int) -> int:
    """The seed of one sample (63 bits): of the run, the problem and the index alone, never of order or batch."""
    return int.from_bytes(_digest("seed", run_seed, problem_id, index)) >> 1


def seed_of(key: str) -> int:
    """The seed of one sample (63 bits) where those of a problem differ in prompt or sampling: of its key alone."""
    return int.from_bytes(_digest("seed", key)) >> 1


def lot(*values: Any) -> int:
    """A number (64 bits) to decide by where nothing else does: of these values alone."""
    return int.from_bytes(_digest("lot", *values))


def text_key(sample: Sample) -> str:
    """The name of what a sample says: 16 hex digits of its key and its text."""
    return _digest(sample.key, sample.text).hex()


def pool_keys(pool: Pool) -> list[str]:
    """A name for each sample among these siblings: of the texts of all that did not fail, and its own key."""
    said = [sample.text for sample in pool.samples if not sample.error]
    return [_digest(said, sample.key).hex() for sample in pool.samples]


def file_stem(name: str) -> str:
    """A file name without its end that no other name has, not even where case makes no difference.

    It is the name itself, or what is fit of it and a hash.
    """
    if _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^\w.-]+", "_", name).encode(errors="ignore")[:_LONGEST_NAME].decode(errors="ignore")
    return f"{readable}~{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=6).hexdigest()}"
