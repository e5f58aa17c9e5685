r"""Exact arithmetic on what answers are made of: quotients of sums of `rational * roots * pi * i * variables`.

A number is a `Fraction`, or a `Quotient` of two polynomials whose generators are roots of primes, `i`, `pi`, `e` and
variables. Products of roots of primes with exponents in (0, 1) are linearly independent over the rationals (Besicovitch,
J. London Math. Soc. 15, 1940), so that each polynomial has ONE form here and `equal` decides both ways with certainty.
Whatever lies outside (nested roots, symbolic exponents, numbers too large) raises `Undecided`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

_MAX_TERMS = 120
_MAX_BITS = 8192
_MAX_RADICAND = 1_000_000

Monomial = tuple[tuple[str, Fraction], ...]  # (generator, exponent), sorted; a prime's exponent lies in (0, 1)
Polynomial = dict[Monomial, Fraction]


class Undecided(Exception):
    """This arithmetic cannot say."""


@dataclass(frozen=True, slots=True, eq=False)
class Quotient:
    """Numerator over denominator; neither is reduced, `equal` multiplies crosswise."""

    numerator: Polynomial
    denominator: Polynomial


Exact = Fraction | Quotient
_ONE: Polynomial = {(): Fraction(1)}


def generator(name: str) -> Quotient:
    """A variable, or one of the constants `pi`, `e`, `i`, `oo`."""
    return Quotient({((name, Fraction(1)),): Fraction(1)}, _ONE)


def is_constant(value: Exact) -> bool:
    """Whether no variable occurs in it (infinity counts as one)."""
    return isinstance(value, Fraction) or all(
        name.isdigit() or name in ("pi", "e", "i")
        for part in (value.numerator, value.denominator)
        for term in part
        for name, _ in term
    )


def generators(value: Exact) -> set[str]:
    """The names of all generators in it."""
    if isinstance(value, Fraction):
        return set()
    return {name for part in (value.numerator, value.denominator) for term in part for name, _ in term}


def degree(value: Exact) -> int:
    """The total degree of the numerator in the variables."""
    if isinstance(value, Fraction):
        return 0
    variables = [
        [exponent for name, exponent in term if not name.isdigit() and name not in ("pi", "e", "i")] for term in value.numerator
    ]
    return max((int(sum(exponents)) for exponents in variables), default=0)


def add(a: Exact, b: Exact) -> Exact:
    """Sum."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    p, q = _quotient(a), _quotient(b)
    if p.denominator == q.denominator:
        return Quotient(_sum(p.numerator, q.numerator), p.denominator)
    numerator = _sum(_product(p.numerator, q.denominator), _product(q.numerator, p.denominator))
    return Quotient(numerator, _product(p.denominator, q.denominator))


def multiply(a: Exact, b: Exact) -> Exact:
    """Product."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _checked(a * b)
    p, q = _quotient(a), _quotient(b)
    return Quotient(_product(p.numerator, q.numerator), _product(p.denominator, q.denominator))


def divide(a: Exact, b: Exact) -> Exact:
    """Quotient. Raises `Undecided` when the divisor is 0."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if b == 0:
            raise Undecided
        return a / b
    q = _quotient(b)
    if not q.numerator:
        raise Undecided
    return multiply(a, Quotient(q.denominator, q.numerator))


def negate(a: Exact) -> Exact:
    """The negative."""
    return multiply(Fraction(-1), a)


def power(base: Exact, exponent: Exact) -> Exact:
    """`base ** exponent` for integer exponents, and for rational ones of positive numbers and of -n under a square root."""
    if not isinstance(exponent, Fraction):
        raise Undecided
    if exponent.denominator == 1:
        return _integer_power(base, exponent.numerator)
    if isinstance(base, Fraction):
        if base < 0 and exponent == Fraction(1, 2):
            return multiply(generator("i"), _root(-base, exponent))
        if base <= 0:
            raise Undecided
        return _root(base, exponent)
    if len(base.numerator) == 1 and len(base.denominator) == 1:
        ((above, a),) = base.numerator.items()
        ((below, b),) = base.denominator.items()
        if a / b > 0 and all(name.isdigit() or name in ("pi", "e") for name, _ in above + below):
            factors = [(name, e) for name, e in above] + [(name, -e) for name, e in below]
            result = _root(a / b, exponent)
            for name, e in factors:
                result = multiply(result, Quotient(*_split({name: e * exponent})))
            return result
    raise Undecided


