"""What whoever listens to a draw is told: always the beginning of its text, and nothing changes by it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from engines.hf.test_hf_text import byte_level, decode, sentence_tokenizer
from engines.hf.tiny_models import PROMPTS, draw, model_folder, request
from hypothesis import given
from hypothesis import strategies as st

from tamis.engines.hf import HFEngine
from tamis.engines.hf.telling import Telling, begun_stop
from tamis.engines.hf.text import Detokenizer, cut_at_stop
from tamis.records import Draw, Sample

STOPS = ("\n\n", "the end", "答案", "🙂🙂")
TEXTS = st.text(st.sampled_from("the end\n答案是🙂é "), max_size=60)


def told_of(tokenizer, ids: list[int], stops: tuple[str, ...] = ()) -> list[str]:
    """What is told of tokens that come one by one, until one completes a stop string."""
    told: list[str] = []
    text = Detokenizer(tokenizer)
    telling = Telling(text, stops, Draw("k", 0, 0), lambda _, said: told.append(said) or True)
    for length in range(1, len(ids) + 1):
        if cut_at_stop(text.text(ids[:length]), stops) is not None:
            break
        assert telling.goes_on(np.array(ids[:length], dtype=np.int32))
    return told


@pytest.mark.parametrize("tokenizer", [byte_level, sentence_tokenizer])
@given(text=TEXTS)
def test_of_any_text_its_beginnings_and_no_part_of_a_stop_string(tokenizer, text):
    ids = tokenizer()(text).input_ids
    whole = decode(tokenizer(), ids)
    end = cut_at_stop(whole, STOPS)
    told = told_of(tokenizer(), ids, STOPS)
    assert all(whole[:end].startswith(said) for said in told)
    assert [len(said) for said in told] == sorted({len(said) for said in told})


@pytest.mark.parametrize(("tokenizer", "size"), [(byte_level, 276), (sentence_tokenizer, 268)])
@given(data=st.data())
def test_of_any_tokens_the_beginnings_of_their_text(tokenizer, size, data):
    ids = data.draw(st.lists(st.integers(0, size - 1), max_size=40))
    whole = decode(tokenizer(), ids)
    assert all(whole.startswith(said) for said in told_of(tokenizer(), ids))


def test_a_special_token_keeps_no_two_bytes_apart():
    ids = [2, 1, 130, 266]  # 0x00, </s>, 0x80, "."
    assert told_of(sentence_tokenizer(), ids) == [decode(sentence_tokenizer(), ids)]


def test_whole_characters_are_told_at_once():
    tokenizer = byte_level()
    text = "x = 2，所以 🙂"
    assert told_of(tokenizer, tokenizer(text).input_ids) == [text[: i + 1] for i in range(len(text))]


@pytest.mark.parametrize(("text", "size"), [("a\n", 1), ("the en", 6), ("tthe e", 5), ("the end", 0), ("答", 1), ("", 0)])
def test_what_may_begin_a_stop_string(text, size):
    assert begun_stop(text, STOPS) == size


def test_the_samples_are_the_same_with_and_without_a_listener(engine):
    items = [request(text, n=5, max_tokens=40 + 9 * i, stop=("e", "1")) for i, text in enumerate(PROMPTS)]
    told: dict[str, list[str]] = defaultdict(list)

    def listen(one: Draw, text: str) -> bool:
        told[one.key].append(text)
        return True

    plain = draw(engine, items)
    heard = draw(engine, [replace(item, on_text=listen) if i else item for i, item in enumerate(items)])
    assert {key: bits(sample) for key, sample in heard.items()} == {key: bits(sample) for key, sample in plain.items()}
    assert told.keys().isdisjoint(one.key for one in items[0].draws)
    assert len(told) >= 10
    for key, texts in told.items():
        assert all(plain[key].text.startswith(text) for text in texts)
        assert all(len(a) < len(b) for a, b in pairwise(texts))


def bits(sample: Sample) -> tuple[object, ...]:
    stats, chain = sample.stats, sample.chain
    return sample.text, sample.finish_reason, stats.values.tobytes(), stats.ids.tobytes(), chain and chain.values.tobytes()


def test_one_that_is_given_up_ends_there_and_the_others_go_on(engine):
    item = request(PROMPTS[1], n=6, max_tokens=120)
    plain = draw(engine, [item])
    chosen = {one.key for one in item.draws if len(plain[one.key].text) > 20}
    assert chosen
    heard = draw(engine, [replace(item, on_text=lambda one, text: one.key not in chosen or len(text) < 9)])
    for key, sample in heard.items():
        whole = plain[key]
        if key not in chosen:
            assert bits(sample) == bits(whole)
            continue
        length = sample.completion_tokens
        assert (sample.finish_reason, length) == ("cut", len(sample.stats.ids))
        assert 9 <= len(sample.text) <= 12
        assert whole.text.startswith(sample.text.rstrip("\ufffd"))
        np.testing.assert_array_equal(sample.stats.values, whole.stats.values[:length])


def test_nothing_is_told_twice_after_running_out_of_memory():
    engine = HFEngine(model_folder(), batch_size=32, device="cpu", token_stats=False)
    told: dict[str, list[str]] = defaultdict(list)
    item = replace(request(PROMPTS[0], n=9, max_tokens=60), on_text=lambda one, text: told[one.key].append(text) or True)
    steps = []

    def hook(_module, args):
        steps.append(len(args[0]))
        if len(steps) == 20:
            raise torch.OutOfMemoryError("injected")

    engine._loaded.model.model.layers[-1].register_forward_pre_hook(hook)
    found = draw(engine, [item])
    engine.close()
    assert steps[-1] == 16
    for key, texts in told.items():
        assert all(len(a) < len(b) for a, b in pairwise(texts))
        assert found[key].text.startswith(texts[-1])
