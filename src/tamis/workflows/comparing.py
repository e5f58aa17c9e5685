"""Every method side by side on ONE pool of samples: from a model, from a run folder, or from a file made elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from tamis.grade import Grader
from tamis.records import Choice, Pool
from tamis.score import ScoreSettings, why_unscored
from tamis.select import FREE, METHODS, Method, choose, find_method
from tamis.summarise import Comparer, Comparison
from tamis.workflows.best_of_n import GROUPS
from tamis.workflows.examining import examine

NUM_SHOWN = 10  # problems that a report shows with their candidates


@dataclass
class Compared:
    """The numbers, and the few problems that a report shows."""

    comparison: Comparison
    shown: list[Pool] = field(default_factory=list)
    choices: dict[str, list[Choice]] = field(default_factory=dict)  # problem id -> what each method took
    missing: dict[str, Counter[str]] = field(default_factory=dict)  # scorer -> why samples have no value -> how many


def methods_named(names: str) -> list[Method]:
    """`all`, `free` (those that ask no model), or names with commas between.

    Raises:
        UsageError: There is no such method.
    """
    known = {"all": tuple(METHODS), "free": FREE}
    listed = (known.get(name.strip(), (name.strip(),)) for name in names.split(","))
    return [find_method(name) for name in dict.fromkeys(name for group in listed for name in group)]


async def compare_pools(
    pools: AsyncGenerator[Pool, None],
    methods: Sequence[Method],
    settings: ScoreSettings,
    seed: int = 0,
    grader: Grader | None = None,
    num_certain: int | None = None,
) -> Compared:
    """Grade and score each pool, let every method choose, keep numbers; pools are read once and not kept."""
    comparer = Comparer(methods, group_by=GROUPS, num_certain=num_certain)
    shown: list[Pool] = []
    missing: dict[str, Counter[str]] = {name: Counter() for name in scorers_of(methods)}
    async with grader or Grader() as grader, aclosing(pools):
        async for pool in pools:
            judged = await examine(pool, grader, missing, settings)
            comparer.add(judged)
            for name, reasons in missing.items():
                values = zip(judged.samples, judged.scores[name], strict=True)
                reasons.update(why_unscored(sample, name) for sample, value in values if value is None)
            _keep_if_telling(shown, judged)
    choices = {pool.problem.id: [choose(pool, method) for method in methods if _can_choose(pool, method)] for pool in shown}
    comparison = await asyncio.to_thread(comparer.result, seed=seed)
    comparison = replace(comparison, left_out=(*comparison.left_out, *_without_values(missing)))
    return Compared(comparison, shown, choices, missing)


def _without_values(missing: Mapping[str, Counter[str]]) -> Iterator[str]:
    """One line for all scores that lack the same values for the same reasons; a bar that samples miss is none."""
    alike: dict[str, list[str]] = {}
    for name, reasons in missing.items():
        if reasons and not (name == "deepconf-online" and reasons.keys() == {"undefined"}):
            alike.setdefault(", ".join(f"{count} {reason}" for reason, count in reasons.items()), []).append(name)
    for why, names in alike.items():
        yield f"samples without the score of {', '.join(names)}: {why}"


def scorers_of(methods: Iterable[Method]) -> list[str]:
    """The scores that methods go by."""
    return list(dict.fromkeys(method.scorer for method in methods if method.scorer))


def needs_of(methods: Iterable[Method]) -> set[str]:
    """What methods need of samples besides their answers."""
    return {need for method in methods for need in method.needs}


def _can_choose(pool: Pool, method: Method) -> bool:
    return method.scorer is None or any(value is not None for value in pool.scores[method.scorer])


def _keep_if_telling(shown: list[Pool], pool: Pool) -> None:
    """Keep the first few pools, but give the places of those where all samples agree to those where they differ."""
    if len(shown) < NUM_SHOWN:
        shown.append(pool)
    elif _is_telling(pool):
        dull = next((i for i in reversed(range(len(shown))) if not _is_telling(shown[i])), None)
        if dull is not None:
            del shown[dull]
            shown.append(pool)


def _is_telling(pool: Pool) -> bool:
    return len({grade.correct for grade in pool.grades}) > 1
