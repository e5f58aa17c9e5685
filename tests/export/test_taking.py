from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool

from tamis.errors import UsageError
from tamis.export import Taking, best, pairs
from tamis.records import Image, Pool

SCORER = "judge"
VALUES = st.lists(st.tuples(st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]), st.sampled_from([True, False, None])), max_size=8)


def pool(values, correct=None, **options) -> Pool:
    correct = correct or [True] * len(values)
    return make_pool([0 if right else 1 for right in correct], correct, {SCORER: values}, **options)


def with_sample(old: Pool, i: int, **changes) -> Pool:
    samples = list(old.samples)
    samples[i] = dataclasses.replace(samples[i], **changes)
    return dataclasses.replace(old, samples=tuple(samples))


def indices(found):
    return [taken.sample.index for taken in found]


def test_the_best_come_first_up_to_the_cap():
    found, left_out = best(pool([0.1, 0.9, 0.5, 0.9]), Taking(SCORER, per_prompt=3))
    assert indices(found) == [1, 3, 2]
    assert left_out == {"beyond_the_best": 1}


def test_nothing_is_learnt_from_what_is_unscored_wrong_or_cut_off():
    values, correct = [0.9, None, 0.8, 0.7, 0.6], [False, True, True, True, None]
    judged = pool(values, correct, failed=(2,), truncated=(3,))
    found, left_out = best(judged, Taking(SCORER, only_correct=True, per_prompt=9))
    assert found == []
    assert left_out == {"wrong": 1, "not_asked": 1, "engine_error": 1, "cut_off": 1, "timeout": 1}
    found, _ = best(judged, Taking(SCORER, per_prompt=9))
    assert indices(found) == [0, 4]


def test_without_a_scorer_right_stands_against_wrong():
    judged = pool([None] * 4, [False, True, None, False])
    assert indices(best(judged, Taking(per_prompt=4))[0]) == [1]
    [(chosen, rejected)], left_out = pairs(judged, Taking(per_prompt=4))
    assert (chosen.sample.index, rejected.sample.index) == (1, 3)
    assert (chosen.score, rejected.score) == (1.0, 0.0)
    assert left_out == {"timeout": 1, "unpaired": 1}


def test_equal_texts_are_one():
    judged = with_sample(pool([0.1, 0.5, 0.9]), 2, parts=("text 0 \n",))
    found, left_out = best(judged, Taking(SCORER, per_prompt=9))
    assert indices(found) == [2, 1]
    assert left_out == {"repeated": 1}
    twins = with_sample(pool([0.1, 0.9]), 1, parts=("text 0",))
    assert pairs(twins, Taking(SCORER))[0] == []


def test_a_sample_with_pictures_is_no_text():
    judged = with_sample(with_sample(pool([0.1, 0.5]), 0, parts=("see", Image("a.png"))), 1, parts=(" ",))
    assert best(judged, Taking(SCORER)) == ([], {"pictures": 1, "empty": 1})


@given(VALUES, st.sampled_from([0.0, 0.25, 0.6]), st.booleans(), st.integers(1, 4))
def test_pairs_are_disjoint_and_apart(rows, margin, only_correct, per_prompt):
    judged = pool([value for value, _ in rows], [right for _, right in rows])
    found, left_out = pairs(judged, Taking(SCORER, margin, only_correct, per_prompt))
    used = [taken.sample.index for pair in found for taken in pair]
    assert len(used) == len(set(used))
    assert len(used) + left_out.total() == len(rows)
    assert len(found) <= per_prompt
    for chosen, rejected in found:
        assert chosen.score > rejected.score
        assert chosen.score - rejected.score >= margin
        assert not only_correct or (chosen.grade.correct, rejected.grade.correct) == (True, False)
    known = [value for value, _ in rows if value is not None]
    if not only_correct and known and max(known) > min(known) and max(known) - min(known) >= margin:
        assert (found[0][0].score, found[0][1].score) == (max(known), min(known))


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_a_margin_that_cannot_be_is_refused(margin):
    with pytest.raises(UsageError, match="margin"):
        Taking(SCORER, margin)
