"""Chain-of-embedding scores against the vectors of docs/methods.md, from hidden states to scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from score.logit_vectors import FOLDER, number

from tamis.engines.chains import chain_row
from tamis.score.coe import coe_c, coe_r

PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-5)])
VECTORS = json.loads((FOLDER / "coe.json").read_text(encoding="utf-8"))


def check(mean: np.ndarray, expected: dict[str, object], dtype: str, tolerance: float) -> None:
    """Scores of one mean hidden state (L + 1, d), its chain kept in `dtype`."""
    row = chain_row(mean).astype(dtype)
    num_layers = len(mean) - 1
    found = {"R": coe_r(row), "C": coe_c(row)}
    if np.isfinite(number(expected["R"])):
        relative = row[:-2].reshape(2, num_layers).mean(1, dtype=float) / row[-2:]
        found |= {"Mag": relative[0], "Ang": relative[1], "Z_mag": row[-2], "Z_ang": row[-1]}
    for name, value in found.items():
        close = np.isclose(value, number(expected[name]), rtol=tolerance, atol=tolerance, equal_nan=True)
        assert close, (name, value, expected[name])


@PRECISIONS
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_scores_of_the_positions_that_produced_the_tokens(case, dtype, tolerance):
    hidden = load_file(FOLDER / "coe.safetensors")[case["id"]].astype(float)  # (positions, L + 1, d)
    first = case["prompt_len"] - 1
    check(hidden[first : first + case["T"]].mean(0), case["expected"], dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize("case", VECTORS["edge"], ids=lambda case: case["id"])
def test_edges(case, dtype, tolerance):
    check(np.array(case["h"]), case["expected"], dtype, tolerance)


def test_one_layer_tells_nothing_apart():
    rows = chain_row(np.random.default_rng(0).normal(size=(9, 2, 5)))
    np.testing.assert_allclose(coe_r(rows), 0.0, atol=1e-12)
    np.testing.assert_allclose(coe_c(rows), 1.0)


def test_a_step_without_tokens_has_no_score():
    assert np.isnan(coe_r(np.full((2, 8), np.nan))).all()
    assert np.isnan(coe_c(np.full((2, 8), np.nan))).all()
