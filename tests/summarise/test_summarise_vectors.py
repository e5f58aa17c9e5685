"""Evaluation formulas against the vectors of docs/methods.md, all within 1e-9."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tamis.summarise import calibration, intervals, metrics

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "methods" / "evaluation.json").read_text(encoding="utf-8"))


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def test_pass_at_k():
    for case in VECTORS["pass_k"]:
        assert metrics.pass_at_k(case["n"], case["c"], case["k"]) == near(case["pass_k"])


def test_g_pass_at_k():
    for case in VECTORS["g_pass_k"]:
        for tau, value in case["tau"].items():
            assert metrics.g_pass_at_k(case["n"], case["c"], case["k"], float(tau)) == near(value)
        assert metrics.mg_pass_at_k(case["n"], case["c"], case["k"]) == near(case["mg"])


@pytest.mark.parametrize("case", VECTORS["expected_best_of_n"])
def test_expected_best_of_n(case):
    scores, correct = np.array([float(s) for s in case["scores"]]), np.array(case["correct"], dtype=float)
    ks = [int(k) for k in case["expected"]]
    assert metrics.best_of_n_at(scores, correct, ks) == near(list(case["expected"].values()))


@pytest.mark.parametrize("case", VECTORS["expected_majority"])
def test_expected_majority(case):
    clusters = np.repeat(np.arange(-1, len(case["sizes"])), [case["invalid"], *case["sizes"]])
    correct = np.zeros(len(clusters)) if case["correct"] is None else (clusters == case["correct"]).astype(float)
    ks = [int(k) for k in case["expected"]]
    assert metrics.majority_at(clusters, correct, ks) == near(list(case["expected"].values()))


@pytest.mark.parametrize("case", VECTORS["calibration"])
def test_calibration(case):
    confidence, y = np.array(case["conf"], dtype=float), np.array(case["y"], dtype=float)
    if case["auroc"] == "nan":
        assert np.isnan(calibration.auroc(confidence, y))
    else:
        assert calibration.auroc(confidence, y) == near(case["auroc"])
    assert calibration.ece(confidence, y) == near(case["ece15"])
    assert calibration.ece(confidence, y, num_bins=10) == near(case["ece10"])
    assert calibration.brier(confidence, y) == near(case["brier"])
    assert calibration.aurc(confidence, y) == near(case["aurc"])
    assert calibration.aurc(y, y) == near(case["aurc_opt"])
    assert calibration.e_aurc(confidence, y) == near(case["eaurc"])
    assert calibration.risks(confidence, y)[-(-len(y) // 2) - 1] == near(case["risk_at_50"])


def test_wilson():
    for case in VECTORS["wilson"]:
        interval = intervals.wilson(case["k"], case["n"])
        assert [interval.low, interval.high] == near(case["ci"])


@pytest.mark.parametrize("case", VECTORS["clustered_se"])
def test_standard_errors(case):
    x, x2, clusters = np.array(case["x"]), np.array(case["x2"]), case["cluster"]
    assert x.mean() == near(case["mean"])
    assert intervals.standard_error(x) == near(case["se_clt"])
    assert intervals.standard_error(x, clusters) == near(case["se_clustered"])
    assert abs(intervals.paired_difference(x, x2).value) == near(abs(case["diff"]))
    assert intervals.standard_error(x - x2) == near(case["se_paired"])
    assert intervals.standard_error(x - x2, clusters) == near(case["se_paired_clustered"])
