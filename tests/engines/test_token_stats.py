"""The kernel of token statistics: the vectors, a plain fp64 reference, chunk invariance."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from conftest import VECTORS
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.engines import token_stats as kernel
from tamis.records import STATISTICS

_spec = importlib.util.spec_from_file_location("hashgen", VECTORS / "hashgen.py")
hashgen = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hashgen)
CASES = json.loads((VECTORS / "logits.json").read_text())["cases"]


def numbers(values) -> np.ndarray:
    return np.array([numbers(v) if isinstance(v, list) else float(v) for v in values])


def check(found: np.ndarray, expected: np.ndarray) -> None:
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    error = np.abs(found[finite] - expected[finite]) / (1 + np.abs(expected[finite]))
    assert error.size == 0 or error.max() < 2e-5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_vectors(case) -> None:
    logits = hashgen.logits(case["kind"], case["seed"], case["T"], case["V"])
    assert hashgen.sha(logits) == case["sha256"]
    values = kernel.token_stats(torch.from_numpy(logits), torch.tensor(case["chosen"], dtype=torch.long)).numpy()
    assert values.shape == (case["T"], 9)
    assert values.dtype == np.float32
    column = dict(zip(STATISTICS, values.astype(np.float64).T, strict=True))
    expected = case["expected"]
    if not case["T"]:
        return
    for name in ("logp", "rank", "entropy", "mean_logp", "sum_p2"):
        check(column[name], numbers(expected[name]))
    check(column["mean_logp"], numbers(expected["mean_logit"]) - numbers(expected["lse"]))
    check(np.exp(column["lp1"]), numbers(expected["max_prob"]))
    check(column["lp1"] - column["lp2"], numbers(expected["log_margin"]))
    check(np.exp(column["lp1"]) - np.exp(column["lp2"]), numbers(expected["margin"]))
    for k in (5, 20):
        members = np.minimum(k, numbers(expected["n_support"]))
        check(-column[f"sum_top{k}"] / members, numbers(expected[f"deepconf_k{k}"]))
    if "topk_logp" in expected:
        top = numbers(expected["topk_logp"])
        check(column["lp1"], top[:, 0])
        check(column["lp2"], top[:, 1] if top.shape[1] > 1 else np.full(len(top), -np.inf))
        kept = np.where(np.isfinite(top), top, 0)
        check(column["sum_top5"], kept[:, :5].sum(1))
        check(column["sum_top20"], kept[:, :20].sum(1))


@pytest.mark.parametrize("vocab_size", [30, 754, 16_385, 20_011])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_row_does_not_depend_on_its_neighbours(vocab_size: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(vocab_size)
    logits = (torch.randn(21, vocab_size, generator=generator) * 4).to(dtype)
    logits[3, ::2] = -torch.inf  # a masked neighbour
    ids = logits.argmax(-1)
    together = kernel.token_stats(logits, ids)
    for row in range(len(logits)):
        assert torch.equal(kernel.token_stats(logits[row : row + 1], ids[row : row + 1])[0], together[row])


def test_row_by_row_and_batched_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(6, 20_011, generator=torch.Generator().manual_seed(0)) * 3
    ids = torch.arange(6) * 3_000
    by_row = kernel.token_stats(logits, ids)
    monkeypatch.setattr(kernel, "ROWWISE_VOCABULARY", 10**9)
    torch.testing.assert_close(kernel.token_stats(logits, ids), by_row, rtol=2e-6, atol=2e-6)


def test_broken_rows_give_nan_and_spare_the_others() -> None:
    logits = torch.randn(3, 40)
    logits[1, 5] = torch.nan
    values = kernel.token_stats(logits, torch.zeros(3, dtype=torch.long))
    assert bool(values[1, :1].isnan().all())
    assert bool(values[[0, 2]].isfinite().all())


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    vocab_size=st.sampled_from([1, 2, 19, 20, 21, 200, 16_400, 20_000]),
    decimals=st.sampled_from([1, 9]),  # 1: many ties
    k=st.integers(1, 64),
)
def test_the_largest_are_the_largest(seed: int, vocab_size: int, decimals: int, k: int) -> None:
    z = torch.randn(3, vocab_size, generator=torch.Generator().manual_seed(seed)).round(decimals=decimals)
    expected = z.sort(descending=True).values
    found = kernel.largest(z, k)
    assert np.array_equal(np.sort(found)[:, ::-1], expected[:, :k])
    assert (found.min(-1) == found[:, 0]).all()
    values = kernel.token_stats(z, torch.zeros(3, dtype=torch.long)).double()
    logp = z.double().log_softmax(-1).sort(descending=True).values
    torch.testing.assert_close(values[:, STATISTICS.index("sum_top20")], logp[:, :20].sum(-1), rtol=2e-5, atol=2e-5)