def equal(a: Exact, b: Exact) -> bool:
    """Whether two values are the same, exactly."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    p, q = _quotient(a), _quotient(b)
    return _product(p.numerator, q.denominator) == _product(q.numerator, p.denominator)


def proportional(a: Exact, b: Exact) -> bool:
    """Whether the numerators are equal up to a rational factor other than 0: `a = 0` and `b = 0` are the same equation."""
    p, q = _quotient(a).numerator, _quotient(b).numerator
    if not p or p.keys() != q.keys():
        return False
    ratios = {p[term] / q[term] for term in p}
    return len(ratios) == 1


def approximate(value: Exact) -> complex | None:
    """A constant as a float; None when variables occur or it overflows."""
    try:
        if isinstance(value, Fraction):
            return complex(float(value))
        if not is_constant(value):
            return None
        return _float(value.numerator) / _float(value.denominator)
    except (OverflowError, ZeroDivisionError):
        return None


def _quotient(value: Exact) -> Quotient:
    if isinstance(value, Quotient):
        return value
    return Quotient({(): value} if value else {}, _ONE)


def _checked(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > _MAX_BITS or value.denominator.bit_length() > _MAX_BITS:
        raise Undecided
    return value


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    total = dict(a)
    for term, coefficient in b.items():
        value = total.get(term, 0) + coefficient
        if value:
            total[term] = value
        else:
            del total[term]
    return total


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    if b is _ONE:
        return a
    if len(a) * len(b) > 8 * _MAX_TERMS:
        raise Undecided
    total: Polynomial = {}
    for left, x in a.items():
        for right, y in b.items():
            exponents = dict(left)
            for name, exponent in right:
                exponents[name] = exponents.get(name, Fraction(0)) + exponent
            term, factor = _reduce(exponents)
            value = _checked(total.get(term, Fraction(0)) + x * y * factor)
            if value:
                total[term] = value
            else:
                total.pop(term, None)
    if len(total) > _MAX_TERMS:
        raise Undecided
    return total


def _reduce(exponents: dict[str, Fraction]) -> tuple[Monomial, Fraction]:
    """The one form of a product of generators: whole powers of primes and squares of i go into the rational factor."""
    factor = Fraction(1)
    kept = []
    for name, exponent in sorted(exponents.items()):
        if name.isdigit():
            whole = math.floor(exponent)
            factor *= Fraction(int(name)) ** whole
            exponent -= whole
        elif name == "i":
            quarter = int(exponent) % 4
            factor *= -1 if quarter >= 2 else 1
            exponent = Fraction(quarter % 2)
        if exponent:
            kept.append((name, exponent))
    return tuple(kept), factor


def _split(exponents: dict[str, Fraction]) -> tuple[Polynomial, Polynomial]:
    """A product with negative exponents as numerator and denominator; primes need no denominator."""
    above, factor = _reduce({name: e for name, e in exponents.items() if e > 0 or name.isdigit()})
    below, _ = _reduce({name: -e for name, e in exponents.items() if e < 0 and not name.isdigit()})
    return {above: factor}, {below: Fraction(1)}


def _integer_power(base: Exact, n: int) -> Exact:
    if isinstance(base, Fraction):
        if base == 0 and n <= 0:
            raise Undecided
        if abs(n) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _MAX_BITS:
            if base in (0, 1, -1):
                return base ** (n % 2 + 2)
            raise Undecided
        return base**n
    if abs(n) > 64:
        raise Undecided
    result: Exact = Fraction(1)
    for _ in range(abs(n)):
        result = multiply(result, base)
    return result if n >= 0 else divide(Fraction(1), result)


def _root(base: Fraction, exponent: Fraction) -> Exact:
    """`base ** exponent` for a positive rational."""
    exponents: dict[str, Fraction] = {}
    for number, sign in ((base.numerator, 1), (base.denominator, -1)):
        for prime, count in _factorise(number).items():
            exponents[str(prime)] = exponents.get(str(prime), Fraction(0)) + sign * count * exponent
    if any(abs(e) * int(p).bit_length() > _MAX_BITS for p, e in exponents.items()):
        raise Undecided
    term, factor = _reduce(exponents)
    return Quotient({term: factor}, _ONE) if term else factor


def _factorise(n: int) -> dict[int, int]:
    if n > _MAX_RADICAND**2:
        raise Undecided
    factors: dict[int, int] = {}
    root = math.isqrt(n)
    if root * root == n and n > 1:
        return {prime: 2 * count for prime, count in _factorise(root).items()}
    if n > _MAX_RADICAND:
        raise Undecided
    prime = 2
    while prime * prime <= n:
        while n % prime == 0:
            factors[prime] = factors.get(prime, 0) + 1
            n //= prime
        prime += 1 if prime == 2 else 2
    if n > 1:
        factors[n] = factors.get(n, 0) + 1
    return factors


def _float(polynomial: Polynomial) -> complex:
    constants = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
    total = 0j
    for term, coefficient in polynomial.items():
        value = complex(float(coefficient))
        for name, exponent in term:
            value *= (complex(int(name)) if name.isdigit() else constants[name]) ** float(exponent)
        total += value
    return total
