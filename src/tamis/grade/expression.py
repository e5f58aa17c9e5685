r"""Expressions: tokens of LaTeX, and the recursive descent that turns them into exact values.

Strict: a token it does not know, an ambiguity (`1/2x`, `f(x+1)`, `\sqrt13`) or a size beyond the limits raises `Undecided`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from tamis.grade import algebra
from tamis.grade.algebra import Exact, Undecided
from tamis.grade.values import Scalar

Token = tuple[str, str]  # (kind, text)

_UNITS = """
degree degrees deg radian radians unit units square cubic sq cu inch inches foot feet ft yard yards yd mile miles mph
cm mm km kg lb lbs pound pounds ounce ounces oz ton tons gram grams liter liters litre litres ml gallon gallons
meter meters metre metres centimeter centimeters millimeter millimeters kilometer kilometers kilogram kilograms
second seconds sec minute minutes min hour hours hr hrs day days week weeks month months year years
dollar dollars cent cents euro euros percent point points per times
"""
UNITS = frozenset(_UNITS.split())

_MEASURES = """
cm centimeter centimetre; mm millimeter millimetre; m meter metre; km kilometer kilometre; in inch inche; ft foot feet; yd yard;
mi mile; kg kilogram; g gram; lb pound; oz ounce; ton; l liter litre; ml milliliter; gal gallon;
s second sec; min minute; h hour hr; day; week; month; year; dollar; cent; euro
"""
MEASURES = {name: names.split()[0] for names in _MEASURES.split(";") for name in names.split()}  # singular -> the same for all

_NO_UNITS = """
sin cos tan cot sec csc log exp mod max gcd lcm det arcsin arccos arctan choose hundred thousand million billion dozen half
over squared cubed plus minus less more than not but root sqrt factorial base
"""
_NOT_UNITS = frozenset(_NO_UNITS.split())

_LETTERS = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi chi psi
omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell
"""
_GREEK = frozenset(_LETTERS.split())
_LEX = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<text>\\text\{[^{}]*\})|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+|[\u4e00-\u9fff]+)|(?P<sign>.)",
    re.DOTALL,
)


def tokenise(text: str) -> list[Token]:
    """The tokens of a tidied answer; one letter of text is a word like any variable."""
    tokens = []
    for match in _LEX.finditer(text):
        kind = match.lastgroup or ""
        if kind == "text":
            content = match[0][6:-1].strip()
            if content[:1].isdecimal():
                tokens.extend(tokenise(content))
                continue
            plain = re.fullmatch(r"\(?([A-Za-z])\)?", content)
            tokens.append(("word", plain[1]) if plain else ("text", content))
        elif kind != "space":
            tokens.append((kind, match[0]))
    return [token for token in tokens if token != ("text", "")]


def is_word(text: str) -> bool:
    """Whether three letters are rather a word than a product of variables."""
    return bool(re.search(r"[aeiouy]", text)) and not text.isupper()


def _is_unit(word: str) -> bool:
    return word.lower() in UNITS or not word.isascii() or (len(word) >= 3 and word.lower() not in _NOT_UNITS and is_word(word))


