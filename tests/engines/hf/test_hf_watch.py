"""Samples given up while they are drawn: at the very token that their statistics say, whatever the batch does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from engines.hf.tiny_models import PROMPTS, draw, model_folder, request

from tamis.engines.hf import HFEngine
from tamis.engines.watch import tokens_until_cut
from tamis.records import Request, Sample, Watch
from tamis.score import sequence, tokens


@pytest.fixture(scope="module")
def items() -> list[Request]:
    return [request(text, n=13, max_tokens=300 if i == 0 else 40 + 9 * i) for i, text in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def whole(engine: HFEngine, items: list[Request]) -> dict[str, Sample]:
    return draw(engine, items)


def bar(whole: dict[str, Sample], window: int, percent: float) -> Watch:
    lowest = [sequence.lowest_group(tokens.confidence(s.stats), window) for s in whole.values() if len(s.stats)]
    return Watch(window, float(np.percentile(lowest, percent)))


def expected_length(sample: Sample, watch: Watch) -> int | None:
    """By the scores' own formula, of a sample that was drawn to its end."""
    confidence = tokens.confidence(sample.stats)
    if len(confidence) < watch.window:
        return None
    below = np.flatnonzero(sequence.group_confidence(confidence, watch.window) < watch.least)
    return int(below[0]) + watch.window if len(below) else None


def check(found: dict[str, Sample], whole: dict[str, Sample], watch: Watch, *, has_stats: bool = True) -> Counter[str]:
    assert found.keys() == whole.keys()
    for key, sample in found.items():
        full = whole[key]
        length = expected_length(full, watch)
        assert length == tokens_until_cut(full.stats, watch)
        assert sample.finish_reason == ("cut" if length else full.finish_reason)
        kept = length or len(full.stats)
        assert sample.completion_tokens == kept
        if has_stats:
            np.testing.assert_array_equal(sample.stats.values, full.stats.values[:kept])
            np.testing.assert_array_equal(sample.stats.ids, full.stats.ids[:kept])
        if not length:
            assert sample.text == full.text
        else:
            assert sample.text.rstrip("\ufffd") == full.text[: len(sample.text.rstrip("\ufffd"))]
    return Counter(sample.finish_reason for sample in found.values())


@pytest.mark.parametrize("window", [1, 5, 16])
def test_cut_where_the_statistics_say(engine, items, whole, window):
    watch = bar(whole, window, 50)
    reasons = check(draw(engine, [replace(item, watch=watch) for item in items]), whole, watch)
    assert reasons["cut"] >= len(whole) // 4
    assert reasons["cut"] < len(whole)


def test_a_bar_that_is_reached_exactly_cuts_nothing(engine, items, whole):
    """`least` is the lowest group of one sample, to the last bit: that sample is not below it."""
    sample = max(whole.values(), key=lambda s: len(s.stats))
    watch = Watch(7, sequence.lowest_group(tokens.confidence(sample.stats), 7))
    found = draw(engine, [replace(item, watch=watch) for item in items])
    check(found, whole, watch)
    assert found[sample.key].finish_reason != "cut"


def test_only_the_watched_are_cut_and_each_by_its_own_bar(engine, items, whole):
    watches = [None, bar(whole, 3, 80), *(bar(whole, 9, 30) for _ in items[2:])]
    found = draw(engine, [replace(item, watch=watch) for item, watch in zip(items, watches, strict=True)])
    for item, watch in zip(items, watches, strict=True):
        keys = [d.key for d in item.draws]
        check({k: found[k] for k in keys}, {k: whole[k] for k in keys}, watch or Watch(1, -np.inf))


def test_after_running_out_of_memory_and_without_statistics_the_same(items, whole):
    watch = bar(whole, 5, 50)
    engine = HFEngine(model_folder(), batch_size=32, device="cpu", token_stats=False)
    draw(engine, [request("load", n=1, max_tokens=2)])
    seen = []

    def hook(_module, args):
        seen.append(len(args[0]))
        if len(seen) == 30:
            raise torch.OutOfMemoryError("injected")

    engine._loaded.model.model.layers[-1].register_forward_pre_hook(hook)
    found = draw(engine, [replace(item, watch=watch) for item in items])
    assert seen[-1] == 16
    assert all(sample.stats is None for sample in found.values())
    assert check(found, whole, watch, has_stats=False)["cut"] >= len(whole) // 4
    engine.close()
