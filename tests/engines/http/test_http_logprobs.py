from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.engines.http.logprobs import read_logprobs

TEXTS = st.text(st.sampled_from("a b\n三é😀."), max_size=12)


def chat(tokens: list[bytes], logprob: float = -1.0, top=(-0.5, -1.0)):
    tops = [{"token": str(i), "logprob": value} for i, value in enumerate(top)]
    return {
        "content": [
            {"token": t.decode(errors="replace"), "bytes": list(t), "logprob": logprob, "top_logprobs": tops} for t in tokens
        ]
    }


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[a:b] for a, b in pairwise(bounds)]


@given(TEXTS, st.lists(st.integers(0, 40)))
def test_a_token_starts_at_the_character_in_which_its_first_byte_lies(text, cuts):
    tokens = pieces(text.encode(), cuts)
    stats = read_logprobs(chat(tokens), text, is_stopped=False, num_top=2)
    begins = [len(b"".join(tokens[:i])) for i in range(len(tokens))]
    firsts = [len(character.encode()) for character in text]
    expected = [next(i for i in range(len(text)) if sum(firsts[: i + 1]) > begin) for begin in begins]
    assert stats.starts.tolist() == expected


@given(TEXTS, st.lists(st.integers(0, 40)))
def test_replacement_characters_never_give_a_wrong_number_of_tokens(text, cuts):
    tokens = [token.decode(errors="replace").encode() for token in pieces(text.encode(), cuts)]
    stats = read_logprobs(chat(tokens), text, is_stopped=False, num_top=2)
    if stats is not None:
        assert len(stats) == len(tokens)
        assert (np.diff(stats.starts) >= 0).all()


def test_the_pieces_of_a_character_are_aligned_without_their_bytes():
    said = {"tokens": ["a", "\ufffd", "\ufffd", "b", "</s>"], "token_logprobs": [-1.0] * 5}
    stats = read_logprobs(said, "a😀b", is_stopped=True, num_top=0)
    assert stats.starts.tolist() == [0, 1, 1, 2]
    assert np.isnan(stats.column("lp1")).all()
    assert stats.column("logp").tolist() == [-1.0] * 4
    assert stats.ids.tolist() == [-1] * 4


def test_bytes_of_no_character_may_come_as_empty_pieces():
    said = {"tokens": ["", "a", "", "", " b", ""], "token_logprobs": [-1.0] * 6}
    for text in ("\ufffda\ufffd\ufffd b", "\ufffda\ufffd\ufffd b\ufffd"):
        assert read_logprobs(said, text, is_stopped=False, num_top=0).starts.tolist() == [0, 1, 2, 2, 4, 6]


def test_end_tokens_are_left_out_and_other_texts_refused():
    tokens = [b"1", b"23", b"<|end|>"]
    assert len(read_logprobs(chat(tokens), "123", is_stopped=True, num_top=2)) == 2
    assert read_logprobs(chat(tokens), "123", is_stopped=False, num_top=2) is None
    assert len(read_logprobs(chat(tokens), "12", is_stopped=True, num_top=2)) == 2  # cut inside a token by a stop string
    assert read_logprobs(chat(tokens), "456", is_stopped=True, num_top=2) is None
    assert len(read_logprobs({"content": []}, "", is_stopped=True, num_top=2)) == 0
    for broken in ({}, [], {"content": None}, {"content": [{}]}, {"tokens": [1], "token_logprobs": [0]}, {"content": 3}):
        assert read_logprobs(broken, "1", is_stopped=True, num_top=2) is None


@pytest.mark.parametrize(
    ("chosen", "top", "rank", "num_known"),
    [
        (-0.1, [-0.1, *[-4.0 - i for i in range(19)]], 1, 20),
        (-5.0, [-0.1, *[-4.0 - i for i in range(19)]], 3, 20),
        (-40.0, [-0.1, *[-4.0 - i for i in range(19)]], None, 20),
        (-40.0, [-40.0, -0.1, *[-4.0 - i for i in range(18)]], None, 19),  # it stands in the place of the twentieth
        (-0.1, [-0.1, -4.0, -9999.0, -9999.0, -9999.0], 1, 2),  # masked
        (-0.1, [-0.1], None, 0),
        (-9999.0, [-0.1, -4.0], None, 2),
    ],
)
def test_what_a_list_of_the_likeliest_tells(chosen, top, rank, num_known):
    stats = read_logprobs(chat([b"x"], chosen, top), "x", is_stopped=True, num_top=20)
    largest = sorted(top, reverse=True)
    expected = {
        "logp": chosen if chosen > -9999 else None,
        "rank": rank,
        "lp1": -0.1 if num_known else None,
        "lp2": -4.0 if num_known else None,
        "sum_top5": sum(largest[:5]) if num_known >= 5 else None,
        "sum_top20": sum(largest[:20]) if num_known >= 20 else None,
        "entropy": None,
        "mean_logp": None,
        "sum_p2": None,
    }
    for name, value in expected.items():
        assert stats.column(name)[0] == pytest.approx(np.nan if value is None else value, nan_ok=True), name


def test_token_ids_are_kept_where_the_server_gives_them():
    assert read_logprobs(chat([b"x", b"<e>"]), "x", is_stopped=True, num_top=2, ids=[5, 9]).ids.tolist() == [5]
    assert read_logprobs(chat([b"x", b"y"]), "xy", is_stopped=True, num_top=2, ids=[5]).ids.tolist() == [-1, -1]
