"""Leaves of the page: text that cannot become markup, and numbers as a reader expects them.

What a model wrote is hostile. Every text goes through `esc`, which also makes visible the characters that a browser would
swallow or that would reorder the page: control characters, bidirectional overrides, lone surrogates.
"""

from __future__ import annotations

import html
import math

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NBSP = "\N{NO-BREAK SPACE}"
NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""


def _visible_forms() -> dict[int, str]:
    forms = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"}  # the control pictures block
    forms[0x7F] = "\N{SYMBOL FOR DELETE}"
    forms |= dict.fromkeys(range(0x80, 0xA0), REPLACEMENT)
    forms |= dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT)
    forms |= dict.fromkeys((0xFFFE, 0xFFFF), REPLACEMENT)
    forms |= {code: f"\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{code:04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"
              for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}  # fmt: skip
    return forms


_VISIBLE = _visible_forms()


def clean(text: str) -> str:
    """The text with harmful characters made visible. Works character by character: cleaned pieces join to the cleaned whole."""
    return text.translate(_VISIBLE)


def esc(text: object) -> str:
    """The text as HTML, for an element's content or a quoted attribute."""
    return html.escape(clean(str(text)), quote=True)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, on one line, with an ellipsis when cut."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def percent(share: float) -> str:
    """0.712 -> `71.2 %`."""
    return f"{100 * share:.1f}{NBSP}%" if math.isfinite(share) else NOTHING


def percent_range(low: float, high: float, sign: str = f"{NBSP}%") -> str:
    """0.66, 0.75 -> `66.0 – 75.0 %`; `sign` stands behind it."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return NOTHING
    return f"{100 * low:.1f}{NBSP}–{NBSP}{100 * high:.1f}{sign}"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, signed: 0.042 -> `+4.2`."""
    return _minus(f"{100 * difference + 0.0:+.1f}") if math.isfinite(difference) else NOTHING


def points_range(low: float, high: float) -> str:
    """The interval of a difference in percentage points: `−0.4 to +8.8`."""
    return f"{points(low)} to {points(high)}" if math.isfinite(low) and math.isfinite(high) else NOTHING


def number(value: float | None) -> str:
    """A score with four significant digits; a dash where there is none (unscored is not 0)."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return _minus(f"{value:.4g}" if abs(value) < 1e4 or abs(value) >= 1e7 else f"{value:,.0f}")


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}" if math.isfinite(value) else NOTHING


def _minus(text: str) -> str:
    return text.replace("-", "−")
