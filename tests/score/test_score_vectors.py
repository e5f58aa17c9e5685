"""Scores against the vectors of docs/methods.md, from the vector's logits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from score.logit_vectors import FOLDER, array, cases, close, number

from tamis.score import keysteps, sequence, steps, tokens
from tamis.steps import split_steps, step_ids

PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-5)])
CASES = pytest.mark.parametrize("case_id", cases())

TOKEN_ARRAYS = {
    "entropy": tokens.entropy,
    "sum_p2": tokens.gini,
    "self_certainty": tokens.self_certainty,
    "logp": tokens.logp,
    "max_prob": tokens.max_prob,
    "margin": tokens.margin,
    "log_margin": tokens.log_margin,
    "neg_dp": tokens.neg_distributional_perplexity,
    "deepconf_k20": tokens.confidence,
    "deepconf_k5": lambda stats: tokens.confidence(stats, 5),
}
SEQUENCE = {
    "self_certainty": tokens.self_certainty,
    "ce_uniform": tokens.cross_entropy,
    "neg_entropy": lambda stats: -tokens.entropy(stats),
    "logprob": tokens.logp,
    "max_prob": tokens.max_prob,
    "margin": tokens.margin,
    "log_margin": tokens.log_margin,
    "gini": tokens.gini,
    "neg_dp": tokens.neg_distributional_perplexity,
    "deepconf": tokens.confidence,
}


@CASES
@PRECISIONS
def test_token_arrays(case_id, dtype, tolerance):
    case = cases()[case_id]
    for name, function in TOKEN_ARRAYS.items():
        close(array(function, case_id, dtype), case["expected"].get(name, []), tolerance)


@CASES
@PRECISIONS
def test_sequence_scores(case_id, dtype, tolerance):
    expected = cases()[case_id]["seq"]
    for name, function in SEQUENCE.items():
        close(sequence.mean(array(function, case_id, dtype)), expected[name], tolerance)
    logp = array(tokens.logp, case_id, dtype)
    close(np.log(sequence.perplexity(logp)), math.log(number(expected["perplexity"])), tolerance)
    close(sequence.total(logp), expected.get("sum_logp", "-inf"), tolerance)


@CASES
@PRECISIONS
def test_deepconf_groups(case_id, dtype, tolerance):
    confidence = array(tokens.confidence, case_id, dtype)
    for window, expected in cases()[case_id]["seq"].get("groups", {}).items():
        window = int(window)
        close(sequence.lowest_group(confidence, window), expected["lowest"], tolerance)
        close(sequence.bottom_groups(confidence, window, 0.1), expected["bottom10"], tolerance)
        close(sequence.bottom_groups(confidence, window, 0.5), expected["bottom50"], tolerance)
        close(sequence.tail(confidence, window), expected["tail"], tolerance)
        # The online rule cuts at the first full window below a bar: the windows themselves are right, and in order.
        groups = sequence.group_confidence(confidence, window) if len(confidence) >= window else []
        for percent, stop in expected["stop_at"].items():
            below = np.flatnonzero(np.asarray(groups) < expected["thr"][percent])
            assert (int(below[0]) + window - 1 if len(below) else None) == stop


@pytest.mark.parametrize("case_id", [i for i, case in cases().items() if case["steps"]])
@PRECISIONS
def test_steps_and_blends(case_id, dtype, tolerance):
    expected = cases()[case_id]["steps"]
    step_id = np.array(expected["step_id"])
    certainty, entropy, logp, cross_entropy = (
        array(function, case_id, dtype)
        for function in (tokens.self_certainty, tokens.entropy, tokens.logp, tokens.cross_entropy)
    )
    close(steps.step_means(certainty, step_id), expected["sc"], tolerance)
    close(steps.step_means(entropy, step_id), expected["entropy"], tolerance)
    close(steps.step_means(logp, step_id), expected["logp"], tolerance)
    for alpha, value in expected["alpha"].items():
        close(steps.alpha_blend(certainty, entropy, step_id, float(alpha)), value, tolerance)
    masked = cases()[case_id]["kind"] == "masked"
    for weight, value in expected["lam_sc"].items():
        close(steps.lambda_blend(steps.step_means(cross_entropy, step_id), logp, step_id, float(weight)), value, tolerance)
    for weight, value in {} if masked else expected.get("lam_entropy", {}).items():
        certainties = array(tokens.certainty, case_id, dtype)
        close(steps.lambda_blend(steps.step_means(certainties, step_id), logp, step_id, float(weight)), value, tolerance)
    for alpha, value in expected["token_step_min"].items():
        close(steps.token_step_blend(certainty, step_id, float(alpha), "min"), value, tolerance)
    probabilities = steps.step_means(np.exp(logp), step_id)
    with np.errstate(divide="ignore", under="ignore"):
        for name, value in expected["agg"].items():
            close(steps.AGGREGATIONS[name](probabilities), value, tolerance)
    found = keysteps.key_steps(entropy, certainty, step_id)
    if dtype == "float64":
        check_key_steps(found, expected["key"])


def check_key_steps(found, expected):
    assert list(found.forks) == expected["fork"]
    assert list(found.key) == expected["key"]
    assert found.max_drop == expected["max_drop"]
    close(found.mass, expected["mass"], 1e-9)
    close(found.drop, expected["drop"], 1e-9)


STEPS = json.loads((FOLDER / "steps.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", STEPS["split"], ids=lambda case: case["text"][:20])
def test_split_steps(case):
    spans = split_steps(case["text"])
    assert [list(span) for span in spans] == case["spans"]
    assert step_ids(np.array(case["tok_start"], dtype=np.int32), spans).tolist() == case["step_id"]


@pytest.mark.parametrize("case", STEPS["key_steps"])
def test_key_steps(case):
    entropy, confidence, step_id = (np.array(case[name]) for name in ("entropy", "conf", "step_id"))
    check_key_steps(keysteps.key_steps(entropy, confidence, step_id), case["expected"])


VOTES = json.loads((FOLDER / "votes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", VOTES["sets"], ids=lambda case: case["id"])
def test_normalised_scores(case):
    close(steps.zscores(case["scores"]), case["expected"]["zscore"], 1e-9)
    close(steps.score_norm(case["scores"]), case["expected"]["sigmoid3z"], 1e-9)
