from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.config import Arm
from tamis.sample.bandit import Bandit
from tamis.sample.strategies import Planner

GRID = tuple(Arm(*cell) for cell in product(("a", "乙"), (0.2, 0.7, 1.0), (0.9, 1.0), (0,)))

arms = st.builds(
    Arm, st.sampled_from("abc"), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.5, 1.0]), st.sampled_from([0, 20])
)
grids = st.lists(arms, min_size=1, max_size=12).map(tuple)
strategies = st.sampled_from(["random", "grid", "adaptive"])


def plans(strategy, grid, num, seed, ids, scores=lambda *_: 50.0, late=0):
    """The plans of images of which at most `late` before the next one are unknown, as far as the strategy allows."""
    planner = Planner(strategy, grid, num, seed)
    planned, num_seen = [], 0
    for number, image in enumerate(ids):
        ahead = planner.max_ahead
        while ahead is not None and num_seen < number - min(late, ahead):
            planner.see([(turn.arm, scores(turn, ids[num_seen])) for turn in planned[num_seen]])
            num_seen += 1
        planned.append(planner.plan(image))
    return planned


@given(strategies, grids, st.integers(1, 30), st.integers(0, 9), st.integers(0, 40))
def test_no_draw_is_asked_for_twice_and_none_is_left_out(strategy, grid, num, seed, late):
    for turns in plans(strategy, grid, num, seed, [f"图{i}" for i in range(6)], late=late):
        assert len(turns) == num
        assert len(set(turns)) == num
        assert {turn.arm for turn in turns} <= set(grid)
        for arm, count in Counter(turn.arm for turn in turns).items():
            assert sorted(turn.index for turn in turns if turn.arm == arm) == list(range(count))
        if strategy != "adaptive":  # no arm again before all were tried
            counts = Counter(turn.arm for turn in turns)
            assert max(counts.values()) - min(counts[arm] for arm in grid) <= 1


@given(strategies, grids, st.integers(1, 6), st.integers(0, 9))
def test_more_candidates_prolong_the_plan(strategy, grid, num, seed):
    few, many = (plans(strategy, grid, n, seed, ["x"])[0] for n in (num, 2 * num))
    if strategy != "adaptive":
        assert many[:num] == few


@pytest.mark.parametrize("strategy", ["random", "grid"])
def test_an_image_is_given_the_same_wherever_it_stands(strategy):
    ids = [f"{number}.png" for number in range(300)]
    forward = dict(zip(ids, plans(strategy, GRID, 4, 1, ids), strict=True))
    backward = dict(zip(ids[::-1], plans(strategy, GRID, 4, 1, ids[::-1]), strict=True))
    assert forward == backward
    assert forward != dict(zip(ids, plans(strategy, GRID, 4, 2, ids), strict=True))
    counts = Counter(turn.arm for turns in forward.values() for turn in turns)
    assert all(60 < counts[arm] < 140 for arm in GRID)  # 100 each are expected


def test_a_grown_grid_keeps_most_of_what_was_drawn():
    ids = [f"{number}.png" for number in range(50)]
    before = plans("random", GRID[:-2], 4, 1, ids)
    after = plans("random", GRID, 4, 1, ids)
    kept = [len(set(old) & set(new)) for old, new in zip(before, after, strict=True)]
    assert sum(kept) / len(kept) > 3


@given(st.integers(0, 40), st.integers(0, 5))
def test_the_adaptive_plan_does_not_depend_on_how_early_scores_are_known(late, seed):
    ids = [f"{number}" for number in range(60)]

    def scores(turn, image):
        return 40.0 + 30 * turn.arm.temperature + len(image)

    assert plans("adaptive", GRID, 3, seed, ids, scores, late=late) == plans("adaptive", GRID, 3, seed, ids, scores, late=0)


def test_the_bandit_finds_the_good_settings_of_a_large_grid_among_hard_and_easy_images():
    grid = [Arm(*cell) for cell in product("abcd", (0.3, 0.5, 0.7, 0.9, 1.2), (0.5, 0.7, 0.9), (20, 40, 60, 80))]
    rng = np.random.default_rng(0)
    ids = [f"{number}" for number in range(120)]
    hardness = {image: rng.normal(0, 20) for image in ids}

    def worth(arm):
        return 60 + 10 * (arm.prompt_key == "c") - 15 * abs(arm.temperature - 0.5)

    def scores(turn, image):
        return float(np.clip(worth(turn.arm) + hardness[image] + rng.normal(0, 10), 0, 100))

    planned = plans("adaptive", grid, 4, 0, ids, scores)
    early, late = (np.mean([worth(turn.arm) for turns in part for turn in turns]) for part in (planned[:20], planned[-40:]))
    assert late > early + 5
    bandit = Bandit(grid)
    for turns, image in zip(planned, ids, strict=True):
        bandit.learn([(turn.arm, scores(turn, image)) for turn in turns])
    best, *_, worst = bandit.beliefs()
    assert best.arm.prompt_key == "c"
    assert best.score > worst.score
    assert 0 < best.deviation < 20


def test_a_bandit_knows_nothing_at_first_and_only_learns_from_scores():
    bandit = Bandit(GRID)
    prior = bandit.beliefs()
    assert {round(belief.score, 6) for belief in prior} == {50.0}
    bandit.learn([])
    assert bandit.beliefs() == prior
    bandit.learn([(GRID[0], 90.0), (GRID[-1], 10.0)])
    beliefs = {belief.arm: belief for belief in bandit.beliefs()}
    assert beliefs[GRID[0]].score > beliefs[GRID[-1]].score
    assert beliefs[GRID[0]].deviation < prior[0].deviation
