"""The edge cases of docs/methods.md section 0, each through the whole chain score -> select -> summarise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from pools import make_pool
from score.logit_vectors import nine

from tamis.records import Pool, TokenStats
from tamis.score import FREE as FREE_SCORERS
from tamis.score import score_pool
from tamis.select import FREE, METHODS, choose
from tamis.summarise import compare, to_json

V = 32
NOTHING = -1
A, B, C = 0, 1, 2  # clusters; A is right
BY_SCORE = [name for name in FREE if METHODS[name].curve == "best-of-n"]
VOTES = ["self-consistency", "adaptive-consistency", "adaptive-dirichlet", "esc"]  # of those without weights
HEALTH = {"num_truncated": 0, "num_unparseable": 0, "num_ungraded": 0, "num_failed": 0}


def peaked(*heights, size=V, masked=0):
    """One token a height: its logit stands that high above the `size` - 1 others; `masked` further logits are -inf."""
    rows = [np.array([height] + [0.0] * (size - 1) + [-np.inf] * masked) for height in heights]
    values = np.array([nine(row, 0)[0] for row in rows], dtype=np.float32).reshape(-1, 9)
    places = np.arange(len(heights), dtype=np.int32)
    return TokenStats(values, np.zeros(len(heights), np.int32), places, size)


@dataclass
class Case:
    """One problem's samples, and what is to come of them. Indices that are None: it abstains."""

    name: str
    clusters: list[int]
    stats: list[TokenStats]
    first: tuple[int | None, bool | None]  # what `baseline` takes, and whether that is right
    vote: tuple[int | None, bool | None]  # the same of the votes
    best: tuple[int | None, bool | None]  # the same of every choice by score
    unscored: dict[int, str] = field(default_factory=dict)  # sample -> why no score has a value
    health: dict[str, int] = field(default_factory=dict)  # besides zeros
    truncated: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    correct: list[bool | None] | None = None

    def pool(self) -> Pool:
        """Graded, clustered, not yet scored."""
        made = make_pool(self.clusters, self.correct, truncated=self.truncated, failed=self.failed)
        samples = [
            replace(s, stats=stats, parts=("\\boxed{1}",) if len(stats) else (), completion_tokens=len(stats))
            for s, stats in zip(made.samples, self.stats, strict=True)
        ]
        return replace(made, samples=tuple(samples))


