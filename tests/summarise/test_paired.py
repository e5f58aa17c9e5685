"""McNemar's exact test and the paired comparison, against counting by hand."""

from __future__ import annotations

from itertools import product

import pytest

from tamis.summarise.paired import mcnemar, paired


@pytest.mark.parametrize("num", range(1, 9))
def test_the_p_value_is_the_share_of_coin_sequences_that_part_as_unevenly(num):
    for lost in range(num + 1):
        apart = abs(num - 2 * lost)
        share = sum(abs(num - 2 * sum(coins)) >= apart for coins in product((0, 1), repeat=num)) / 2**num
        assert mcnemar(lost, num - lost) == pytest.approx(share)


def test_extremes():
    assert mcnemar(0, 0) == 1.0
    assert 0 <= mcnemar(0, 5000) < 1e-300
    assert mcnemar(2500, 2500) == 1.0


def test_two_columns():
    first = [True] * 6 + [False] * 4
    second = [True] * 5 + [False] + [True] * 3 + [False]
    found = paired(first, second)
    assert (found.num_both, found.num_neither, found.num_first, found.num_second) == (5, 1, 1, 3)
    assert found.num_problems == 10
    assert (found.first.value, found.second.value) == (0.6, 0.8)
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.low < 0.2 < found.difference.high
    assert found.p_value == pytest.approx(2 * (1 + 4) / 16)
