"""The sampler against brute force and against frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.engines.hf.sampler import Sampler, inverse_cdf, uniforms
from tamis.records import Sampling


def allowed(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The filtered distribution (V,) in fp64, token by token from the definitions; no ties assumed."""
    scaled = logits.astype(np.float64) / sampling.temperature
    p = np.exp(scaled - scaled.max())
    order = np.argsort(-p, kind="stable")
    if sampling.top_k:
        p[order[sampling.top_k :]] = 0
    p /= p.sum()
    kept, mass = [], 0.0
    for token in order:
        kept.append(token)
        mass += p[token]
        if mass >= sampling.top_p:
            break
    outside = np.ones(len(p), dtype=bool)
    outside[kept] = False
    if sampling.top_p < 1:
        p[outside] = 0
    p[p < sampling.min_p * p.max()] = 0
    return p / p.sum()


def by_inversion(p: np.ndarray, number: float) -> int:
    return int(np.searchsorted(np.cumsum(p), number * p.sum(), side="right"))


def drawn(logits: np.ndarray, sampling: Sampling, numbers: np.ndarray) -> np.ndarray:
    sampler = Sampler(1)
    sampler.set(0, sampling)
    rows = np.zeros(len(numbers), dtype=np.int64)
    batch = torch.from_numpy(np.tile(logits, (len(numbers), 1)))
    ids, totals, state = sampler.draw(batch, rows, numbers, states=False)
    assert state is None
    assert bool(totals.isfinite().all())
    return ids.numpy()


SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.5),
    Sampling(top_k=7),
    Sampling(top_k=1),
    Sampling(top_p=0.6),
    Sampling(top_p=0.001),
    Sampling(min_p=0.1),
    Sampling(temperature=1.7, top_k=40, top_p=0.9, min_p=0.02),
]


@pytest.mark.parametrize("vocab_size", [50, 754, 20_011])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_every_filter_equals_brute_force(sampling: Sampling, vocab_size: int) -> None:
    rng = np.random.default_rng(vocab_size)
    logits = (rng.standard_normal(vocab_size) * 2.5).astype(np.float32)
    numbers = rng.random(64)
    p = allowed(logits, sampling)
    ids = drawn(logits, sampling, numbers)
    assert (p[ids] > 0).all()
    expected = np.array([by_inversion(p, number) for number in numbers])
    # fp32 sums may put a number that falls on a boundary on its other side: none here falls so near.
    np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("vocab_size", [20_000, 151_936])
def test_a_nucleus_wider_than_the_head_is_found(vocab_size: int) -> None:
    logits = (np.random.default_rng(1).standard_normal(vocab_size) * 0.1).astype(np.float32)
    sampling = Sampling(top_p=0.7)
    p = allowed(logits, sampling)
    assert np.count_nonzero(p) > 4096
    ids = drawn(logits, sampling, np.linspace(0, 0.999, 16))
    threshold = logits[p > 0].min()
    assert (logits[ids] >= threshold - 1e-6).all()


def test_ties_at_a_threshold_stay() -> None:
    logits = np.array([1, 3, 2, 2, 2, 0], dtype=np.float32)
    ids = drawn(logits, Sampling(top_k=2), np.linspace(0, 0.999, 200))
    assert set(ids.tolist()) == {1, 2, 3, 4}


def test_rows_keep_their_own_settings() -> None:
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((len(SAMPLINGS) + 1, 754)) * 2).astype(np.float32)
    sampler = Sampler(len(logits))
    everything = [*SAMPLINGS, Sampling(temperature=0.0)]
    for row, sampling in enumerate(everything):
        sampler.set(row, sampling)
    numbers = rng.random(len(logits))
    rows = np.arange(len(logits))
    together, _, _ = sampler.draw(torch.from_numpy(logits), rows, numbers, states=False)
    for row, sampling in enumerate(everything[:-1]):
        assert together[row] == drawn(logits[row], sampling, numbers[row : row + 1])[0]
    assert together[-1] == logits[-1].argmax()


@pytest.mark.parametrize("vocab_size", [9, 20_000])
def test_frequencies(vocab_size: int) -> None:
    logits = np.full(vocab_size, -30.0, dtype=np.float32)
    logits[::-1][:6] = [0.3, 1.2, -0.7, 2.0, 0.0, 1.0]
    num = 6_000
    ids = drawn(logits, Sampling(), uniforms(11, num)) if vocab_size < 100 else np.concatenate(
        [drawn(logits, Sampling(), part) for part in np.split(uniforms(11, num), 60)]
    )  # fmt: skip
    p = allowed(logits, Sampling())
    seen = np.bincount(ids, minlength=vocab_size)
    likely = p > 1e-4
    chi_square = float((((seen - num * p) ** 2) / (num * p))[likely].sum())
    assert seen[~likely].sum() == 0
    assert chi_square < 20.5  # 5 degrees of freedom, p = 0.001


def test_numbers_are_of_the_seed_alone_and_longer_sequences_begin_alike() -> None:
    np.testing.assert_array_equal(uniforms(5, 10), uniforms(5, 1000)[:10])
    assert not np.array_equal(uniforms(5, 10), uniforms(6, 10))
    assert uniforms(2**63 - 1, 3).shape == (3,)


@settings(max_examples=150)
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 1e-3, 0.5, 1.0]), min_size=1, max_size=40).filter(any),
    number=st.one_of(st.floats(0, 1, exclude_max=True), st.just(1 - 2**-53)),
)
def test_inversion_never_takes_a_weightless_token(weights: list[float], number: float) -> None:
    for repeat in (1, 20_000 // len(weights)):
        row = torch.tensor([weights * repeat])
        chosen = int(inverse_cdf(row, torch.tensor([number], dtype=torch.float64))[0])
        assert row[0, chosen] > 0
