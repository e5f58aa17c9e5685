from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.view.text import clean, count, esc, number, percent, percent_range, points, points_range, shorten


@given(st.text(st.characters()), st.text(st.characters()))
def test_cleaning_goes_character_by_character(a, b):
    assert clean(a + b) == clean(a) + clean(b)
    assert clean(clean(a)) == clean(a)
    clean(a).encode("utf-8")
    assert len(clean(a)) >= len(a)


def test_ordinary_text_is_left_alone():
    for text in ("答案是 \\boxed{42}，对吗？", "a\tb\nc", "👩\u200d👧 é שלום \u200e"):
        assert clean(text) == text


def test_what_reorders_or_vanishes_becomes_visible():
    assert clean("a\u202eb\x00c\ud800") == "a⟨U+202E⟩b␀c\ufffd"
    assert esc("<a href='x' b=\"y\">&") == "&lt;a href=&#x27;x&#x27; b=&quot;y&quot;&gt;&amp;"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.7123), "71.2\xa0%"),
        (percent(math.nan), "–"),
        (percent_range(0.5, 0.75), "50.0\xa0–\xa075.0\xa0%"),
        (percent_range(math.nan, 0.75), "–"),
        (points(0.042), "+4.2"),
        (points(-0.042), "−4.2"),
        (points(0.0), "+0.0"),
        (points(-0.0), "+0.0"),
        (points(math.nan), "–"),
        (points_range(-0.004, 0.088), "−0.4 to +8.8"),
        (number(None), "–"),
        (number(math.nan), "–"),
        (number(math.inf), "∞"),
        (number(-math.inf), "−∞"),
        (number(-1.23456), "−1.235"),
        (number(123456.0), "123,456"),
        (number(0.0), "0"),
        (count(1234567), "1,234,567"),
        (count(math.nan), "–"),
        (shorten("a  b\nc", 10), "a b c"),
        (shorten("x" * 20, 10), "x" * 9 + "…"),
    ],
)
def test_numbers_as_a_reader_expects_them(shown, expected):
    assert shown == expected
