from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from view.report_cases import HOSTILE, NAN, TYPICAL, Page, comparison_of, method, numbers_of_svg, page_of, pool_of, typical_page

from tamis.errors import UsageError
from tamis.records import Choice
from tamis.summarise.results import Comparison, GroupResult, Health, Interval
from tamis.view import write_report
from tamis.view.text import clean


def test_the_page_is_well_formed_and_says_what_the_run_was():
    page = Page(
        typical_page(title="Sixty problems", facts={"model": "tiny", "seed": "7", "模型": "小模型"}, warnings=("mind the gap",))
    )
    assert page.inside("facts") == "modeltinyseed7模型小模型"
    assert page.inside("warnings") == "mind the gap"
    assert [tag for tag, _ in page.elements].count("h1") == 1
    for result in TYPICAL:
        assert result.method in page.inside("methods")
        assert result.method in page.inside("legend")
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        for name in ("aria-labelledby", "href"):
            for target in attrs.get(name, "").split():
                assert target.startswith("data:") or target.removeprefix("#") in ids


def test_nothing_is_fetched_and_only_our_own_script_and_style_may_run():
    page = Page(typical_page())
    without_hashes = re.sub(r"'sha256-[^']+'", "", page.source)  # in which any letters may follow any slashes
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_hashes)
    assert len(page.scripts) == len(page.styles) == 1
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for name, source in (("script-src", page.scripts[0]), ("style-src", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval|document\.write|fetch|XMLHttp", page.scripts[0])


def test_tables_name_their_rows_and_columns_and_drawings_are_described():
    page = Page(typical_page())
    heads = [attrs for tag, attrs in page.elements if tag == "th"]
    assert heads
    assert all(attrs.get("scope") in ("col", "row") for attrs in heads)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table") == 2
    for tag, attrs in page.elements:
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or attrs["role"] == "img"
    assert tags.count("desc") == 1


def test_the_best_method_is_highlighted_and_differences_beyond_chance_are_marked():
    page = Page(typical_page())
    assert page.inside("methods", "best").startswith("majority best")
    assert page.inside("methods", "better") == "▲ +12.0"
    assert page.inside("methods", "worse") == "▼ −5.0"
    assert page.inside("methods", "unsure") == "+2.0"
    assert "chose nothing on 3" in page.inside("methods")
    assert "oracle: any of 4 right90.0" in page.inside("methods")
    assert page.inside("headline").startswith("majority is right on 62.0\xa0% of 60 problems; one sample on 50.0\xa0%")
    assert len(page.having("tr", "best")) == 1


def test_the_headline_claims_no_gain_that_may_be_chance():
    page = Page(page_of(comparison=comparison_of(TYPICAL[0], method("majority", 0.51, (0.01, -0.03, 0.05)))))
    assert "may be chance" in page.inside("headline")
    assert "may be chance" not in Page(typical_page()).inside("headline")


def test_the_health_of_the_samples_stands_beside_the_accuracies():
    health = Health(num_samples=200, num_truncated=5, num_unparseable=7, num_ungraded=1, num_failed=0)
    page = Page(page_of(comparison=Comparison(60, 4, TYPICAL, (), health, ("one line <b>",))))
    assert page.inside("health") == "samples200truncated2.5\xa0% 5no answer found3.5\xa0% 7not graded0.5\xa0% 1failed0.0\xa0% 0"
    assert page.inside("health", "warn").startswith("truncated")
    assert page.inside("left-out").endswith("one line <b>")
    small = Health(200, 4, 0, 0, 0)
    assert Page(page_of(comparison=Comparison(60, 4, TYPICAL, (), small))).inside("health", "warn") == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_wherever_it_stands(text):
    pool = pool_of([text, f"x{text}y"], [text, None], reference=text, problem=text or "p", prompt=text)
    results = comparison_of(method(text, 0.5, None), method(text + "2", 0.6, (0.1, 0.0, 0.2)), left_out=(text,))
    choices = [Choice(pool.problem.id, text + "2", 0, text)]
    page = Page(page_of(title=text, facts={text: text}, comparison=results, pools=(pool,), choices=choices, warnings=(text,)))
    page.source.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.source)
    assert clean(text) in page.inside("warnings")
    assert f"x{clean(text)}y" in page.inside("tokens")
    assert page.text.count(clean(text)) >= 8


anything = st.text(st.characters(), max_size=40)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(title=anything, name=anything, prompt=anything, text=anything, answer=st.none() | anything, stats=st.booleans())
def test_any_text_gives_a_well_formed_page_that_shows_it(title, name, prompt, text, answer, stats):
    pool = pool_of([text], [answer], prompt=prompt, problem="p", stats=stats)
    comparison = comparison_of(method(name, 0.5, (0.1, 0.0, 0.2)))
    page = Page(page_of(title=title, comparison=comparison, pools=(pool,), choices=[Choice("p", name, 0)]))
    page.source.encode("utf-8")
    assert clean(text) in page.inside("body")
    assert clean(prompt.replace("\r\n", "\n").strip()) == page.inside("question")
    assert clean(name) in page.inside("badges")


any_number = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1)


