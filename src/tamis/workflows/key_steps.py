"""The steps of a chosen sample, as the best file has them: which are key, and why."""

from __future__ import annotations

from typing import Any

from tamis.errors import UsageError
from tamis.records import Pool, Sample
from tamis.score import tokens
from tamis.score.keysteps import answer_step, key_steps
from tamis.steps import split_steps, step_ids


def check_statistics(pool: Pool) -> None:
    """Refuse a pool in which no sample has token statistics.

    Raises:
        UsageError: It is so.
    """
    said = [sample for sample in pool.samples if sample.text and not sample.error]
    if said and all(sample.stats is None for sample in said):
        where = pool.problem.where or pool.problem.id
        advice = "Name the model that shall read them again (--model-path), or leave --key-steps out"
        raise UsageError(f"{where}: key steps need token statistics, the samples have none", advice)


def step_rows(sample: Sample) -> list[dict[str, Any]] | None:
    """The steps of a sample; None without token statistics.

    `fork_mass` is the step's share of the fork entropy, `drop` how far mean self-certainty falls from the step before (None of
    a step in which no token begins), `answer` whether it holds the answer.
    """
    if sample.stats is None:
        return None
    spans = split_steps(sample.text)
    if not spans:
        return []
    stats = sample.stats
    found = key_steps(tokens.entropy(stats), tokens.self_certainty(stats), step_ids(stats.starts, spans))
    mass, drop = dict(zip(found.steps, found.mass, strict=True)), dict(zip(found.steps, found.drop, strict=True))
    answer = answer_step(sample.text, spans)
    return [
        {
            "text": sample.text[start:end],
            "key": k in found.key,
            "fork_mass": mass.get(k, 0.0),
            "drop": drop.get(k),
            "answer": k == answer,
        }
        for k, (start, end) in enumerate(spans)
    ]
