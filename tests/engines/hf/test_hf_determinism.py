"""A sample's bits depend on its request and seed alone: not on order, slot, neighbours, refill, or a broken run before."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from engines.hf.tiny_models import PROMPTS, SIZES, draw, model_folder, request

from tamis.demo import MODEL_FOLDER
from tamis.engines.hf import HFEngine
from tamis.engines.hf.cache import SlotCache, prefill
from tamis.records import Request, Sample


def requests(n: int = 6) -> list[Request]:
    """Prompts and answers of mixed length, all filters."""
    settings = [{}, {"top_k": 20}, {"top_p": 0.8}, {"min_p": 0.05, "temperature": 0.7}, {"temperature": 0.0}]
    return [
        request(f"{text} {i}", n=n, max_tokens=5 + 17 * i, **options)
        for i, (text, options) in enumerate(zip((*PROMPTS, "x" * 90), settings, strict=True))
    ]


def bits(sample: Sample) -> tuple[object, ...]:
    assert sample.stats is not None
    chain = b"" if sample.chain is None else sample.chain.values.tobytes()
    stats = sample.stats
    return sample.text, sample.finish_reason, stats.ids.tobytes(), stats.values.tobytes(), stats.starts.tobytes(), chain


def assert_same(found: dict[str, Sample], expected: dict[str, Sample]) -> None:
    for key, sample in found.items():
        assert bits(sample) == bits(expected[key])


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_order_slot_neighbours_and_refill_change_no_bit(kind: str) -> None:
    engine = HFEngine(model_folder(kind), batch_size=16, device="cpu", hidden_states=True)
    items = requests()
    expected = draw(engine, items)
    assert len({bits(sample) for sample in expected.values()}) > len(expected) // 2  # the model does vary

    shuffled = [
        Request(item.problem_id, item.prompt, item.sampling, tuple(random.Random(3).sample(item.draws, len(item.draws))))
        for item in random.Random(2).sample(items, len(items))
    ]
    assert_same(draw(engine, shuffled), expected)

    alone = [Request(item.problem_id, item.prompt, item.sampling, item.draws[-1:]) for item in items]
    for item in alone:
        assert_same(draw(engine, [item]), expected)


def test_a_run_broken_anywhere_and_resumed_gives_the_same_samples() -> None:
    engine = HFEngine(model_folder("qwen2"), batch_size=16, device="cpu")
    items = requests()
    expected = draw(engine, items)
    done = set(random.Random(5).sample(sorted(expected), len(expected) // 2))
    owed = [
        Request(item.problem_id, item.prompt, item.sampling, tuple(d for d in item.draws if d.key not in done))
        for item in items
    ]
    resumed = draw(engine, owed)
    assert set(resumed) == set(expected) - done
    assert_same(resumed, expected)


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_from_sixteen_slots_on_their_number_changes_no_bit_in_fp32(kind: str) -> None:
    results = []
    for batch_size in (16, 32, 64):
        engine = HFEngine(model_folder(kind), batch_size=batch_size, device="cpu", hidden_states=True)
        results.append(draw(engine, requests(n=9)))
    for other in results[1:]:
        assert_same(other, results[0])


def test_few_slots_give_nearly_the_same_numbers() -> None:
    items = requests(n=2)
    wide, narrow = (draw(HFEngine(model_folder(), batch_size=size, device="cpu"), items) for size in (16, 1))
    for key, sample in wide.items():
        a, b = sample.stats, narrow[key].stats
        assert a is not None
        assert b is not None
        assert a.ids[0] == b.ids[0]
        np.testing.assert_allclose(a.values[0], b.values[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("position", [40, 150, 191, 200, 256, 300, 500, 700])
def test_the_columns_that_neighbours_need_change_no_bit(position: int) -> None:
    """Every kind of length that `bucket` can give for some neighbour, on the model and the batch size that users have."""
    engine = HFEngine(MODEL_FOLDER, device="cpu")
    loaded, stepper = engine._open()
    ids = np.random.default_rng(position).integers(stepper.vocab_size, size=position).tolist()
    results = []
    with torch.inference_mode():
        prefix = prefill(loaded.model, ids, loaded.device)
        for longest in (position + 1, 150, 193, 600, 1100, 1600):
            if longest > position:
                cache = SlotCache(32, stepper.num_layers)
                cache.reserve(longest)
                for row in range(32):
                    cache.fill(row, prefix)
                results.append(stepper(cache, np.arange(32), np.full(32, position))[0])
    assert all(torch.equal(results[0], other) for other in results)
    engine.close()
