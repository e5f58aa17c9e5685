"""Do two ways of merging bytes always give the same tokens?

`tokenizers` merges the pairs that are listed, in their order. tiktoken merges any two neighbours whose union is a token, in the
order of the tokens. They agree when each token has one listed pair, made of earlier tokens, and merging its bytes alone ends in
just that pair before the last step. Then neighbours that spell a token while all earlier merges are exhausted can only be its
pair: what happens inside a token's bytes, as long as nothing merges across their ends, is what happens to these bytes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

NUM_BYTES = 256


def rank_tokens(alphabet: Mapping[str, int], pairs: Sequence[Sequence[str]]) -> dict[bytes, int] | str:
    """Token -> its place in the order of merging, for tiktoken; or in words why the two ways may differ.

    Args:
        alphabet: the character that stands for each byte.
        pairs: the merges, in order.
    """
    place = {sign: number for number, sign in enumerate(alphabet)}
    left, right = np.arange(NUM_BYTES + len(pairs)), np.arange(NUM_BYTES + len(pairs))
    for token, (first, second) in enumerate(pairs, NUM_BYTES):
        if first not in place or second not in place:
            return "a merge uses a token that no earlier merge makes"
        union = first + second
        if place.setdefault(union, token) != token:
            return "several merges make the same token"
        left[token], right[token] = place[first], place[second]
    if not _each_pair_is_reached(left, right):
        return "a token is not what its bytes merge to"
    bytes_of = {ord(sign): byte for sign, byte in alphabet.items()}
    return {token.translate(bytes_of).encode("latin-1"): number for token, number in place.items()}


def _each_pair_is_reached(left: Ids, right: Ids) -> bool:
    """Whether merging the bytes of every token by earlier merges alone ends in its pair; (V,) parts, a byte its own.

    From the seam between the two parts outwards, the pieces that ever touch there are walked in the reverse of the order in
    which they arose; if two of them could have merged before one of them was used up, the pair would never have come about.
    """
    num = len(left)
    tokens = np.arange(NUM_BYTES, num)
    keys = left[tokens] * num + right[tokens]
    order = np.argsort(keys)
    keys, made = keys[order], tokens[order]
    if not len(keys):
        return True
    first, second, limit = left[tokens], right[tokens], tokens.copy()
    while len(first):
        wanted = first * num + second
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        if ((keys[found] == wanted) & (made[found] < limit)).any():
            return False
        # the piece that arose later is taken apart first; a byte cannot be, then the other is
        inner_first, inner_second = right[first], left[second]
        can_first, can_second = inner_first != first, inner_second != second
        take_first = can_first & ((first > second) | ~can_second)
        take_second = can_second & ~take_first
        limit = np.where(take_first, first, second + 1)
        first, second = np.where(take_first, inner_first, first), np.where(take_second, inner_second, second)
        going = take_first | take_second
        first, second, limit = first[going], second[going], limit[going]
    return True