FLAT, LOW, HIGH = peaked(1, 1, 1), peaked(2, 2, 2), peaked(6, 6, 6)
EMPTY = peaked()
CASES = [
    Case(
        "an empty output is no sample worth taking, but it is one",
        [NOTHING, B, A], [EMPTY, LOW, HIGH],
        first=(0, False), vote=(1, False), best=(2, True),
        unscored={0: "empty"}, health={"num_unparseable": 1},
    ),
    Case(
        "nothing but empty outputs",
        [NOTHING, NOTHING], [EMPTY, EMPTY],
        first=(0, False), vote=(None, False), best=(0, False),
        unscored={0: "empty", 1: "empty"}, health={"num_unparseable": 2},
    ),
    Case("one token", [B, A], [peaked(1), peaked(5)], first=(0, False), vote=(0, False), best=(1, True)),
    Case("one sample", [A], [LOW], first=(0, True), vote=(0, True), best=(0, True)),
    Case(
        "a truncated sample without an answer is no rival, however sure it is",
        [NOTHING, A], [HIGH, LOW],
        first=(0, False), vote=(1, True), best=(1, True),
        truncated=(0,), health={"num_truncated": 1, "num_unparseable": 1},
    ),
    Case(
        "a truncated sample with an answer is one like the others",
        [B, A, A], [LOW, HIGH, FLAT],
        first=(0, False), vote=(1, True), best=(1, True),
        truncated=(1, 2), health={"num_truncated": 2},
    ),
    Case(
        "nothing with an answer: votes abstain, a score shows its best text, all are wrong",
        [NOTHING, NOTHING, NOTHING], [LOW, HIGH, FLAT],
        first=(0, False), vote=(None, False), best=(1, False),
        health={"num_unparseable": 3},
    ),
    Case("equal scores: the first", [B, A, A], [LOW, LOW, LOW], first=(0, False), vote=(1, True), best=(0, False)),
    Case(
        "equal votes: the first seen",
        [B, A, A, B], [LOW, LOW, HIGH, FLAT],
        first=(0, False), vote=(0, False), best=(2, True),
    ),
    Case(
        "a failed sample takes no part",
        [NOTHING, A, B], [EMPTY, LOW, HIGH],
        first=(1, True), vote=(1, True), best=(2, False),
        failed=(0,), unscored={0: "engine_error"}, health={"num_failed": 1},
    ),
    Case(
        "an answer that nobody could grade is neither right nor wrong",
        [B, A], [HIGH, LOW],
        first=(0, None), vote=(0, None), best=(0, None),
        correct=[None, True], health={"num_ungraded": 1},
    ),
    Case(
        "one possible token: certain, and not comparable",
        [B, A], [peaked(1, 1, size=1), peaked(3, 3, size=1)],
        first=(0, False), vote=(0, False), best=(0, False),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_chain(case):
    pool = case.pool()
    table, records = score_pool(pool, FREE_SCORERS)
    for record in records:
        position = next(i for i, sample in enumerate(pool.samples) if sample.key == record.key)
        assert (record.value is None) == (record.reason is not None)
        if position in case.unscored:
            assert record.reason == case.unscored[position]
        elif record.scorer != "deepconf-online":  # undefined below its bar
            assert record.reason is None
    pool = replace(pool, scores=table)

    expected = {"baseline": case.first, **dict.fromkeys(VOTES, case.vote), **dict.fromkeys(BY_SCORE, case.best)}
    for name in FREE:
        choice = choose(pool, name)
        answer = None if choice.index is None else pool.grades[choice.index].answer
        assert choice.answer == answer
        if name in expected:
            assert choice.index == expected[name][0], name
        if name != "baseline" and any(c >= 0 for c in pool.clusters):
            assert choice.answer is not None, name

    result = compare([pool], FREE)
    to_json(result)
    lines = {line.method: line for line in result.methods}
    for name, (index, right) in expected.items():
        if name not in lines:  # nothing at all to go by
            assert all(value is None for row in table.values() for value in row), name
            continue
        line = lines[name]
        assert (line.num_problems, line.num_abstained) == (int(right is not None), int(index is None)), name
        assert right is None or line.accuracy.value == float(right), name
        assert (f"{name}: 1 problem whose choice could not be graded" in result.left_out) == (right is None)
    assert {name: getattr(result.health, name) for name in HEALTH} == HEALTH | case.health


def test_undefined_scores_lose_and_weigh_nothing():
    """NaN in a statistic, or a token that had no chance: the sample keeps its vote and cannot be the best."""
    broken, never = peaked(9, 9), peaked(9, 9)
    broken.values[1] = np.nan
    never.values[1, 0] = -np.inf  # logp
    case = Case("", [B, C, A, A], [broken, never, LOW, FLAT], first=(0, False), vote=(2, True), best=(2, True))
    table, records = score_pool(case.pool(), FREE_SCORERS)
    reasons = {(r.scorer, r.key): r.reason for r in records}
    pool = replace(case.pool(), scores=table)
    by_probability = {"logprob", "sum-logprob", "self-certainty", "entropy"}
    for name in BY_SCORE:
        assert reasons[name, "p-0"] == "undefined"
        assert choose(pool, name).index == (2 if name in by_probability else 1)
    assert reasons["logprob", "p-1"] == reasons["sum-logprob", "p-1"] == "undefined"
    assert choose(pool, "weighted-deepconf").votes["B"] == 0.0
    assert choose(pool, "self-consistency").votes == {"B": 1.0, "C": 1.0, "A": 2.0}
    lines = {line.method: line for line in compare([pool], FREE).methods}
    assert lines["logprob"].accuracy.value == lines["self-consistency"].accuracy.value == 1.0
    assert math.isfinite(lines["logprob"].auroc)


def test_masked_logits_score_as_the_tokens_that_are_left():
    bare, masked = ([peaked(1, 2, masked=m), peaked(4, 5, masked=m)] for m in (0, 1000))
    pools = [Case("", [B, A], stats, first=(0, False), vote=(0, False), best=(1, True)).pool() for stats in (bare, masked)]
    tables = [score_pool(pool, FREE_SCORERS)[0] for pool in pools]
    assert tables[0] == tables[1]
    results = [compare([replace(pool, scores=table)], FREE) for pool, table in zip(pools, tables, strict=True)]
    assert to_json(results[0]) == to_json(results[1])
    assert choose(replace(pools[1], scores=tables[1]), "mean-self-certainty").index == 1


def test_one_possible_token_has_the_documented_values():
    pool = Case("", [A], [peaked(2.0, size=1)], first=(0, True), vote=(0, True), best=(0, True)).pool()
    table = {name: row[0] for name, row in score_pool(pool, FREE_SCORERS)[0].items()}
    assert table["mean-self-certainty"] == table["neg-entropy"] == table["logprob"] == 0.0
    assert table["max-prob"] == table["margin"] == table["gini"] == table["entropy"] == 1.0


def test_a_tie_of_weights_goes_to_the_better_best_member_where_there_are_scores():
    pool = make_pool([B, A, A, B], scores={"deepconf": [2.0, 1.0, 3.0, 2.0]})  # B: 2 + 2, A: 1 + 3
    assert choose(pool, "weighted-deepconf").index == 2
    assert choose(pool, "self-consistency").index == 0
    lines = {line.method: line.accuracy.value for line in compare([pool], ["weighted-deepconf", "self-consistency"]).methods}
    assert (lines["weighted-deepconf"], lines["self-consistency"]) == (1.0, 0.0)
