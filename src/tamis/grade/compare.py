"""Compare two read values: True, False, or None when only symbolic algebra can tell.

Conventions, where mathematics leaves the choice:

* a decimal equals what it rounds to: two values of which one has a decimal point are equal when they agree to 6 decimals
  (and to 1e-4 relatively); exact values must agree exactly;
* `p%` equals both p and p/100; a unit, a degree sign or a currency sign counts for nothing, unless both answers name one
  and the two differ;
* bare lists and sets have no order and no repetitions, tuples have; `x = 5` equals `5`;
* letters of a choice and words ignore case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

from tamis.grade import algebra
from tamis.grade.algebra import Undecided
from tamis.grade.expression import MEASURES
from tamis.grade.values import Based, Clock, Equation, Matrix, Ordered, Scalar, Union, Unordered, Value, Words

_DECIMALS = 6
_RELATIVE = 1e-4


def same(gold: Value, pred: Value) -> bool | None:
    """Whether two values are the same answer; None: undecided here."""
    try:
        return _same(gold, pred)
    except Undecided:
        return None


def _same(gold: Value, pred: Value) -> bool | None:
    if isinstance(gold, Equation) or isinstance(pred, Equation):
        return _equations(gold, pred)
    if isinstance(gold, Scalar) and isinstance(pred, Scalar):
        return _scalars(gold, pred)
    if isinstance(gold, Words) and isinstance(pred, Words):
        return _words(gold, pred)
    if isinstance(gold, Unordered) and isinstance(pred, Unordered):
        return _sets(gold.items, pred.items)
    if isinstance(gold, Ordered) and isinstance(pred, Ordered):
        return _ordered(gold, pred)
    if isinstance(gold, Ordered | Union) and isinstance(pred, Ordered | Union):
        return _unions(gold, pred)
    if isinstance(gold, Matrix) and isinstance(pred, Matrix):
        if [len(row) for row in gold.rows] != [len(row) for row in pred.rows]:
            return False
        return _all(_same(g, p) for rows in zip(gold.rows, pred.rows, strict=True) for g, p in zip(*rows, strict=True))
    if isinstance(gold, Clock) and isinstance(pred, Clock):
        if gold.seconds == pred.seconds or (gold.half != pred.half and gold.seconds % 43200 == pred.seconds % 43200):
            return True
        return False if gold.half and pred.half else None
    return _mixed(gold, pred)


def _mixed(gold: Value, pred: Value) -> bool | None:
    """Values of two kinds."""
    if isinstance(gold, Based) or isinstance(pred, Based):
        return _based(gold, pred)
    if isinstance(gold, Unordered) and isinstance(pred, Scalar):
        return _sets(gold.items, (pred,))
    if isinstance(gold, Scalar) and isinstance(pred, Unordered):
        return _sets((gold,), pred.items)
    if isinstance(gold, Scalar) and isinstance(pred, Ordered | Union | Matrix):
        return False if algebra.is_constant(gold.value) else None
    if isinstance(gold, Ordered | Union | Matrix) and isinstance(pred, Scalar):
        return False if algebra.is_constant(pred.value) else None
    if (isinstance(gold, Ordered) and isinstance(pred, Unordered)) or (
        isinstance(gold, Unordered) and isinstance(pred, Ordered)
    ):
        return _tuple_and_list(gold.items, pred.items)
    if (isinstance(gold, Words) and isinstance(pred, Scalar)) or (isinstance(gold, Scalar) and isinstance(pred, Words)):
        number = gold if isinstance(gold, Scalar) else pred
        assert isinstance(number, Scalar)
        return False if isinstance(number.value, Fraction) else None
    return None


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    if False in found:
        return False
    return None if None in found else True


def _scalars(gold: Scalar, pred: Scalar) -> bool | None:
    verdict = _numbers(gold, pred)
    if verdict is not True and (gold.percent or pred.percent):
        hundredths = [Scalar(algebra.divide(s.value, Fraction(100)), s.decimal) if s.percent else s for s in (gold, pred)]
        verdict = _numbers(*hundredths)
    measures = {MEASURES.get(scalar.unit.removesuffix("s")) for scalar in (gold, pred)}
    if verdict and len(measures) == 2 and None not in measures:
        return False
    if verdict is False and gold.unit and pred.unit and gold.unit != pred.unit:
        return None
    return verdict


def _numbers(gold: Scalar, pred: Scalar) -> bool | None:
    if algebra.equal(gold.value, pred.value):
        return True
    if not (gold.decimal or pred.decimal):
        return False
    a, b = algebra.approximate(gold.value), algebra.approximate(pred.value)
    if a is None or b is None:
        return False if algebra.is_constant(gold.value) != algebra.is_constant(pred.value) else None
    difference = abs(a - b)
    return difference <= 0.5 * 10**-_DECIMALS and difference <= _RELATIVE * max(abs(a), abs(b))


def _words(gold: Words, pred: Words) -> bool | None:
    if gold.text.replace(" ", "").replace("-", "") == pred.text.replace(" ", "").replace("-", ""):
        return True
    return False if " " not in gold.text + pred.text else None


def _based(gold: Value, pred: Value) -> bool | None:
    if isinstance(gold, Based) and isinstance(pred, Based):
        try:
            return int(gold.digits, gold.base) == int(pred.digits, pred.base)
        except ValueError:
            return (gold.digits, gold.base) == (pred.digits, pred.base)
    based, other = (gold, pred) if isinstance(gold, Based) else (pred, gold)
    assert isinstance(based, Based)
    if isinstance(other, Scalar) and isinstance(other.value, Fraction):
        return other.value == int(based.digits)  # the base left out
    return None


def _sets(gold: tuple[Value, ...], pred: tuple[Value, ...]) -> bool | None:
    """Each member of one equals a member of the other."""
    if len(gold) * len(pred) > 400:
        return None
    table = [[_same(g, p) for p in pred] for g in gold]
    lines = table + [list(column) for column in zip(*table, strict=True)]
    if all(True in line for line in lines):
        return True
    return False if any(set(line) == {False} for line in lines) else None


def _ordered(gold: Ordered, pred: Ordered) -> bool | None:
    if gold.of and pred.of and gold.of != pred.of:
        return None
    if len(gold.items) != len(pred.items):
        return False
    inside = _all(_same(g, p) for g, p in zip(gold.items, pred.items, strict=True))
    if inside and (gold.opening, gold.closing) != (pred.opening, pred.closing):
        return False if len(gold.items) == 2 else None
    return inside


def _unions(gold: Ordered | Union, pred: Ordered | Union) -> bool | None:
    """Sets of reals: equal when their maximal intervals are."""
    first, second = _maximal(gold), _maximal(pred)
    if len(first) != len(second):
        return False
    return _all(_ordered(g, p) for g, p in zip(first, second, strict=True))


def _maximal(value: Ordered | Union) -> list[Ordered]:
    """The intervals of a union in order, overlapping and touching ones joined."""
    pieces = value.pieces if isinstance(value, Union) else (value,)
    if any(len(piece.items) != 2 for piece in pieces):
        raise Undecided
    joined: list[Ordered] = []
    for piece in sorted(pieces, key=lambda piece: (_position(piece.items[0]), piece.opening != "[")):
        start, end = _position(piece.items[0]), _position(piece.items[1])
        if start > end:
            raise Undecided
        last = joined[-1] if joined else None
        reach = _position(last.items[1]) if last else -math.inf
        if last is None or start > reach or (start == reach and (last.closing, piece.opening) == (")", "(")):
            joined.append(Ordered(piece.opening, piece.closing, piece.items))
        elif end > reach or (end == reach and piece.closing == "]"):
            joined[-1] = Ordered(last.opening, piece.closing, (last.items[0], piece.items[1]))
    return joined


def _position(end: Value) -> float:
    """Where an end of an interval lies on the real line."""
    if not isinstance(end, Scalar):
        raise Undecided
    if algebra.generators(end.value) == {"oo"}:
        infinity = algebra.generator("oo")
        if algebra.equal(end.value, infinity) or algebra.equal(end.value, algebra.negate(infinity)):
            return math.inf if algebra.equal(end.value, infinity) else -math.inf
    number = algebra.approximate(end.value)
    if number is None or number.imag:
        raise Undecided
    return number.real


def _tuple_and_list(gold: tuple[Value, ...], pred: tuple[Value, ...]) -> bool | None:
    """A tuple against a bare list: equal when they agree member by member, in order."""
    if len(gold) != len(pred):
        return None
    return _all(_same(g, p) for g, p in zip(gold, pred, strict=True)) or None


def _equations(gold: Value, pred: Value) -> bool | None:
    if not isinstance(gold, Equation):
        assert isinstance(pred, Equation)
        return _same(gold, pred.right) if pred.name else None
    if not isinstance(pred, Equation):
        return _same(gold.right, pred) if gold.name else None
    if gold.name and gold.name == pred.name and not (_has_variables(gold.right) and _has_variables(pred.right)):
        return _same(gold.right, pred.right)
    sides = (gold.left, gold.right, pred.left, pred.right)
    if not all(isinstance(side, Scalar) and not side.decimal for side in sides):
        if gold.name and gold.name == pred.name:
            return _same(gold.right, pred.right) or None
        return None
    a, b, c, d = (side.value for side in sides if isinstance(side, Scalar))
    first, second = algebra.add(a, algebra.negate(b)), algebra.add(c, algebra.negate(d))
    if algebra.proportional(first, second):
        return True
    linear = algebra.degree(first) == algebra.degree(second) == 1
    plain = all(isinstance(x, Fraction) or (len(x.denominator) == 1 and () in x.denominator) for x in (first, second))
    return False if linear and plain else None


def _has_variables(value: Value) -> bool:
    if isinstance(value, Ordered | Unordered):
        return any(_has_variables(item) for item in value.items)
    return not isinstance(value, Scalar) or not algebra.is_constant(value.value)
