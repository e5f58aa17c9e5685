"""summary.json of a run of rejection sampling: the numbers of `summarise.rejection` under the names that users know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from tamis.config import ModelSettings, Rejecting
from tamis.sample.bandit import Belief
from tamis.sources.prices import Price
from tamis.summarise import Interval
from tamis.summarise.latency import Latency
from tamis.summarise.rejection import Group, Summary, Tokens


@dataclass(frozen=True, slots=True)
class Now:
    """What is known of this run of the program alone; all else is of all runs together, from the journals."""

    seconds: float
    num_images: int  # of which there is a new result
    num_candidates: int  # drawn


def summary_json(
    summary: Summary,
    config: Rejecting,
    facts: Mapping[str, Any],
    now: Now,
    *,
    beliefs: Sequence[Belief] = (),
    prices: Mapping[str, Price] | None = None,
) -> dict[str, Any]:
    """The whole file, without keys of servers. `facts` are those of the source, and how many pictures there are."""
    num_graded = summary.num_high + summary.num_low
    stats = {
        "total": facts["num_images"],
        "unreadable": facts["num_unreadable"],
        "processed": summary.num_images,
        "failed": summary.num_failed,
        "ungraded": summary.num_ungraded,
        "high_quality_count": summary.num_high,
        "low_quality_count": summary.num_low,
        "high_quality_percentage": round(100 * summary.num_high / num_graded, 4) if num_graded else None,
        "accepted": _interval(summary.high),
        "candidates": {
            "total": summary.num_candidates,
            "failed": summary.num_candidates_failed,
            "ungraded": summary.num_candidates_ungraded,
            "truncated": summary.num_candidates_truncated,
            "reasons": summary.reasons,
        },
        "total_generation_time": round(summary.generation.total, 4),
        "total_grading_time": round(summary.grading.total, 4),
        "latency": {"generation": _latency(summary.generation), "grading": _latency(summary.grading)},
        "tokens": {"generation": asdict(summary.generation_tokens), "grading": asdict(summary.grading_tokens)},
        "cost": costs(summary, config, prices),
        "this_run": asdict(now),
        "samples_per_second": round(now.num_images / now.seconds, 4) if now.seconds else None,
        "candidates_per_second": round(now.num_candidates / now.seconds, 4) if now.seconds else None,
    }
    return {
        "stats": stats,
        "by_prompt": {key: _group(group) for key, group in summary.by_prompt.items()},
        "by_params": {
            name: {value: _group(group) for value, group in groups.items()} for name, groups in summary.by_params.items()
        },
        "strategy": {
            "name": config.strategy,
            "grid_size": len(config.arms),
            "learnt": [
                {**asdict(one.arm), "score": round(one.score, 4), "deviation": round(one.deviation, 4)} for one in beliefs
            ],
            "arms": [{**asdict(arm), **_group(group)} for arm, group in summary.by_arm],
        },
        "config": config_json(config, facts),
    }


def config_json(config: Rejecting, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that shaped the run."""
    return {
        "image_dir": facts["image_dir"],
        "recursive": facts["recursive"],
        "samples": facts["samples"],
        "output_dir": str(config.output_dir),
        "generator": _model(config.generator),
        "judge": _model(config.judge),
        "prompts": dict(config.prompts),
        "grading_template": config.grading_template,
        "temperature_range": list(dict.fromkeys(arm.temperature for arm in config.arms)),
        "top_p_range": list(dict.fromkeys(arm.top_p for arm in config.arms)),
        "top_k_range": list(dict.fromkeys(arm.top_k for arm in config.arms)),
        "num_candidates": config.num_candidates,
        "strategy": config.strategy,
        "stop_early": config.stop_early,
        "score_threshold": config.threshold,
        "max_tokens": config.max_tokens,
        "judge_max_tokens": config.judge_max_tokens,
        "judge_temperature": config.judge_temperature,
        "seed": config.seed,
    }


def costs(summary: Summary, config: Rejecting, prices: Mapping[str, Price] | None) -> dict[str, Any] | None:
    """By model, of those that the table names; None without a table."""
    if prices is None:
        return None
    spent: list[tuple[str, Tokens]] = [
        (config.generator.model, summary.generation_tokens),
        (config.judge.model, summary.grading_tokens),
    ]
    by_model: dict[str, float] = {}
    for model, tokens in spent:
        if model in prices:
            by_model[model] = by_model.get(model, 0.0) + prices[model].cost(tokens.prompt, tokens.completion)
    unpriced = sorted({model for model, _ in spent} - by_model.keys())
    return {"total": round(sum(by_model.values()), 6) if by_model else None, "by_model": by_model, "without_price": unpriced}


def _model(settings: ModelSettings) -> dict[str, Any]:
    return {"model": settings.model, "engine": settings.engine, "base_urls": list(settings.base_urls)}


def _group(group: Group) -> dict[str, Any]:
    return {
        "candidates": group.num_candidates,
        "graded": group.num_graded,
        "accepted": group.num_accepted,
        "best": group.num_best,
        "accepted_share": _interval(group.accepted),
        "mean_score": _interval(group.score),
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: round(value, 6) if isfinite(value) else None for name, value in asdict(interval).items()}


def _latency(latency: Latency) -> dict[str, float | None]:
    cells = asdict(latency)
    del cells["total"]
    return {name: round(value, 4) if isfinite(value) else None for name, value in cells.items()}
