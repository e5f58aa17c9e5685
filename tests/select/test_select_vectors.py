"""Selection rules against the vectors of docs/methods.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tamis.select import votes

SETS = json.loads((Path(__file__).parent.parent / "data" / "methods" / "votes.json").read_text(encoding="utf-8"))["sets"]
RULES = {
    "majority": lambda c, s: votes.majority(c, s),
    "weighted_sum": lambda c, s: votes.weighted_vote(c, s, "sum"),
    "weighted_mean": lambda c, s: votes.weighted_vote(c, s, "mean"),
    **{f"borda_p{p}": lambda c, s, p=p: votes.borda(c, s, p) for p in (0.0, 0.3, 0.5, 0.7, 1.0, 1.2, 2.0)},
    **{f"borda_valid_p{p}": lambda c, s, p=p: votes.borda(c, s, p, "valid") for p in (0.0, 0.3, 0.5, 0.7, 1.0, 1.2, 2.0)},
    **{f"filter_top{eta}": lambda c, s, eta=eta: votes.filtered_vote(c, s, eta) for eta in (0.1, 0.25, 0.5, 0.9)},
}


@pytest.mark.parametrize("case", SETS, ids=lambda case: case["id"])
def test_votes(case):
    clusters, scores = np.array([case["clusters"]]), np.array([case["scores"]])
    expected = case["expected"]
    assert votes.best_of_n(clusters, scores).index[0] == expected["best_of_n"]
    checked = {"best_of_n", "best_of_n_unmasked", "zscore", "sigmoid3z"}
    for name in expected.keys() - checked:
        outcome = RULES[name](clusters, scores)
        totals = {str(c): t for c, t in enumerate(outcome.totals[0]) if not np.isnan(t)}
        assert totals == pytest.approx(expected[name]["totals"], rel=1e-9)
        index = int(outcome.index[0])
        if expected[name]["winner"] is None:
            assert index == -1
        else:
            assert case["clusters"][index] == expected[name]["winner"]
        if expected[name].get("rep") is not None:
            assert index == expected[name]["rep"]


def test_every_rule_is_in_the_vectors():
    assert RULES.keys() <= set().union(*(case["expected"] for case in SETS))
