"""What of the vllm engine needs no vLLM: the store of statistics, its kernels, and saying that vLLM is missing."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from tamis.engines import open_engine
from tamis.engines.token_stats import statistics, token_states, token_states_there
from tamis.engines.vllm.lines import line_states
from tamis.engines.vllm.store import Store, merge, pack, unpack
from tamis.errors import MissingExtra


def distributions(num_rows: int, vocab_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain rows, one that is masked, one that a single token fills, and rare and likely tokens."""
    generator = torch.Generator().manual_seed(vocab_size)
    logits = 3 * torch.randn(num_rows, vocab_size, generator=generator)
    logits[1, 40:] = -torch.inf
    logits[2, 1:] = -torch.inf
    ids = torch.randint(vocab_size, (num_rows,), generator=generator)
    ids[1], ids[2], ids[3] = 7, 0, logits[3].argmax()
    return logits, ids


@pytest.mark.parametrize("vocab_size", [9, 300, 20_000, 20_077])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", [line_states, token_states_there])
def test_kernels_agree(kernel, dtype, vocab_size):
    logits, ids = distributions(8, vocab_size)
    logits = logits.to(dtype)
    found = statistics(np.asarray(kernel(logits, ids)))
    np.testing.assert_allclose(found, statistics(token_states(logits, ids)), atol=3e-5, rtol=1e-5)


def states(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    logits = 3 * torch.randn(num_rows, 300, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(num_rows)
    return token_states(logits, ids), ids.numpy()


def test_rows_come_back_in_order_under_their_keys():
    store = Store()
    of_steps, ids = states(8)
    for step in range(4):
        store.add([("a", step), ("b", step)], of_steps[2 * step : 2 * step + 2], ids[2 * step : 2 * step + 2], 300)
    store.add([("a", 1)], of_steps[2:3], ids[2:3], 300)  # again, after a preemption
    found = store.take(["a", "b", "nobody"])
    assert found.keys() == {"a", "b"}
    for start, key in enumerate("ab"):
        values, tokens, vocab_size = unpack(found[key])
        assert vocab_size == 300
        assert tokens.tolist() == ids[start::2].tolist()
        assert np.array_equal(values, statistics(of_steps[start::2]))
    assert len(store) == 0


def test_what_was_taken_or_dropped_does_not_come_back():
    store = Store()
    of_steps, ids = states(4)
    store.add([("a", 0), ("b", 0)], of_steps[:2], ids[:2], 300)
    store.take(["a"])
    store.drop(["b"])
    store.add([("a", 1), ("b", 1), ("c", 5)], of_steps[:3], ids[:3], 300)
    assert len(store) == 0
    assert store.take(["a", "b", "c"]) == {}


def test_the_longest_untouched_goes_when_room_ends():
    of_steps, ids = states(4)
    room = Store()
    room.add([("x", 0)], of_steps[:1], ids[:1], 300)
    store = Store(most_bytes=3 * room._num_bytes)
    for number in range(10):
        store.add([(f"k{number}", 0)], of_steps[:1], ids[:1], 300)
        if number:
            store.add([("k0", number)], of_steps[:1], ids[:1], 300)
    assert len(store) == 3
    assert store.take(["k0", "k1", "k8", "k9"]).keys() == {"k0", "k8", "k9"}
    assert store._num_bytes == 0


def test_long_sequences_and_rows_on_a_device():
    store = Store()
    of_steps, ids = states(200)
    for step in range(200):
        store.add_later([("a", step)], torch.from_numpy(of_steps[step : step + 1]), torch.from_numpy(ids[step : step + 1]), 300)
    assert np.array_equal(store.look("a", 150), statistics(of_steps[150:]))
    values, tokens, _ = unpack(store.take(["a"])["a"])
    assert tokens.tolist() == ids.tolist()
    assert np.array_equal(values, statistics(of_steps))


def test_workers_that_sampled_in_turns_make_one_answer():
    of_steps, ids = states(6)
    parts = []
    for rank in range(2):
        store = Store()
        store.add([("a", 0)], of_steps[:1], ids[:1], 300)
        for step in range(1 + rank, 6, 2):
            store.add([("a", step)], of_steps[step : step + 1], ids[step : step + 1], 300)
        parts.append(store.take(["a"]))
    for order in (parts, parts[::-1]):
        values, tokens, _ = unpack(merge(order)["a"])
        assert tokens.tolist() == ids.tolist()
        assert np.array_equal(values, statistics(of_steps))


def test_torn_bytes_are_refused():
    data = pack(np.zeros((3, 9), np.float32), np.arange(3, dtype=np.int32), 300)
    assert len(unpack(data)[1]) == 3
    for torn in (data[:-1], data[:9], data + b"0000"):
        with pytest.raises(ValueError, match="are not the statistics of"):
            unpack(torn)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_vllm_is_named():
    with pytest.raises(MissingExtra, match=r"pip install 'tamis\[vllm\]'"):
        open_engine("vllm", "embedded")
