"""Token statistics out of the log-probabilities that servers give: exact where they tell enough, NaN elsewhere.

Of the nine statistics a list of the k likeliest tokens gives `logp`, `lp1`, `lp2`, `rank` (when the sampled token is among
them), and `sum_top5` and `sum_top20` when they are k at least. `entropy`, `mean_logp` and `sum_p2` need the whole vocabulary. A
score that needs a NaN is "undefined". Whether the numbers are of the raw distribution at temperature 1 is the server's choice;
vLLM, SGLang and OpenAI give those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.records import STATISTICS, TokenStats

UNKNOWN_VOCABULARY = (1 << 31) - 1
"""`TokenStats.vocab_size` where no server tells it: all formulas that hold V hold a NaN too."""
_FLOOR = -9999.0  # what servers write for minus infinity and all that is too small for them
_PLACE = {name: place for place, name in enumerate(STATISTICS)}


def read_logprobs(said: Any, text: str, *, is_stopped: bool, num_top: int, ids: Any = None) -> TokenStats | None:
    """The statistics of a choice; None: it has none, or they do not belong to its text.

    Args:
        said: `logprobs` of a choice of a chat (`content`) or of a plain completion (`tokens`, `token_logprobs`, ...).
        text: The text of the choice.
        is_stopped: It ended by itself: tokens past the end of the text are the end token, or belong to a stop string.
        num_top: How many of the likeliest tokens were asked for.
        ids: The token ids, where the server gives them; unknown ones are -1.
    """
    try:
        tokens, chosen, tops = _of_chat(said["content"]) if "content" in said else _of_completion(said)
        starts = _starts(tokens, text, is_stopped=is_stopped)
        if starts is None:
            return None
        rows = [_row(logp, top, num_top) for logp, top in zip(chosen[: len(starts)], tops, strict=False)]
        if len(rows) != len(starts):
            return None
        known = isinstance(ids, list) and len(ids) >= len(rows) and all(isinstance(i, int) for i in ids)
        return TokenStats(
            values=np.array(rows, dtype=np.float32).reshape(-1, len(STATISTICS)),
            ids=np.array(ids[: len(rows)] if known else [-1] * len(rows), dtype=np.int32),
            starts=np.array(starts, dtype=np.int32),
            vocab_size=UNKNOWN_VOCABULARY,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


Tokens = Sequence[bytes]
Tops = Sequence[Sequence[float]]


def _of_chat(content: Sequence[Mapping[str, Any]]) -> tuple[Tokens, Sequence[float], Tops]:
    tokens = [bytes(entry["bytes"]) if entry.get("bytes") is not None else entry["token"].encode() for entry in content]
    tops = [[top["logprob"] for top in entry.get("top_logprobs") or ()] for entry in content]
    return tokens, [entry["logprob"] for entry in content], tops


def _of_completion(said: Mapping[str, Any]) -> tuple[Tokens, Sequence[float], Tops]:
    tokens, chosen = [token.encode() for token in said["tokens"]], said["token_logprobs"]
    tops = [list(top.values()) if top else [] for top in said.get("top_logprobs") or [None] * len(tokens)]
    return tokens, chosen, tops


def _row(chosen: float, entries: Sequence[float], num_top: int) -> list[float]:
    row = [np.nan] * len(STATISTICS)
    if chosen > _FLOOR:
        row[_PLACE["logp"]] = min(chosen, 0.0)
    if 1 < len(entries) <= num_top and entries[0] < min(entries[1:]):
        entries = entries[1:]  # vLLM's chat puts a token that is not among the k likeliest in the place of the last of them
    top = sorted((logp for logp in entries if logp > _FLOOR), reverse=True)
    if len(top) < 2:
        return row  # a list of one may be the sampled token instead of the likeliest
    if chosen >= top[-1]:
        row[_PLACE["rank"]] = 1 + sum(logp > chosen for logp in top)
    row[_PLACE["lp1"]], row[_PLACE["lp2"]] = top[:2]
    for k in (5, 20):
        if len(top) >= k:
            row[_PLACE[f"sum_top{k}"]] = sum(top[:k])
    return row


def _starts(tokens: Tokens, text: str, *, is_stopped: bool) -> list[int] | None:
    """The character of the text in which each token begins; None where the tokens do not spell the text."""
    data, spelt = text.encode(), b"".join(tokens)
    if spelt[: len(data)] != data or (len(spelt) > len(data) and not is_stopped):
        return _starts_of_pieces([token.decode(errors="replace") for token in tokens], text, is_stopped=is_stopped)
    characters = np.cumsum((np.frombuffer(data, np.uint8) & 0xC0) != 0x80) - 1  # of each byte
    begins = np.concatenate(([0], np.cumsum([len(token) for token in tokens])))[:-1].astype(int)
    inside = [begin for begin in begins.tolist() if begin < len(data)]
    return characters[inside].tolist() if inside else []


def _starts_of_pieces(pieces: Sequence[str], text: str, *, is_stopped: bool) -> list[int] | None:
    """The same where parts of a character came as replacement characters, or empty: what follows tells where they end."""
    starts: list[int] = []
    place, is_open = 0, 0
    for piece in pieces:
        if place >= len(text) and is_stopped and not is_open:
            break
        if not piece or ("\ufffd" in piece and not text.startswith(piece, place)):
            starts.append(place)
            is_open += 1
            continue
        if is_open:
            found = text.find(piece, place, place + is_open + len(piece))
            if found < 0:
                return None
            place, is_open = found, 0
        if not text.startswith(piece, place):
            rest = text[place:]
            if not (is_stopped and rest and piece.startswith(rest)):
                return None
            piece = rest
        starts.append(place)
        place += len(piece)
    return starts if place == len(text) or (is_open and len(text) - place <= is_open) else None
