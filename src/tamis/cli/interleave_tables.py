"""What `tamis interleave-evaluate` prints and its page shows of all samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tamis.cli.solve_tables import print_table

if TYPE_CHECKING:
    from tamis.view.gallery import MetricLine
    from tamis.workflows.trace_files import Statistics

_MAX_LISTED = 10


def metric_lines(found: Mapping[str, Any]) -> list[MetricLine]:
    """Every metric as text; of one that is not there the reason."""
    from tamis.view.gallery import METRIC_NAMES, MetricLine

    return [
        MetricLine(
            METRIC_NAMES.get(name, name), _number(each.get("value")), _bounds(each.get("interval")), _num(each), _unscored(each)
        )
        for name, each in found["metrics"].items()
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def _bounds(interval: list[float] | None) -> str:
    return "{} .. {}".format(*map(_number, interval)) if interval else ""


def _num(each: Mapping[str, Any]) -> str:
    if "total" in each:
        return f"{each['correct']}/{each['total']}"
    if "num_drawn" in each:
        return f"{each['num_drawn']} : {each['num_wanted']}"
    return str(each["scored"]) if "scored" in each else ""


def _unscored(each: Mapping[str, Any]) -> str:
    if "reason" in each:
        return str(each["reason"])
    return ", ".join(f"{num} {reason.replace('_', ' ')}" for reason, num in each.get("unscored", {}).items())


def print_metrics(found: Mapping[str, Any], statistics: Statistics) -> None:
    """The counts, the table of what is measured, then what is not and why."""
    facts = facts_of(found, statistics)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    lines = metric_lines(found)
    known = [line for line in lines if line.value]
    if known:
        rows = [(line.name, line.value, line.interval, line.num) for line in known]
        print_table("over the samples that did not fail", ("", "value", "95 % interval", "samples"), rows)
    if num := found["metrics"]["answer_accuracy"]["no_answer"]:
        print(f"without an answer, and wrong: {num}")
    for line in lines:
        if line.unscored:
            print(f"{line.name}: {'not scored: ' if line.value else 'no value: '}{line.unscored}")
    from tamis.view.text import clean, shorten

    for failed in found["errors"][:_MAX_LISTED]:
        print(f"failed: sample {clean(str(failed['sample_id']))}: {clean(shorten(failed['error'], 200))}")
    if len(found["errors"]) > _MAX_LISTED:
        print(f"failed: {len(found['errors']) - _MAX_LISTED} more, all of them in metrics.json")


def facts_of(found: Mapping[str, Any], statistics: Statistics) -> dict[str, str]:
    """What the run was, in words."""
    counts = statistics.to_json()
    truncated = f", {found['truncated']} truncated" if found["truncated"] else ""
    facts = {"results": str(found["results"])}
    facts["samples"] = f"{counts['total_samples']}, {counts['failed']} failed{truncated}"
    if counts["successful"]:
        steps, images = counts["avg_reasoning_steps"], counts["avg_generated_images"]
        facts["a sample"] = f"{steps:.2f} reasoning steps and {images:.2f} generated pictures on average"
    pictures = found["pictures"]
    facts["pictures"] = (
        f"{pictures['drawn']} drawn, {pictures['wanted']} expected, {pictures['pairs']} pairs compared, "
        f"{pictures['resized']} of them resized to the reference, {pictures['identical']} identical"
    )
    return facts