@dataclass(slots=True)
class Parser:
    """Expressions. One token of look-ahead; `Undecided` for whatever it does not know."""

    tokens: list[Token]
    at: int = 0
    decimal: bool = False
    nesting: int = 0

    def peek(self) -> str:
        """The text of the next token, or nothing."""
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        """The kind of the next token, or nothing."""
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        """The text of the next token, which is then behind."""
        self.at += 1
        return self.tokens[self.at - 1][1]

    def expect(self, text: str) -> None:
        """Take this token or give up."""
        if self.peek() != text:
            raise Undecided
        self.at += 1

    def scalar(self) -> Scalar:
        """All tokens as one value with its percent sign and unit."""
        value = self.sum()
        percent = self.peek() == "\\%"
        if percent:
            self.take()
        unit = self.unit()
        if self.at != len(self.tokens):
            raise Undecided
        return Scalar(value, self.decimal, percent, unit)

    def unit(self) -> str:
        """Words behind a number: any text command, any plain word of three letters or more, shorter ones that are units."""
        words = []
        after_word = False
        while self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            if kind == "text" or (kind == "word" and _is_unit(text)):
                words.append(text.lower())
                after_word = True
            elif not after_word or not (text in "/^{}.-·" or text == "\\cdot" or (kind == "number" and text in "234")):
                raise Undecided
            else:
                words.append(text)
            self.at += 1
        return " ".join(words)

    def sum(self) -> Exact:
        """Terms."""
        self.nesting += 1
        if self.nesting > 40:
            raise Undecided
        total = self.product()
        while self.peek() in ("+", "-") and self.kind() == "sign":
            sign = self.take()
            term = self.product()
            total = algebra.add(total, algebra.negate(term) if sign == "-" else term)
        self.nesting -= 1
        return total

    def product(self) -> Exact:
        """Factors, with or without a sign between them."""
        if self.kind() == "sign" and self.peek() in ("-", "+"):
            sign = self.take()
            value = self.product()
            return algebra.negate(value) if sign == "-" else value
        value = self.mixed() or self.power()
        divided = False
        while True:
            text = self.peek()
            if text in ("*", "\\cdot", "\\times", "/", "\\div", ":"):
                self.take()
                if text == ":":
                    raise Undecided
                negative = self.peek() == "-" and bool(self.take())
                factor = algebra.negate(self.power()) if negative else self.power()
                divided = text in ("/", "\\div")
                value = algebra.divide(value, factor) if divided else algebra.multiply(value, factor)
            elif self.starts_factor():
                if divided or self.kind() == "number":
                    raise Undecided  # 1/2x, 2 3
                value = algebra.multiply(value, self.power())
            else:
                return value

    def starts_factor(self) -> bool:
        """Whether the next token is a factor without a sign before it."""
        kind, text = self.kind(), self.peek()
        if kind == "word":
            return text.isascii() and len(text) <= 2 and text.lower() not in UNITS
        if kind == "command":
            return text in ("\\frac", "\\sqrt", "\\pi", "\\binom") or text[1:] in _GREEK
        return kind == "number" or text in ("(", "{", "[")

    def mixed(self) -> Exact | None:
        r"""`1\frac{1}{2}`: a whole number and a proper fraction of whole numbers."""
        texts = [text for _, text in self.tokens[self.at : self.at + 8]]
        if len(texts) < 8 or texts[1] != "\\frac" or texts[2::3] != ["{", "{"] or texts[4::3] != ["}", "}"]:
            return None
        if not (texts[0].isdecimal() and texts[3].isdecimal() and texts[6].isdecimal()) or not 0 < int(texts[3]) < int(
            texts[6]
        ):
            return None
        self.at += 8
        return int(texts[0]) + Fraction(int(texts[3]), int(texts[6]))

    def power(self) -> Exact:
        """A base with its exponents and factorials."""
        base = self.atom()
        while self.peek() in ("^", "!"):
            if self.take() == "!":
                if not isinstance(base, Fraction) or base.denominator != 1 or not 0 <= base <= 100:
                    raise Undecided
                base = Fraction(math.factorial(int(base)))
            elif self.peek() == "\\circ":
                self.take()  # degrees count as the bare number
            else:
                negative = self.peek() == "-" and bool(self.take())
                exponent = self.argument(digits_alone=False)
                base = algebra.power(base, algebra.negate(exponent) if negative else exponent)
                if self.peek() == "^":
                    raise Undecided  # a^b^c: LaTeX refuses it
        return base

    def argument(self, *, digits_alone: bool = True) -> Exact:
        """What a command takes: a group in braces, or one token; a bare number of several digits is ambiguous."""
        if self.peek() == "{":
            self.take()
            value = self.sum()
            self.expect("}")
            return value
        if self.kind() == "number" and digits_alone and len(self.peek()) > 1:
            raise Undecided
        return self.atom()

    def atom(self) -> Exact:
        """A number, variable, constant, group, fraction or root."""
        kind = self.kind()
        if not kind:
            raise Undecided
        text = self.take()
        if kind == "number":
            self.decimal = self.decimal or "." in text
            if len(text) > 1000:
                raise Undecided
            return Fraction(text)
        if kind == "word" and len(text) <= 2 and text.isascii():
            return self.variables(text)
        if text in ("(", "[", "{"):
            value = self.sum()
            self.expect({"(": ")", "[": "]", "{": "}"}[text])
            return value
        if text == "\\frac":
            numerator = self.argument()
            if self.kind() == "number" and len(self.peek()) > 1:  # \frac{270}77
                raise Undecided
            return algebra.divide(numerator, self.argument())
        if text == "\\sqrt":
            return self.root()
        if text == "\\binom":
            n, k = self.argument(), self.argument()
            if not (isinstance(n, Fraction) and isinstance(k, Fraction)) or not 0 <= k <= n <= 200 or (n + k).denominator != 1:
                raise Undecided
            return Fraction(math.comb(int(n), int(k)))
        if text in ("\\pi", "\\infty"):
            return algebra.generator({"\\pi": "pi", "\\infty": "oo"}[text])
        if text[1:] in _GREEK:
            return self.subscripted(text)
        raise Undecided

    def root(self) -> Exact:
        """What stands under a root sign, with the index in brackets."""
        index = Fraction(2)
        if self.peek() == "[":
            self.take()
            if self.kind() != "number" or not self.peek().isdecimal() or len(self.peek()) > 2 or int(self.peek()) < 2:
                raise Undecided
            index = Fraction(self.take())
            self.expect("]")
        return algebra.power(self.argument(), 1 / index)

    def variables(self, letters: str) -> Exact:
        """One letter, or two that are a product."""
        if letters == "pi":
            return algebra.generator("pi")
        if letters.lower() in UNITS or letters in ("ln", "lg", "or", "is", "in", "to", "if", "no"):
            raise Undecided
        if letters in ("f", "g", "h", "F", "G", "H", "P") and self.peek() == "(":
            raise Undecided
        value: Exact = Fraction(1)
        for letter in letters[:-1]:
            value = algebra.multiply(value, algebra.generator(letter))
        return algebra.multiply(value, self.subscripted(letters[-1]))

    def subscripted(self, name: str) -> Exact:
        """A variable with its subscript."""
        if self.peek() == "_":
            self.take()
            tokens = [self.take()] if self.peek() != "{" else []
            if not tokens:
                self.take()
                while self.peek() not in ("}", ""):
                    tokens.append(self.take())
                self.expect("}")
            name += "_" + "".join(tokens)
        if self.peek() == "'":
            raise Undecided
        return algebra.generator(name)
