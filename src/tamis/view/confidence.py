"""What scores and confidences are worth: the reliability diagram, risk against coverage, and the numbers of both."""

from __future__ import annotations

import math
from dataclasses import replace

from tamis.summarise.results import Calibration, Comparison, MethodResult, RiskCoverage
from tamis.view.charts import styles, telling
from tamis.view.methods import ranked
from tamis.view.plot import INSET, Axis, Chart, Dot, Series, draw
from tamis.view.text import NOTHING, count, esc, percent

RAW_DASH = "2 4"
LEAST_SAMPLES = 10  # in a bin of the reliability diagram: the share of fewer is noise
SHOWN_SCORES = 3  # of which lines are shown at first, beside those that claim to be probabilities
_HEADS = (
    "AUROC", "AUROC within problems", "ECE, calibrated", "Brier, calibrated", "ECE, as it is", "Brier, as it is", "AURC",
    "E-AURC", "samples", "problems",
)  # fmt: skip
_TENTHS = tuple((tenth / 10, f"{10 * tenth} %") for tenth in range(0, 11, 2))


def confidence_section(comparison: Comparison) -> str:
    """The section of the page; nothing where no method has a score or a confidence."""
    reliability, risk = reliability_chart(comparison), risk_chart(comparison)
    if not reliability and not risk:
        return ""
    return (
        '<section aria-labelledby="confidence"><h2 id="confidence">What scores and confidences are worth</h2>'
        f"{reliability}{risk}{_numbers(comparison)}</section>"
    )


def _shown(comparison: Comparison) -> list[MethodResult]:
    names = set(telling(comparison))
    return [result for result in ranked(comparison) if result.method in names]


def reliability_chart(comparison: Comparison) -> str:
    """Share right against probability, of the scores as they are and calibrated; nothing where there is no score."""
    look, series = styles(comparison), []
    for place, result in enumerate(r for r in _shown(comparison) if r.calibrated or r.raw):
        style, dash = look[result.method]
        kinds = [(result.calibrated, f"{result.method}, calibrated" if result.raw else result.method, dash)]
        kinds.append((result.raw, f"{result.method}, as it is", RAW_DASH))
        drawn = [_reliability(name, found, style, kind) for found, name, kind in kinds if found]
        series += [replace(line, shown=place < SHOWN_SCORES or bool(result.raw)) for line in drawn if line.dots]
    if not series:
        return ""
    across = Axis(0.0, 1.0, _TENTHS, "probability that a sample is right", inset=INSET)
    up = Axis(0.0, 1.0, _TENTHS, "share that is right")
    most = max((result.calibrated.num for result in comparison.methods if result.calibrated), default=0)
    chart = Chart(
        name="reliability",
        title="Share of right samples against their probability",
        description=f"{len(series)} lines; on the diagonal a probability is what it says. All values are in the table below.",
        x=across,
        y=up,
        legend=("Score", "ECE"),
        marks=f'<path class="diagonal" d="M{across.x(0)} {up.y(0)}L{across.x(1)} {up.y(1)}"/>',
    )
    note = (
        "Reliability: on the diagonal a probability is what it says. Scores are made probabilities by an isotonic fit that saw "
        f"nothing of the problem (5 folds, up to {count(most)} samples); dotted lines are scores that claim to be "
        f"probabilities, taken as they are. The larger the dot, the more samples; fewer than {LEAST_SAMPLES} are no dot."
    )
    return f'<p class="note">{note}</p>{draw(chart, series)}'


def _reliability(name: str, found: Calibration, style: str, dash: str) -> Series:
    dots = tuple(
        Dot(
            part.confidence,
            part.right,
            f"says {percent(part.confidence)}, right {percent(part.right)}\n{count(part.num)} of {count(found.num)} samples",
            radius=2.0 + 5.0 * math.sqrt(part.num / found.num),
        )
        for part in found.bins
        if part.num >= LEAST_SAMPLES
    )
    return Series(name, dots, style, dash, f"{found.ece:.3f}")


def risk_chart(comparison: Comparison) -> str:
    """Share of wrong choices against the share of problems answered; nothing where no method has a confidence."""
    look = styles(comparison)
    series = [_risk(r.method, r.risk_coverage, *look[r.method]) for r in _shown(comparison) if r.risk_coverage]
    if not series:
        return ""
    highest = max(dot.y for line in series for dot in line.dots)
    top = next((step / 10 for step in range(1, 10) if step / 10 >= highest), 1.0)
    step = 0.02 if top <= 0.1 else 0.05 if top <= 0.3 else 0.1 if top <= 0.6 else 0.2
    ticks = tuple((k * step, f"{100 * k * step:.0f} %") for k in range(round(top / step) + 1) if k * step <= top + 1e-9)
    chart = Chart(
        name="risk",
        title="Share of wrong choices against the share of problems answered",
        description=f"{len(series)} lines, from the most confident choice to all of them. All values are in the table below.",
        x=Axis(0.0, 1.0, _TENTHS, "share of the problems answered, most confident choices first", inset=INSET),
        y=Axis(0.0, top, ticks, "share of them that is wrong"),
        legend=("Method", "AURC"),
    )
    note = (
        "Risk and coverage: if only the most confident choices are given out, how many of them are wrong. Confidence is the "
        "score of what was chosen, or the winner's share of the votes. AURC is the mean height; lower is better."
    )
    return f'<p class="note apart">{note}</p>{draw(chart, series)}'


def _risk(name: str, found: RiskCoverage, style: str, dash: str) -> Series:
    dots = tuple(
        Dot(coverage, risk, f"{percent(coverage)} of {count(found.num)} problems answered: {percent(risk)} wrong", radius=1.0)
        for coverage, risk in found.points
    )
    return Series(name, dots, style, dash, f"{found.aurc:.3f}")


def _numbers(comparison: Comparison) -> str:
    """One row a method with a score or a confidence, the best AUROC first."""
    kept = [m for m in comparison.methods if m.calibrated or m.raw or m.risk_coverage or math.isfinite(m.auroc)]
    kept.sort(key=lambda m: (math.isnan(m.auroc), -m.auroc if math.isfinite(m.auroc) else 0.0))
    rows = []
    for m in kept:
        risk = m.risk_coverage
        cells = [m.auroc, m.auroc_within, *_pair(m.calibrated), *_pair(m.raw)]
        cells += [risk.aurc, risk.e_aurc] if risk else [math.nan, math.nan]
        numbers = "".join(f'<td class="num">{_number(value)}</td>' for value in cells)
        counts = f'<td class="num">{count(m.calibrated.num) if m.calibrated else NOTHING}</td>'
        counts += f'<td class="num">{count(risk.num) if risk else NOTHING}</td>'
        rows.append(f'<tr><th scope="row">{esc(m.method)}</th>{numbers}{counts}</tr>')
    head = "".join(f'<th scope="col" class="num">{name}</th>' for name in _HEADS)
    return (
        '<details class="numbers"><summary>The numbers of all methods</summary><div class="scroll"><table>'
        "<caption>How scores tell right from wrong, how they do as probabilities, what confidence in choices is worth</caption>"
        f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>'
    )


def _pair(found: Calibration | None) -> list[float]:
    return [found.ece, found.brier] if found else [math.nan, math.nan]


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else NOTHING
