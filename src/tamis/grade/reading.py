r"""Read an answer as a value: `read(answer) -> Value | None`. None means "not mine": symbolic algebra must decide.

Here the structure: lists, tuples, sets, matrices, relations, words; `expression` reads what stands between the commas. Whatever
is unknown or ambiguous to either makes the whole answer None, never a guess.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from tamis.grade import algebra
from tamis.grade.algebra import Undecided
from tamis.grade.expression import Parser, Token, is_word, tokenise
from tamis.grade.normalise import LONGEST, tidy
from tamis.grade.values import Based, Clock, Equation, Matrix, Ordered, Scalar, Union, Unordered, Value, Words

_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?\s*(?:\\text\{)?\s*([ap])?\.?(?:m\.?)?\s*\}?", re.IGNORECASE)
_BASED = re.compile(r"(\d+)_(?:\{(\d+)\}|(\d+))")
_MIXED = re.compile(r"([-+]?)(\d+)\s+(\d+)/(\d+)")
_LOCALE = re.compile(r"-?\d+,\d+")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_(?:\{[A-Za-z0-9]+\}|[A-Za-z0-9]))?'{0,3}(?:\([A-Za-z](?:,[A-Za-z])*\))?")
_MATRIX = re.compile(r"\\begin\{([pb]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_RELATIONS = {"=", "<", ">", "\\le", "\\ge", "\\in"}
_UNREAD_RELATIONS = {"\\ne", "\\approx", "\\sim", "\\equiv", "\\cap", "\\to", "|", "\\mid", "\\setminus", "\\backslash"}
_OPEN, _CLOSE = {"(", "[", "{", "\\{"}, {")", "]", "}", "\\}"}


@lru_cache(maxsize=16_384)
def read(answer: str) -> Value | None:
    """The value an answer stands for, or None when this reader cannot be certain of it."""
    if len(answer) > LONGEST:
        return None
    text = tidy(answer)
    if not text or len(text) > LONGEST:
        return None
    try:
        return _special(text) or _list(tokenise(text), depth=0)
    except (Undecided, RecursionError):
        return None


def locale_decimal(answer: str) -> Fraction | None:
    """`1000,99` as the number it is where the comma is the decimal mark; None for all else."""
    text = tidy(answer)
    return Fraction(text.replace(",", ".")) if len(text) < 40 and _LOCALE.fullmatch(text) else None


def _special(text: str) -> Value | None:
    if len(text) < 40 and (match := _MIXED.fullmatch(text)) and int(match[4]) > int(match[3]) > 0:
        value = int(match[2]) + Fraction(int(match[3]), int(match[4]))
        return Scalar(-value if match[1] == "-" else value)
    if len(text) < 40 and (match := _CLOCK.fullmatch(text.removeprefix("\\text{"))):
        hour, half = int(match[1]), (match[4] or "").lower()
        if half:
            hour = hour % 12 + (12 if half == "p" else 0)
        return Clock((hour * 60 + int(match[2])) * 60 + int(match[3] or 0), bool(half))
    if len(text) < 200 and (match := _BASED.fullmatch(text.replace(" ", ""))):
        base = int(match[2] or match[3])
        return Based(match[1], base) if 2 <= base <= 36 else None
    if text.startswith(("\\begin", "(\\begin")) and (match := _MATRIX.fullmatch(text.strip("() "))):
        rows = [row for row in re.sub(r"\\hline", "", match[2]).split("\\\\") if row.strip()]
        entries = [[_list(tokenise(entry), depth=1) for entry in row.split("&")] for row in rows]
        if all(len(row) == len(entries[0]) for row in entries):
            return Matrix(tuple(tuple(row) for row in entries))
        raise Undecided
    return None


def _split(tokens: list[Token], separators: set[str]) -> tuple[list[list[Token]], list[str]]:
    """The parts between separators outside all brackets, and the separators."""
    parts: list[list[Token]] = [[]]
    found: list[str] = []
    depth = 0
    for kind, text in tokens:
        if text in _OPEN:
            depth += 1
        elif text in _CLOSE:
            depth -= 1
        if depth == 0 and kind != "text" and text in separators:
            parts.append([])
            found.append(text)
        elif depth == 0 and kind in ("text", "word") and "," in separators and text.lower() in ("and", "or"):
            parts.append([])
            found.append("and")
        else:
            parts[-1].append((kind, text))
    return parts, found


def _list(tokens: list[Token], depth: int) -> Value:
    """Parts separated by commas and "and" are a list without order; semicolons separate groups."""
    if depth > 6 or not tokens:
        raise Undecided
    groups, semicolons = _split(tokens, {";"})
    if semicolons and len(groups) > 1:
        items = tuple(_list(group, depth + 1) for group in groups if group)
        return _flat([Ordered("(", ")", _values(i.items)) if isinstance(i, Unordered) else i for i in items])
    parts, commas = _split(tokens, {","})
    if not commas:
        return _relation(parts[0], depth)
    kept = [part for part in parts if part]
    if (words := _words(tokens)) is not None:
        return words
    items = tuple(_relation(part, depth + 1) for part in kept)
    names = [item.name if isinstance(item, Equation) else "" for item in items]
    period = len(set(names))
    if all(names) and period < len(names) and names == names[:period] * (len(names) // period):
        groups_of = [items[i : i + period] for i in range(0, len(items), period)]
        return Unordered(tuple(Ordered("(", ")", _values(group)) if period > 1 else _value(group[0]) for group in groups_of))
    return _flat(items)


def _flat(items: list[Value] | tuple[Value, ...]) -> Value:
    spread: list[Value] = []
    for item in items:
        spread.extend(item.items if isinstance(item, Unordered) else [item])
    return Unordered(tuple(spread)) if len(spread) > 1 else spread[0]


def _value(item: Value) -> Value:
    """The right side of an assignment, else the thing itself."""
    return item.right if isinstance(item, Equation) and item.name else item


def _values(items: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(_value(item) for item in items)


def _relation(tokens: list[Token], depth: int) -> Value:
    if any(text in _UNREAD_RELATIONS for kind, text in tokens if kind != "text"):
        raise Undecided
    parts, signs = _split(tokens, _RELATIONS)
    if not signs:
        return _thing(tokens, depth)
    if not all(parts):
        raise Undecided
    name = "".join(text for _, text in parts[0])
    named = bool(_NAME.fullmatch(name)) and name not in ("i", "\\pi", "e")
    if set(signs) == {"="}:
        right = _thing(parts[-1], depth + 1)
        if named:
            return Equation(name, None if "(" in name else _thing(parts[0], depth + 1), right)
        left = _thing(parts[0], depth + 1)
        if isinstance(left, Scalar) and isinstance(right, Scalar) and algebra.is_constant(left.value):
            if len(signs) == 1 and (other := "".join(text for _, text in parts[1])) and _NAME.fullmatch(other):
                return Equation(other, right, left)  # 2 = x
            if algebra.is_constant(right.value) and algebra.equal(left.value, right.value):
                return right  # 8 - 4 = 4
        if len(signs) == 1:
            return Equation("", left, right)
        raise Undecided
    if signs == ["\\in"] and named:
        inside = _thing(parts[1], depth + 1)
        if isinstance(inside, Ordered | Unordered | Union):
            return inside
        raise Undecided
    return _inequality(parts, signs, depth)


def _inequality(parts: list[list[Token]], signs: list[str], depth: int) -> Value:
    """`a < x <= b` and its one-sided forms as the interval of x."""
    if "=" in signs or "\\in" in signs:
        raise Undecided
    infinity = algebra.generator("oo")
    down = all(sign in (">", "\\ge") for sign in signs)
    if not down and not all(sign in ("<", "\\le") for sign in signs):
        raise Undecided
    if down:
        parts, signs = parts[::-1], [{">": "<", "\\ge": "\\le"}[sign] for sign in signs[::-1]]
    names = ["".join(text for _, text in part) for part in parts]
    where = [i for i, name in enumerate(names) if _NAME.fullmatch(name) and name not in ("i", "\\pi", "e", "\\infty")]
    if len(where) != 1 or len(parts) > 3 or (len(parts) == 3 and where != [1]):
        raise Undecided
    at = where[0]
    low: Value = _thing(parts[at - 1], depth + 1) if at else Scalar(algebra.negate(infinity))
    high: Value = _thing(parts[at + 1], depth + 1) if at + 1 < len(parts) else Scalar(infinity)
    opening = "[" if at and signs[at - 1] == "\\le" else "("
    closing = "]" if at + 1 < len(parts) and signs[at] == "\\le" else ")"
    return Ordered(opening, closing, (low, high), of=names[at])


def _thing(tokens: list[Token], depth: int) -> Value:
    r"""A bracketed list, text, or an expression; `a \pm b` is two values."""
    if depth > 6 or not tokens:
        raise Undecided
    pieces, unions = _split(tokens, {"\\cup"})
    if unions:
        intervals = tuple(_thing(piece, depth + 1) for piece in pieces)
        if all(isinstance(interval, Ordered) and len(interval.items) == 2 for interval in intervals):
            return Union(tuple(interval for interval in intervals if isinstance(interval, Ordered)))
        raise Undecided
    first, last = tokens[0][1], tokens[-1][1]
    if first in _OPEN and last in _CLOSE and _encloses(tokens):
        inside = tokens[1:-1]
        _, commas = _split(inside, {",", ";"})
        if first in ("\\{", "{") and last in ("\\}", "}") and inside:
            if first == "{" and not commas:
                return _thing(inside, depth + 1)
            item = _list(inside, depth + 1)
            return item if isinstance(item, Unordered) else Unordered((item,))
        if commas and first in "([" and last in ")]":
            parts, _ = _split([("sign", ",") if t[1] == ";" else t for t in inside], {","})
            return Ordered(first, last, _values(tuple(_relation(part, depth + 1) for part in parts)))
        if first != "(" or last != ")":
            raise Undecided
    if (words := _words(tokens)) is not None:
        return words
    if any(text in ("\\pm", "\\mp") for _, text in tokens):
        return _both_signs(tokens, depth)
    parser = Parser([token for token in tokens if token[1] not in ("\\$", "$", "€", "£", "¥", "￥")])
    return parser.scalar()


def _both_signs(tokens: list[Token], depth: int) -> Value:
    flip = {"\\pm": ("+", "-"), "\\mp": ("-", "+")}
    both = [_thing([("sign", flip[t[1]][k]) if t[1] in flip else t for t in tokens], depth + 1) for k in (0, 1)]
    return _flat(both)


def _encloses(tokens: list[Token]) -> bool:
    depth = 0
    for i, (_, text) in enumerate(tokens):
        depth += (text in _OPEN) - (text in _CLOSE)
        if depth == 0:
            return i == len(tokens) - 1
    return False


def _words(tokens: list[Token]) -> Words | None:
    """Tokens that are nothing but words."""
    if not all(kind in ("text", "word") or text in "-',.!" for kind, text in tokens):
        return None
    words = " ".join(text for _, text in tokens).lower()
    letters = sum(character.isalpha() for character in words)
    if letters < 3 or (len(tokens) == 1 and tokens[0][0] == "word" and letters == 3 and not is_word(words)):
        return None
    if re.search(r"\d|\\|\$|[=^_<>+*/]", words):
        return None
    return Words(re.sub(r"[\s,.!]+", " ", words).strip())
