"""Budgets, tokens, reliability, risk: what stands on the page, from a real comparison of made-up pools."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from pools import make_pool
from view.report_cases import TYPICAL, Page, comparison_of, method, numbers_of_svg, page_of

from tamis.summarise import compare
from tamis.summarise.results import Calibration, Interval, ReliabilityBin, RiskCoverage
from tamis.view.charts import NUM_COLOURS, chart_lines, styles, telling
from tamis.view.confidence import reliability_chart, risk_chart


@pytest.fixture(scope="module")
def comparison():
    rng = np.random.default_rng(0)
    pools = []
    for i in range(60):
        right = rng.random(8) < rng.random()
        told = 1 / (1 + np.exp(-rng.normal(size=(2, 8)) - 2 * right))
        scores = {"max-prob": told[0].tolist(), "gini": told[1].tolist(), "deepconf": rng.random(8).tolist()}
        clusters = np.where(right, 0, rng.integers(1, 4, 8)).tolist()
        pools.append(make_pool(clusters, scores=scores, id=f"p{i}", tokens=rng.integers(20, 60, 8).tolist()))
    return compare(pools, ["baseline", "self-consistency", "max-prob", "gini", "weighted-deepconf"])


def parts(page: Page, name: str) -> dict[str, list[tuple[float, float]]]:
    """Line -> places of its dots, in one chart of a page."""
    figure = page.source.split(f'id="{name}-title"')[1].split("</figure>")[0]
    curves = re.findall(r'data-name="([^"]*)">(.*?)</g>', figure, re.S)
    return {line: [(float(x), float(y)) for x, y in re.findall(r'cx="([^"]+)" cy="([^"]+)"', dots)] for line, dots in curves}


def test_the_page_holds_all_charts_with_described_axes_and_numbers(comparison):
    page = Page(page_of(comparison=comparison))
    numbers_of_svg(page)
    assert [tag for tag, _ in page.elements].count("desc") == 4
    for words in (
        "samples for each problem (N)",
        "generated tokens for each problem",
        "probability that a sample is right",
        "share of the problems answered",
        "60 problems that all methods know",
        "up to 480 samples",
    ):
        assert words in page.text
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_the_advice_and_its_table_say_the_same(comparison):
    page = Page(page_of(comparison=comparison))
    best = comparison.frontier.best.best
    assert page.inside("advice").startswith(f"With {best.num_samples} samples (")
    assert best.method in page.inside("advice")
    assert best.method in page.inside("budgets", "best")
    assert len(page.having("table", "budgets")) == 1


def test_accuracy_against_tokens_goes_right_with_the_cost_and_marks_the_frontier(comparison):
    page = Page(page_of(comparison=comparison))
    lines = parts(page, "tokens")
    assert {"one sample", "self-consistency", "oracle (any sample right)"} <= lines.keys()
    assert len(lines["one sample"]) == len(lines["baseline"]) == 1  # it costs the same whatever is drawn
    for name in ("max-prob", "self-consistency"):
        x = [place[0] for place in lines[name]]
        assert np.diff(x) == pytest.approx([np.diff(x)[0]] * 3, abs=1.0)  # twice the samples, twice the tokens: logarithmic
    marked = page.source.split('class="frontier"')[1].split("</g>")[0]
    assert marked.count("<circle") == len(comparison.frontier.points)


def test_without_tokens_there_is_no_chart_of_them(comparison):
    unknown = [
        dataclasses.replace(m, curve=tuple(dataclasses.replace(p, tokens=math.nan) for p in m.curve))
        for m in comparison.methods
    ]
    free = dataclasses.replace(
        comparison, methods=unknown, pass_at_k=[dataclasses.replace(p, tokens=math.nan) for p in comparison.pass_at_k]
    )
    assert 'id="tokens-title"' not in page_of(comparison=free)
    assert 'id="budgets"' in page_of(comparison=free)


def test_reliability_shows_probabilities_as_they_are_and_calibrated(comparison):
    lines = parts(Page(page_of(comparison=comparison)), "reliability")
    assert {"max-prob, calibrated", "max-prob, as it is", "gini"} == lines.keys()
    look = styles(comparison)["max-prob"]
    page = Page(reliability_chart(comparison))
    assert [a["class"] for a in page.having("g", look[0]) if "max-prob" in a["data-name"]] == [f"curve {look[0]}"] * 2


def test_a_perfect_probability_lies_on_the_diagonal():
    bins = tuple(ReliabilityBin(share, share, 10) for share in (0.1, 0.5, 0.9))
    told = method("p-true", 0.5, (0.1, 0.0, 0.2), calibrated=Calibration(0.0, 0.1, 30, bins))
    page = Page(reliability_chart(comparison_of(told)))
    low, _, high = (complex(float(a["cx"]), float(a["cy"])) for tag, a in page.elements if tag == "circle")
    start, end = (
        complex(*map(float, place.split())) for place in page.having("path", "diagonal")[0]["d"].removeprefix("M").split("L")
    )
    assert (high - low) / abs(high - low) == pytest.approx((end - start) / abs(end - start), abs=1e-3)


def test_risk_is_drawn_from_the_surest_choice_to_all_of_them():
    curve = RiskCoverage(0.2, 0.1, 4, ((0.25, 0.0), (0.5, 0.0), (1.0, 0.5)))
    page = Page(risk_chart(comparison_of(method("m", 0.5, (0.1, 0.0, 0.2), risk_coverage=curve))))
    places = [(float(a["cx"]), float(a["cy"])) for tag, a in page.elements if tag == "circle"]
    assert places == sorted(places, key=lambda place: place[0])
    assert places[0][1] == places[1][1] > places[2][1]  # more wrong lies higher
    assert "0.200" in page.inside("legend")
    assert reliability_chart(comparison_of(*TYPICAL)) == risk_chart(comparison_of(*TYPICAL)) == ""


def test_of_many_methods_few_are_shown_at_first_and_those_are_told_apart_by_colour():
    many = [method(f"m{k}", 0.3 + k / 100, (0.1, 0, 0.2)) for k in range(30)]
    many += [method("self-consistency", 0.1, (0.1, 0, 0.2)), method("sharp", 0.1, (0.1, 0, 0.2), auroc=0.9)]
    result = comparison_of(method("one sample", 0.2, None), *many)
    shown = telling(result)
    assert len(shown) == NUM_COLOURS
    assert {"self-consistency", "sharp", "m29"} <= set(shown)
    assert "m0" not in shown
    assert len({styles(result)[name][0] for name in shown}) == NUM_COLOURS
    lines = chart_lines(result)
    assert {line.name for line in lines if line.shown} == {*shown, "one sample", "oracle (any sample right)"}
    page = Page(page_of(comparison=result))
    pressed = [a for tag, a in page.elements if tag == "button" and a.get("aria-pressed") == "true" and "data-line" in a]
    assert len(pressed) == NUM_COLOURS + 2
    assert len(page.having("g", "off")) == len(many) - NUM_COLOURS
    assert "24 of 34 lines are hidden" in page.text


def test_hostile_names_stay_text_in_all_charts(comparison):
    name = "<b>\"'&\u202e"
    renamed = [dataclasses.replace(m, method=name) if m.method == "max-prob" else m for m in comparison.methods]
    budgets = [
        dataclasses.replace(b, best=dataclasses.replace(b.best, method=name), not_apart=(name,))
        for b in comparison.frontier.budgets
    ]
    frontier = dataclasses.replace(comparison.frontier, budgets=tuple(budgets), left_out=(name,))
    page = Page(page_of(comparison=dataclasses.replace(comparison, methods=renamed, frontier=frontier)))
    assert "\u202e" not in page.source
    assert page.text.count("<b>\"'&") >= 6


def test_an_interval_that_is_missing_leaves_no_band():
    points = method("m", 0.5, (0.1, 0, 0.2)).curve
    bare = method("m", 0.5, (0.1, 0, 0.2), curve=())
    bare = dataclasses.replace(
        bare, curve=tuple(dataclasses.replace(p, accuracy=Interval(0.5, math.nan, math.nan)) for p in points)
    )
    assert "band" not in {
        a.get("class", "").split(" ")[0] for tag, a in Page(page_of(comparison=comparison_of(bare))).elements if tag == "path"
    }