@settings(max_examples=60)
@given(st.lists(st.tuples(*[any_number] * 6), max_size=4), st.integers(1, 100), st.lists(any_number, max_size=3))
def test_any_numbers_give_drawings_that_can_be_drawn(rows, samples, oracle):
    methods = [
        method(
            f"m{k}", *[min(1.0, max(0.0, row[0])) if row[0] == row[0] else NAN, (row[1], row[2], row[3])], curve=(1, samples)
        )
        for k, row in enumerate(rows)
    ]
    oracle = [min(1.0, max(0.0, value)) if value == value else NAN for value in oracle]
    numbers_of_svg(Page(page_of(comparison=comparison_of(*methods, oracle=oracle, samples=samples))))


@pytest.mark.parametrize(
    "comparison",
    [
        Comparison(0, 0, (), (), Health(0, 0, 0, 0, 0)),
        comparison_of(method("one sample", 0.5, None), oracle=()),
        comparison_of(method("only", 1.0, (NAN, NAN, NAN), curve=()), oracle=(), samples=1),
        comparison_of(method("only", NAN, (NAN, NAN, NAN)), oracle=(NAN,)),
        comparison_of(
            method("one sample", 0.0, None, curve=()), method("zero", 0.0, (0.0, NAN, NAN), curve=(1,)), oracle=(0.0,)
        ),
    ],
    ids=["empty", "one sample only", "one method", "nothing finite", "all zero"],
)
def test_poor_comparisons_give_a_page_without_nan(comparison):
    page = Page(page_of(comparison=comparison))
    numbers_of_svg(page)
    assert not re.search(r"\bnan\b|\binf\b|None", page.text, re.IGNORECASE)


def test_an_interval_that_is_not_defined_is_a_dash_and_no_verdict():
    page = Page(page_of(comparison=comparison_of(method("m", 0.5, (0.1, NAN, NAN)))))
    assert page.inside("methods").count("–") >= 2
    assert page.inside("better") == page.inside("worse") == ""


def test_write_report_replaces_the_file_in_one_step_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    values = {"title": "甲", "facts": {}, "comparison": comparison_of(*TYPICAL)}
    pool = pool_of(["four"], ["4"])
    write_report(path, **values, pools=iter([pool]), choices={"majority": [Choice("p1", "majority", 0)]})
    before = path.read_bytes()
    assert Page(before.decode("utf-8")).inside("badges") == "majority"
    assert path.stat().st_mode & 0o777 == 0o644

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_report(path, **values)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_an_unknown_colour_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="mean-self-certainty"):
        write_report(tmp_path / "r.html", title="t", facts={}, comparison=comparison_of(*TYPICAL), scorer_for_colour="vibes")
    assert not list(tmp_path.iterdir())


def test_ten_problems_of_sixteen_samples_stay_under_a_megabyte():
    text = "Step 1: twelve times four is 48\nStep 2: 48 - 6 = 42\nThe answer is \\boxed{42}. " * 2
    pools = [pool_of([text] * 16, ["42"] * 16, problem=f"p{k}") for k in range(10)]
    assert len(page_of(pools=pools).encode()) < 1_000_000


def test_accuracy_by_group_is_a_folded_table_a_field():
    groups = [
        GroupResult("level", value, name, 20, Interval(share, share - 0.1, share + 0.1))
        for name, value, share in (("majority", "10", 0.25), ("majority", "2", 0.75), ("one sample", "2", 0.5))
    ]
    groups.append(GroupResult("<subject>", "代数", "majority", 60, Interval(1.0, NAN, NAN)))
    page = Page(page_of(comparison=dataclasses.replace(comparison_of(*TYPICAL), groups=groups)))
    text = page.inside("numbers")
    assert "Method2 20 problems10 20 problems" in text  # numbers in their order, not that of letters
    assert "majority75.0\xa0%65.0\xa0–\xa085.0\xa0%25.0\xa0%" in text
    assert "one sample50.0\xa0%40.0\xa0–\xa060.0\xa0%–" in text
    assert "Accuracy by <subject>" in text
    assert [tag for tag, _ in page.elements].count("caption") == 4


def test_difference_of_one_sample_is_blank_not_zero():
    page = Page(page_of(comparison=comparison_of(method("one sample", 0.5, None), oracle=())))
    assert "+0.0" not in page.inside("methods")
    assert Interval(0.5, 0.4, 0.6) == TYPICAL[0].accuracy
