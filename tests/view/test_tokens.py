from __future__ import annotations

import dataclasses
import math
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view.report_cases import Page, page_of, pool_of, sample_of, stats_of

from tamis.errors import UsageError
from tamis.records import Pool, Problem, TokenStats
from tamis.score import score_pool
from tamis.view.text import clean
from tamis.view.tokens import DIGITS, HEAD_CHARS, NUM_CLASSES, STEPS, TAIL_CHARS, TOKEN_CONFIDENCE, UNKNOWN, Scale, token_text


def unpack(packed: str) -> list[list[int]]:
    """What page.js reads: [length, logp, entropy, self-certainty, p1] a token."""
    codes = [64 * DIGITS.index(a) + DIGITS.index(b) for a, b in zip(packed[::2], packed[1::2], strict=True)]
    assert len(codes) % 5 == 0
    return [codes[i : i + 5] for i in range(0, len(codes), 5)]


def read(sample, scale=None):
    """(text, tokens, [(shade, text), ...]) of one coloured sample."""
    page = Page(token_text(sample, scale or Scale.fit("mean-self-certainty", [sample])))
    runs = [(next((c for c in classes if c[0] == "u"), "u0"), text) for classes, text in page.texts]
    packed = "".join(attrs.get("data-t", "") for _, attrs in page.elements)
    return page.text, unpack(packed), runs


def test_the_script_reads_what_is_packed():
    script = files("tamis.view").joinpath("page.js").read_text(encoding="utf-8")
    assert f'const DIGITS = "{DIGITS}"' in script
    assert f"const UNKNOWN = {UNKNOWN};" in script
    assert STEPS == (-0.005, 0.005, 0.01, 1 / 4000)
    for undone in (
        "(c * 0.005).toFixed(2)}`,\n      `entropy",
        "(c * 0.005).toFixed(2))}`,\n      `self",
        "c * 0.01",
        "(c / 40)",
    ):
        assert undone in script or undone.replace(".toFixed(2)}`", ".toFixed(2))}`") in script
    style = files("tamis.view").joinpath("page.css").read_text(encoding="utf-8")
    assert all(f".u{step} {{ background" in style for step in range(1, NUM_CLASSES))


def test_the_packed_numbers_are_those_of_the_tokens():
    sample = sample_of("abcdef", 3)
    _, tokens, _ = read(sample)
    stats = sample.stats
    certainty = -stats.column("mean_logp") - math.log(stats.vocab_size)
    for t, (length, logp, entropy, sc, p1) in enumerate(tokens):
        assert length == 1
        assert -0.005 * logp == pytest.approx(stats.column("logp")[t], abs=0.0026)
        assert 0.005 * entropy == pytest.approx(stats.column("entropy")[t], abs=0.0026)
        assert 0.01 * sc == pytest.approx(certainty[t], abs=0.0051)
        assert p1 / 4000 == pytest.approx(math.exp(stats.column("lp1")[t]), abs=1.3e-4)


def test_less_certain_tokens_are_darker_and_the_most_certain_are_plain():
    sample = sample_of("x" * 300, 1)
    scale = Scale.fit("mean-self-certainty", [sample])
    shades = scale.uncertainty(sample.stats)
    certainty = TOKEN_CONFIDENCE["mean-self-certainty"](sample.stats)
    order = np.argsort(-certainty, kind="stable")
    assert (np.diff(shades[order]) >= 0).all()
    assert shades.min() == 0
    assert shades.max() == NUM_CLASSES - 1
    _, _, runs = read(sample, scale)
    assert "".join(text for _, text in runs) == "x" * 300
    assert {shade for shade, _ in runs} == {f"u{step}" for step in range(NUM_CLASSES)}


@settings(max_examples=80)
@given(st.data())
def test_any_text_and_any_offsets_give_back_the_cleaned_text(data):
    text = data.draw(st.text(st.characters(), min_size=1, max_size=60))
    starts = data.draw(st.lists(st.integers(0, len(text) + 3), min_size=1, max_size=70))
    if data.draw(st.booleans()):
        starts.sort()
    stats = stats_of("x" * len(starts), len(starts))
    sample = sample_of(text, stats=False)
    sample = dataclasses.replace(sample, stats=dataclasses.replace(stats, starts=np.array(starts, dtype=np.int32)))
    shown, tokens, _ = read(sample)
    assert shown == clean(text)
    assert sum(token[0] for token in tokens) == len(clean(text).encode("utf-16-le")) // 2


