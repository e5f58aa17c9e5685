"""Texts and where their tokens start, against `decode` of every prefix."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from engines.hf.tiny_models import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from tamis.engines.hf.text import Detokenizer, cut_at_stop


@cache
def sentence_tokenizer() -> PreTrainedTokenizerFast:
    """The other common kind (Llama 2): word pieces with a space mark, bytes as a last resort, a first space dropped."""
    words = ["▁the", "▁cat", "s", "▁", "好", "的", "a", "b", ".", "▁🙂"]
    vocab = {token: i for i, token in enumerate(["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words])}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", clean_up_tokenization_spaces=False)


@cache
def byte_level() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


def decode(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


TEXTS = ["the thé 🙂 naïve", "解方程：2x = 4，所以 x = 2。", "emoji 👩‍👩‍👧‍👦 family, 中文 and ﷽", "", "\n\n  spaces  "]


@pytest.mark.parametrize("text", TEXTS)
def test_starts_of_real_text(text: str) -> None:
    tokenizer = byte_level()
    ids = tokenizer(text).input_ids
    found, starts = Detokenizer(tokenizer).text_and_starts(ids)
    assert found == text
    for token, start in zip(range(len(ids)), starts, strict=True):
        prefix = decode(tokenizer, ids[:token])
        assert text[:start] == prefix[:start]
        assert prefix[start:] in ("", "\N{REPLACEMENT CHARACTER}")  # at most one character is split


@settings(max_examples=200)
@given(ids=st.lists(st.integers(0, 275), max_size=40))
def test_byte_level_texts_and_starts_of_any_ids(ids: list[int]) -> None:
    tokenizer = byte_level()
    text, starts = Detokenizer(tokenizer).text_and_starts(ids)
    assert text == decode(tokenizer, ids)
    assert starts.dtype == np.int32
    assert len(starts) == len(ids)
    assert (np.diff(starts) >= 0).all()
    assert ((starts >= 0) & (starts <= len(text))).all()
    for token, start in enumerate(starts):
        assert text[:start] == decode(tokenizer, ids[:token])[:start]


@settings(max_examples=100)
@given(ids=st.lists(st.one_of(st.integers(258, 267), st.integers(0, 257)), max_size=40))
def test_other_tokenizers_texts_and_starts_of_any_ids(ids: list[int]) -> None:
    tokenizer = sentence_tokenizer()
    text, starts = Detokenizer(tokenizer).text_and_starts(ids)
    assert text == decode(tokenizer, ids)
    assert (np.diff(starts) >= 0).all()
    assert ((starts >= 0) & (starts <= len(text))).all()


@pytest.mark.parametrize("tokenizer", [byte_level, sentence_tokenizer])
@pytest.mark.parametrize("text", ["the cat\n  the cat\n\n 好的🙂\r\n a.\n", "\n the", "cats\n", "the cat"])
def test_lines_taken_apart_make_the_text(tokenizer, text: str) -> None:
    detokenizer = Detokenizer(tokenizer())
    ids = np.array(tokenizer()(text, add_special_tokens=False).input_ids, dtype=np.int32)
    cuts = (np.flatnonzero(detokenizer.end_lines(ids)) + 1).tolist()
    lines = [detokenizer.text_between(ids, a, b) for a, b in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
    assert lines == [*(line + "\n" for line in text.split("\n")[:-1]), text.split("\n")[-1]]


def test_other_tokenizers_split_characters() -> None:
    tokenizer = sentence_tokenizer()
    the, cat, good = (tokenizer.convert_tokens_to_ids(token) for token in ("▁the", "▁cat", "好"))
    smile = [2 + byte for byte in "🙂".encode()]
    ids = [the, cat, *smile, good, *smile, tokenizer.eos_token_id]
    text, starts = Detokenizer(tokenizer).text_and_starts(ids)
    assert text == "the cat🙂好🙂"
    assert starts.tolist() == [0, 3, 7, 7, 7, 7, 8, 9, 9, 9, 9, 10]


@pytest.mark.parametrize("tokenizer", [byte_level, sentence_tokenizer])
def test_the_work_does_not_grow_with_the_square_of_the_length(tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer())
    decoded = 0
    text_of = detokenizer.text

    def counting(ids: list[int]) -> str:
        nonlocal decoded
        decoded += len(ids)
        return text_of(ids)

    detokenizer.text = counting
    ids = [2 + 0xE4] * 2_000 if tokenizer is sentence_tokenizer else [4 + 200] * 2_000  # bytes that never complete
    detokenizer.text_and_starts(ids)
    assert decoded < 60 * len(ids)


@settings(max_examples=100)
@given(ids=st.lists(st.integers(0, 275), min_size=1, max_size=30), num_bytes=st.integers(1, 12))
def test_the_tail_holds_what_a_new_token_can_complete(ids: list[int], num_bytes: int) -> None:
    detokenizer = Detokenizer(byte_level())
    whole = b"".join(detokenizer.piece(token) for token in ids)
    tail = detokenizer.tail(ids, num_bytes)
    wanted = whole[-(num_bytes + len(detokenizer.piece(ids[-1]))) :]
    assert tail.endswith(wanted.decode("utf-8", "replace").lstrip("�"))


def test_the_earliest_stop_string_cuts() -> None:
    assert cut_at_stop("a stop b END", ["END", "stop"]) == 2
    assert cut_at_stop("no such thing", ["END"]) is None
    assert cut_at_stop("任意文本", []) is None
