"""What an answer can be: the values that `reading` reads and `compare` compares."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tamis.grade import algebra
from tamis.grade.algebra import Exact


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number or an expression; `decimal`: a decimal point occurs in it; `unit`: the words behind it."""

    value: Exact
    decimal: bool = False
    percent: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Text, lower case."""

    text: str


@dataclass(frozen=True, slots=True)
class Based:
    """A numeral with a base, as `4210_5`."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day in seconds; `half`: said with a.m. or p.m."""

    seconds: int
    half: bool


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tuple, list or interval with its brackets; `of`: the variable of an inequality read as an interval."""

    opening: str
    closing: str
    items: tuple[Value, ...]
    of: str = ""


@dataclass(frozen=True, slots=True)
class Unordered:
    """A set, or a bare list."""

    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """A union of intervals."""

    pieces: tuple[Ordered, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries."""

    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right`; `name`: the left side when it is a name alone (or a name applied to one, as `f(x)`)."""

    name: str
    left: Value | None
    right: Value


Value = Scalar | Words | Based | Clock | Ordered | Unordered | Union | Matrix | Equation


def describe(value: Value) -> str:
    """A value in a few words, for people."""
    if isinstance(value, Scalar):
        return _scalar(value)
    if isinstance(value, Words):
        return f"the words '{value.text}'"
    if isinstance(value, Based):
        return f"{value.digits} in base {value.base}"
    if isinstance(value, Clock):
        return f"a time of day, {value.seconds} s after midnight"
    if isinstance(value, Ordered):
        return f"{value.opening}{', '.join(map(describe, value.items))}{value.closing}"
    if isinstance(value, Unordered):
        return f"a set of {', '.join(map(describe, value.items))}"
    if isinstance(value, Union):
        return " or ".join(map(describe, value.pieces))
    if isinstance(value, Matrix):
        return "a matrix " + "; ".join(", ".join(map(describe, row)) for row in value.rows)
    left = value.name or (describe(value.left) if value.left else "?")
    return f"{left} = {describe(value.right)}"


def _scalar(value: Scalar) -> str:
    if isinstance(value.value, Fraction):
        text = str(value.value)
    else:
        number = algebra.approximate(value.value)
        names = ", ".join(sorted(algebra.generators(value.value) - {"oo"}))
        text = (
            f"an exact number near {number:.6g}" if number is not None else f"an expression in {names}" if names else "infinity"
        )
    return text + (" %" if value.percent else "") + (f" [{value.unit}]" if value.unit else "")