def test_tokens_of_one_character_are_shown_as_the_least_certain_of_them():
    stats = stats_of("xxxx", 5)
    certainty = TOKEN_CONFIDENCE["mean-self-certainty"](stats)
    stats = dataclasses.replace(stats, starts=np.array([0, 1, 1, 1], dtype=np.int32))
    sample = dataclasses.replace(sample_of("a猫", stats=False), stats=stats)
    _, tokens, _ = read(sample, Scale("mean-self-certainty", float(certainty.min()), float(certainty.max())))
    assert len(tokens) == 2
    assert tokens[1][3] == round(min(certainty[1:]) / 0.01)


def test_characters_beyond_the_basic_plane_count_twice_as_in_a_browser():
    sample = sample_of("a😀b")
    assert [token[0] for token in read(sample)[1]] == [1, 2, 1]


def test_a_very_long_text_shows_its_ends_and_says_what_is_missing():
    text = "".join(chr(0x4E00 + k % 5000) for k in range(HEAD_CHARS + TAIL_CHARS + 4321))
    for stats in (True, False):
        html = token_text(sample_of(text, stats=stats), Scale("mean-self-certainty", 0.0, 5.0))
        shown = Page(html).text
        assert shown == text[:HEAD_CHARS] + "4,321 characters are not shown here" + text[-TAIL_CHARS:]
        assert html.count("data-t=") == (2 if stats else 0)


def test_values_that_are_not_numbers_are_unknown_and_plain():
    stats = stats_of("xx", 1)
    values = stats.values.copy()
    values[1] = np.nan
    sample = dataclasses.replace(sample_of("ab"), stats=TokenStats(values, stats.ids, stats.starts, stats.vocab_size))
    _, tokens, runs = read(sample, Scale("mean-self-certainty", 0.0, 1e3))
    assert tokens[1][1:] == [UNKNOWN] * 4
    assert runs[-1] == ("u0", "b")
    values[:] = -np.inf
    assert read(sample, Scale("mean-self-certainty", 0.0, 1e3))[0] == "ab"


def test_one_piece_longer_than_two_digits_can_say():
    stats = stats_of("x", 1)
    sample = dataclasses.replace(sample_of("y" * 8200, stats=False), stats=stats)
    assert sum(token[0] for token in read(sample, Scale("mean-self-certainty", 0.0, 5.0))[1]) == 8200


@pytest.mark.parametrize("name", TOKEN_CONFIDENCE)
def test_every_named_confidence_colours(name):
    page = Page(page_of(pools=(pool_of(["some text with tokens"], ["4"]),), scorer_for_colour=name))
    assert page.inside("scale").endswith(name)
    assert page.inside("tokens") == "some text with tokens"


def test_no_statistics_no_scale_and_an_unknown_name_is_refused():
    assert Scale.fit("mean-self-certainty", [sample_of("x", stats=False)]) is None
    assert Scale.fit("mean-self-certainty", []) is None
    with pytest.raises(UsageError, match="gini"):
        Scale.fit("nonsense", [])


def test_all_tokens_equal_need_no_colour():
    stats = stats_of("x", 1)
    same = TokenStats(np.repeat(stats.values, 3, axis=0), np.zeros(3, np.int32), np.arange(3, dtype=np.int32), 50)
    sample = dataclasses.replace(sample_of("abc", stats=False), stats=same)
    assert read(sample)[2] == [("u0", "abc")]
    pool = Pool(Problem("p"), (sample,))
    assert Page(page_of(pools=(pool,))).inside("tokens") == "abc"


def test_what_tokens_are_coloured_by_is_the_score_of_that_name():
    sample = sample_of("some text")
    pool = pool_of(["some text"], ["4"])
    for name, per_token in TOKEN_CONFIDENCE.items():
        (score,) = score_pool(pool, [name])[0][name]
        assert score == pytest.approx(per_token(sample.stats).mean())
