"""Exact values: one form for each, both verdicts certain."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.grade import algebra
from tamis.grade.algebra import Undecided, add, divide, equal, generator, multiply, negate, power

HALF = Fraction(1, 2)
rationals = st.fractions(min_value=-50, max_value=50, max_denominator=20)
values = st.recursive(
    rationals
    | st.sampled_from(["x", "y", "pi", "i"]).map(generator)
    | st.integers(2, 30).map(lambda n: power(Fraction(n), HALF)),
    lambda inner: st.tuples(st.sampled_from([add, multiply]), inner, inner).map(lambda t: t[0](t[1], t[2])),
    max_leaves=4,
)


@given(values, values, values)
def test_ring_laws(a, b, c):
    assert equal(add(a, b), add(b, a))
    assert equal(multiply(a, add(b, c)), add(multiply(a, b), multiply(a, c)))
    assert equal(add(a, negate(a)), Fraction(0))


@given(values, values)
def test_division_undoes_multiplication(a, b):
    if not equal(b, Fraction(0)):
        assert equal(divide(multiply(a, b), b), a)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_roots_multiply_like_their_radicands(m, n):
    assert equal(multiply(power(Fraction(m), HALF), power(Fraction(n), HALF)), power(Fraction(m * n), HALF))


@given(st.integers(1, 500), st.integers(1, 500))
def test_a_sum_of_roots_is_not_another_root(m, n):
    # sqrt m + sqrt n = sqrt k only for k = m + n + 2 sqrt(mn); floats would call near misses equal
    total = add(power(Fraction(m), HALF), power(Fraction(n), HALF))
    assert not equal(total, power(Fraction(m + n), HALF))


def test_known_values():
    root = power(Fraction(2), HALF)
    assert equal(divide(Fraction(1), add(root, Fraction(1))), add(root, Fraction(-1)))
    assert equal(power(power(Fraction(2), HALF), HALF), power(Fraction(2), Fraction(1, 4)))
    assert equal(power(generator("i"), Fraction(3)), negate(generator("i")))
    assert equal(power(Fraction(-4), HALF), multiply(Fraction(2), generator("i")))
    assert equal(power(Fraction(1, 8), Fraction(-2, 3)), Fraction(4))
    assert algebra.approximate(multiply(generator("pi"), root)) == pytest.approx(4.442882938158366)


@pytest.mark.parametrize(
    ("base", "exponent"),
    [
        (Fraction(9), Fraction(10**9)),
        (Fraction(0), Fraction(-1)),
        (Fraction(-8), Fraction(1, 3)),
        (Fraction(10**15 + 37), HALF),
        (add(Fraction(1), power(Fraction(2), HALF)), HALF),
        (generator("x"), HALF),
        (Fraction(2), generator("x")),
    ],
)
def test_what_lies_outside_is_undecided(base, exponent):
    with pytest.raises(Undecided):
        power(base, exponent)


def test_division_by_zero_is_undecided():
    with pytest.raises(Undecided):
        divide(generator("x"), add(generator("y"), negate(generator("y"))))
