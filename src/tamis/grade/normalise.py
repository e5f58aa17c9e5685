r"""One spelling for what is spelt in many ways: `tidy` (still LaTeX, for the readers) and `canonical` (for string equality)."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 2000  # characters; a longer "answer" is compared as a string only

_CHARACTERS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms
    **{ord(sign): "-" for sign in "−–—‐‑﹣"},
    **{ord(space): " " for space in "\u00a0\u2002\u2003\u2009\u200a\u202f\u3000\t\r\n"},
    **{ord(mark): None for mark in "\u200b\u200c\u200d\ufeff\x00"},
    **{ord(quote): "'" for quote in "’‘′"},
    ord("×"): "\\times ",
    ord("⋅"): "\\cdot ",
    ord("·"): "\\cdot ",
    ord("÷"): "\\div ",
    ord("π"): "\\pi ",
    ord("∞"): "\\infty ",
    ord("°"): "^\\circ ",
    ord("≤"): "\\le ",
    ord("≥"): "\\ge ",
    ord("≠"): "\\ne ",
    ord("∈"): "\\in ",
    ord("∪"): "\\cup ",
    ord("±"): "\\pm ",
    ord("√"): "\\sqrt",
    ord("θ"): "\\theta ",
    ord("²"): "^2",
    ord("³"): "^3",
    **{ord(sign): f"\\frac{{{top}}}{{{bottom}}}" for sign, top, bottom in ("½12", "⅓13", "⅔23", "¼14", "¾34", "⅛18")},
    ord("，"): ",",
    ord("、"): ",",
    ord("。"): ".",
    ord("\x0c"): "\\f",  # what a careless JSON writer makes of \\frac and \\boxed
    ord("\x08"): "\\b",
    ord("％"): "%",
}
_SQUARE_UNIT = re.compile(r"(?<=[\d ])([kcdm]?m[²³])")
_DOUBLE_ESCAPE = re.compile(r"\\\\(?=[A-Za-z])")
_NOTHING = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|mathstrut|nolimits)(?![A-Za-z])"
    r"|(?<!\\)\\!|\\phantom\{[^{}]*\}|\\(?:hspace|vspace)\*?\{[^{}]*\}"
)
_SPACES = re.compile(r"(?<!\\)\\[,;: >]|~|\\q?quad(?![A-Za-z])|\s+")
_FRAC_DIGITS = re.compile(r"\\frac\s*(\d)\s*(\d)")
_COMMANDS = {
    **dict.fromkeys(("leqslant", "leq", "le"), "\\le "),
    **dict.fromkeys(("geqslant", "geq", "ge"), "\\ge "),
    **dict.fromkeys(("neq", "ne"), "\\ne "),
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "\\frac"),
    "lt": "<",
    "gt": ">",
    "lbrace": "\\{",
    "rbrace": "\\}",
    "lbrack": "[",
    "rbrack": "]",
}
_COMMAND = re.compile(rf"\\({'|'.join(_COMMANDS)})(?![A-Za-z])")
_DEGREE = re.compile(r"\^\s*\{?\s*\\(?:circ|degree)(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname\*?)\s*(?=\{)")
_ORDINAL = re.compile(r"\^\s*\{?\s*\\text\{\s*(?:st|nd|rd|th)\s*\}\s*\}?")
_RELATION = re.compile(r"[<>!]=")
_PYTHON_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt\s*\(")
_PERCENT = re.compile(r"(?<=[\d)}$])\s*(?:%|\\%|percent(?:age)?\b|pct\b\.?)")
_WORDS = re.compile(r"[^\W\d_]{3,}(?:[ '-][^\W\d_]+)*")
_PLAIN = re.compile(r"-?\d{1,30}")
_DELIMITERS = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("`", "`"))
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_SPACED_THOUSANDS = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?")


@lru_cache(maxsize=16_384)
def tidy(answer: str) -> str:
    r"""An answer without wrapping and typography, one command for each meaning; what it says stays untouched.

    Math delimiters, `\boxed`, `\left`, thin spaces and final full stops go; `\dfrac` and the like become `\frac`, every text
    command `\text`, full-width and mathematical Unicode characters their LaTeX; thousands separators inside one number go.
    """
    if _PLAIN.fullmatch(answer):
        return answer
    text = _unwrapped(_SQUARE_UNIT.sub(r"\\text{\1}", answer).translate(_CHARACTERS))
    if "\\" in text:
        text = _commands(text)
    if "=" in text:
        text = _RELATION.sub(lambda sign: {"<": "\\le ", ">": "\\ge ", "!": "\\ne "}[sign[0][0]], text)
    text = _PYTHON_ROOT.sub("\\\\sqrt(", text.replace("**", "^")) if "*" in text or "sqrt" in text else text
    text = _PERCENT.sub(lambda _: "\\%", text) if "%" in text or "p" in text else text
    text = _unwrapped(_SPACES.sub(" ", text))
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    if "{,}" in text:
        text = text.replace("{,}", ",")
    return _THOUSANDS.sub(_joined, text) if "," in text else text


@lru_cache(maxsize=16_384)
def canonical(answer: str) -> str:
    """The string that decides when nothing else can: tidied, no blanks that mean nothing, case kept only for single letters."""
    text = tidy(answer)
    if "\\text" in text:
        text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    if " " in text:
        text = re.sub(r" ?([^\w ]) ?", r"\1", text).strip()
    return text.lower() if _WORDS.fullmatch(text) else text


def _commands(text: str) -> str:
    """LaTeX commands: one for each meaning, none that only places or spaces."""
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLE_ESCAPE.sub(lambda _: "\\", text)
    if ",\\!" in text:
        text = re.sub(r"(?<=\d),\\!\s*(?=\d{3}(?!\d))", ",", text)
    text = _NOTHING.sub("", text)
    text = _COMMAND.sub(lambda command: _COMMANDS[command[1]], text)
    text = _FRAC_DIGITS.sub(r"\\frac{\1}{\2}", text) if "\\frac" in text else text
    text = _TEXT.sub(lambda _: "\\text", text)
    text = _DEGREE.sub(lambda _: "^\\circ ", text)
    return _ORDINAL.sub("", text) if "\\text" in text else text


def _joined(number: re.Match[str]) -> str:
    """A number without its thousands separators; inside brackets the commas separate members, as in (12,102)."""
    before = number.string[: number.start()]
    inside = sum(before.count(opening) for opening in ("(", "[", "\\{")) > sum(
        before.count(closing) for closing in (")", "]", "\\}")
    )
    return number[0] if inside else number[0].replace(",", "")


def _unwrapped(text: str) -> str:
    """Without math delimiters, boxes and emphasis around all of it, and without final punctuation."""
    for _ in range(6):
        before = text
        text = text.strip()
        if text.count("$") % 2 and not text.startswith("\\$"):
            text = text.removeprefix("$") if text.startswith("$") else text.removesuffix("$")
        bare = text.rstrip(".,;:")
        text = bare if not bare.endswith("\\") else bare[:-1] if bare == text else text
        for opening, closing in _DELIMITERS:
            if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
                inside = text[len(opening) : -len(closing)]
                if opening not in inside and not inside.endswith("\\"):
                    text = inside
                    break
        if text.startswith(("\\boxed{", "\\fbox{")) and text.endswith("}") and closes_at_end(text):
            text = text[text.index("{") + 1 : -1]
        if text == before:
            break
    return text


def closes_at_end(text: str) -> bool:
    """Whether the first brace is closed by the last character."""
    depth = 0
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if brace[0] in "{}":
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return brace.end() == len(text)
    return False
