from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.summarise.isotonic import NUM_FOLDS, cross_fit, fit, fold_of, folds_of

rows = st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 1)), min_size=1, max_size=40)


def arrays(rows):
    return np.array([r[0] / 3 for r in rows]), np.array([float(r[1]) for r in rows])


def minimax(scores, y):
    """The solution by its formula: at each score the largest over beginnings of the smallest over ends of a mean."""
    levels = np.unique(scores)
    values = [
        max(min(y[(scores >= a) & (scores <= b)].mean() for b in levels[levels >= x]) for a in levels[levels <= x])
        for x in levels
    ]
    return np.array(values)[np.searchsorted(levels, scores)]


@settings(max_examples=150)
@given(rows)
def test_it_is_the_solution(rows):
    scores, y = arrays(rows)
    assert fit(scores, y)(scores) == pytest.approx(minimax(scores, y))


@settings(max_examples=100)
@given(rows, st.lists(st.floats(-9, 9), min_size=2, max_size=9), st.randoms())
def test_it_rises_keeps_the_mean_and_does_not_see_the_order(rows, others, random):
    scores, y = arrays(rows)
    model = fit(scores, y)
    assert (np.diff(model.value) > 0).all()
    assert (np.diff(model(np.sort(others))) >= 0).all()
    assert model(scores).mean() == pytest.approx(y.mean())
    random.shuffle(rows)
    assert fit(*arrays(rows))(scores).tolist() == model(scores).tolist()


def test_between_levels_it_is_linear_and_beyond_them_level():
    model = fit(np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.0, 1.0]))
    assert model(np.array([-5.0, 0.5, 2.0, 3.0, 9.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_many_levels_that_one_fall_takes_back():
    y = np.r_[np.arange(300) / 300, np.zeros(3000)]
    assert fit(np.arange(len(y), dtype=float), y)(np.array([0.0, 3299.0])).tolist() == pytest.approx(
        [0.0, max(y[i:].mean() for i in range(300))]
    )


def test_folds_go_by_the_problem():
    names = [f"p{i}" for i in range(500)]
    assert folds_of(names[:2], [2, 3]).tolist() == [fold_of("p0")] * 2 + [fold_of("p1")] * 3
    assert np.bincount([fold_of(name) for name in names]).tolist() == pytest.approx([100] * NUM_FOLDS, abs=30)
    fold_of("\ud800")


def test_without_another_fold_there_is_nothing_to_calibrate_by():
    assert np.isnan(cross_fit(np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([3, 3]))).all()
    assert len(cross_fit(np.empty(0), np.empty(0), np.empty(0, dtype=int))) == 0


@settings(max_examples=60)
@given(rows, st.data())
def test_the_labels_of_a_fold_never_shape_its_own_values(rows, data):
    scores, y = arrays(rows)
    folds = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    own = folds == folds[0]
    other = np.where(own, 1.0 - y, y)
    before, after = cross_fit(scores, y, folds), cross_fit(scores, other, folds)
    assert before[own].tolist() == pytest.approx(after[own].tolist(), abs=0, nan_ok=True)
    if not own.all():
        assert before[own].tolist() == fit(scores[~own], y[~own])(scores[own]).tolist()
