"""The exact statistics that a server with our plug-in sends along (`tamis.engines.vllm.middleware`)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np

from tamis.engines.vllm.store import unpack
from tamis.records import TokenStats


def read_exact(packed: Any, text: str, *, is_stopped: bool, stop: Any, num_tokens: int) -> TokenStats | None:
    """The statistics of a choice, without those of its end token; None: its text is not what its tokens say.

    Args:
        packed: The field `tamis` of the answer.
        text: The text of the choice.
        is_stopped: It ended by itself.
        stop: What ended it, where vLLM tells: a stop string, or an end token's id.
        num_tokens: How many tokens the server counts, the end token with them; there may be rows of later ones.

    Raises:
        ValueError: The field is not what the plug-in writes.
    """
    if not isinstance(packed, str):
        raise ValueError("the server sends no token statistics")
    data = b64decode(packed, validate=True)
    end = len(data) - 4 * (int.from_bytes(data[:4], "little") + 2)
    if end < 0:
        raise ValueError("token statistics that are cut off")
    values, ids, vocab_size = unpack(data[:end])
    if len(ids) < num_tokens:
        raise ValueError(f"statistics of {len(ids)} of {num_tokens} tokens")
    starts = np.frombuffer(data[end:], "<i4")[:-2]
    least, most = np.frombuffer(data[end:], "<i4")[-2:] if len(ids) == num_tokens else starts[[num_tokens, num_tokens]]
    if text[:1] == " " and len(text) == most + 1:  # a first space, which decoding from here on leaves away
        starts, least, most = np.append(0, starts[1:] + 1), least + 1, most + 1
    length = num_tokens
    if isinstance(stop, str):
        length = int(np.count_nonzero(starts[:length] < len(text)))
    elif not least <= len(text) <= most:
        return None
    elif is_stopped and length and starts[length - 1] == most:
        length -= 1
    return TokenStats(values[:length], ids[:length], np.minimum(starts[:length], len(text)).astype(np.int32), vocab_size)
