from __future__ import annotations

import itertools
import math

import pytest
from view.report_cases import NAN, TYPICAL, Page, comparison_of, method, numbers_of_svg

from tamis.summarise.results import CurvePoint, Interval, MethodResult
from tamis.view.charts import DASHES, NUM_COLOURS, accuracy_chart, accuracy_ticks, chart_lines
from tamis.view.differences import DifferenceScale, difference_mark


def circles(page: Page) -> list[dict[str, str]]:
    return [attrs for tag, attrs in page.elements if tag == "circle"]


def test_the_axis_of_samples_is_logarithmic():
    chart = Page(accuracy_chart(chart_lines(comparison_of(method("m", 0.5, (0.1, 0, 0.2), curve=(1, 2, 4, 8, 16)), oracle=()))))
    x = [float(c["cx"]) for c in circles(chart)]
    gaps = [b - a for a, b in itertools.pairwise(x)]
    assert gaps == pytest.approx([gaps[0]] * 4, abs=0.2)
    assert gaps[0] > 100


def test_higher_accuracy_lies_higher_and_every_point_carries_its_values():
    chart = Page(accuracy_chart(chart_lines(comparison_of(*TYPICAL))))
    numbers_of_svg(chart)
    dots = [(float(c["data-v"].split("\xa0")[0]), float(c["cy"])) for c in circles(chart)]
    dots.sort()
    assert all(low[1] >= high[1] for low, high in itertools.pairwise(dots))
    assert "95 % interval" in circles(chart)[0]["data-tip"]
    assert {c["data-n"] for c in circles(chart)} == {"1", "2", "4"}


def test_every_method_has_line_band_legend_and_a_row_of_numbers():
    chart = Page(accuracy_chart(chart_lines(comparison_of(*TYPICAL))))
    assert (
        len(chart.having("g", "curve")) == len(chart.having("path", "band")) + 1 == len(TYPICAL) + 1
    )  # the oracle has no band
    buttons = [attrs for tag, attrs in chart.elements if tag == "button" and "data-line" in attrs]
    assert [b["aria-pressed"] for b in buttons] == ["true"] * (len(TYPICAL) + 1)
    rows = [attrs for tag, attrs in chart.elements if tag == "th" and attrs["scope"] == "row"]
    assert len(rows) == len(TYPICAL) + 1


def test_one_sample_and_the_oracle_are_dashed_and_grey():
    lines = {line.name: line for line in chart_lines(comparison_of(*TYPICAL))}
    for name in ("one sample", "oracle (any sample right)"):
        assert lines[name].style == "baseline"
        assert lines[name].dash
    assert lines["majority"].style.startswith("line-")


def test_forty_methods_are_told_apart():
    methods = [method(f"m{k}", 0.3 + k / 100, (0.1, 0, 0.2)) for k in range(NUM_COLOURS * len(DASHES))]
    lines = chart_lines(comparison_of(*methods, oracle=()))
    assert len({(line.style, line.dash) for line in lines}) == len(methods)


def test_a_method_keeps_its_colour_when_another_has_no_curve():
    lost = MethodResult("lost", Interval(NAN, NAN, NAN), Interval(NAN, NAN, NAN), 0, 0, NAN)
    kept = method("kept", 0.5, (0.1, 0, 0.2))
    with_lost = chart_lines(comparison_of(lost, kept, oracle=()))
    assert [line.name for line in with_lost] == ["kept"]
    assert with_lost[0].style == "line-1"


def test_one_sample_without_a_curve_is_a_level_line_across():
    chart = Page(accuracy_chart(chart_lines(comparison_of(method("one sample", 0.5, None, curve=()), TYPICAL[1], oracle=()))))
    paths = [attrs["d"] for tag, attrs in chart.elements if tag == "path" and "L" in attrs.get("d", "")]
    level = [d for d in paths if d.count("L") == 1]
    assert level
    start, end = level[0].removeprefix("M").split("L")
    assert start.split()[1] == end.split()[1]
    assert float(end.split()[0]) - float(start.split()[0]) > 500


@pytest.mark.parametrize(
    ("values", "expected_first", "expected_last"),
    [((0.5,), 0.5, 0.5), ((0.0,), 0.0, 0.0), ((1.0,), 1.0, 1.0), ((0.42, 0.9), 0.42, 0.9), ((0.611, 0.613), 0.611, 0.613)],
)
def test_ticks_hold_all_values_and_stay_between_nothing_and_everything(values, expected_first, expected_last):
    points = [CurvePoint(2**k, Interval(value, NAN, NAN)) for k, value in enumerate(values)]
    methods = [MethodResult("m", Interval(values[-1], NAN, NAN), Interval(0, 0, 0), 1, 0, 1.0, tuple(points))]
    ticks = accuracy_ticks(chart_lines(comparison_of(*methods, oracle=())))
    assert ticks[0] <= expected_first
    assert expected_last <= ticks[-1]
    assert 2 <= len(ticks) <= 9
    assert ticks[0] >= 0
    assert ticks[-1] <= 1


def test_differences_share_one_scale_that_holds_zero():
    scale = DifferenceScale.of(TYPICAL)
    assert scale.low <= -9 < 0 < 20 <= scale.high
    assert scale.x(scale.low) < scale.x(0) < scale.x(scale.high)
    assert math.isfinite(DifferenceScale.of([]).x(0))


def test_a_difference_without_interval_is_a_dot_without_whiskers():
    scale = DifferenceScale.of(TYPICAL)
    full = difference_mark(Interval(0.1, 0.05, 0.2), scale, "better")
    bare = difference_mark(Interval(0.1, NAN, NAN), scale, "")
    none = difference_mark(Interval(NAN, NAN, NAN), scale, "")
    assert ("circle" in full, "range" in full) == (True, True)
    assert ("circle" in bare, "range" in bare) == (True, False)
    assert ("circle" in none, "range" in none) == (False, False)


def test_one_sample_a_problem_is_no_curve():
    lines = chart_lines(comparison_of(method("only", 0.5, None, curve=(1,)), oracle=(0.5,), samples=1))
    assert "no curve" in Page(accuracy_chart(lines)).text
    assert "svg" not in accuracy_chart(lines)
