"""The proof that two ways of merging agree, against trying all strings."""

from __future__ import annotations

import random
from itertools import pairwise, product

from tamis.counting.merges import rank_tokens
from tamis.counting.recipe import byte_alphabet

ALPHABET = byte_alphabet()


def by_list(text: bytes, pairs: list[tuple[str, str]]) -> list[str]:
    """Merging as `tokenizers` does: the earliest listed pair, leftmost first."""
    parts = [chr(byte) for byte in text]
    order = {pair: place for place, pair in enumerate(pairs)}
    while found := [(order[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in order]:
        _, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def by_rank(text: bytes, ranks: dict[bytes, int]) -> list[str]:
    """Merging as tiktoken does: the neighbours whose union is the earliest token; a whole token at once."""
    if text in ranks:
        return [text.decode()]
    parts = [bytes([byte]) for byte in text]
    while found := [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]:
        _, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [part.decode() for part in parts]


def test_what_is_proved_holds_for_all_strings():
    rng, outcomes = random.Random(0), {True: 0, False: 0}
    texts = [bytes(text) for size in range(1, 8) for text in product(b"ab", repeat=size)]
    while min(outcomes.values()) < 25:
        tokens, pairs = ["a", "b"], []
        for _ in range(rng.randint(1, 6)):
            pair = rng.choice(tokens), rng.choice(tokens)
            if pair[0] + pair[1] not in tokens:
                pairs.append(pair)
                tokens.append(pair[0] + pair[1])
        ranks = rank_tokens(ALPHABET, pairs)
        agree = not isinstance(ranks, str)
        outcomes[agree] += 1
        if agree:
            assert all(by_list(text, pairs) == by_rank(text, ranks) for text in texts), pairs
        else:  # refused for a reason: some token is never made of its own bytes
            tokens_made = [by_list(token.encode(), pairs) for token in tokens]
            assert any(len(made) > 1 for made in tokens_made), pairs
