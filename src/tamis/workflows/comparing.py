"""Every method side by side on ONE pool of samples: from a model, from a run folder, or from a file made elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from tamis.config import Drawing
from tamis.errors import InputError
from tamis.grade import Grader
from tamis.prompts import PromptTemplate
from tamis.records import Choice, Pool, Sampling
from tamis.sample import pools as pools_of
from tamis.score import ScoreSettings
from tamis.select import METHODS, Method, choose, find_method
from tamis.sources import BadRow, read_samples
from tamis.store import RunFolder
from tamis.summarise import Comparer, Comparison
from tamis.workflows.best_of_n import GROUPS, with_statistics
from tamis.workflows.drawing import read
from tamis.workflows.examining import examine

NUM_SHOWN = 10  # problems that a report shows with their candidates


@dataclass
class Compared:
    """The numbers, and the few problems that a report shows."""

    comparison: Comparison
    shown: list[Pool] = field(default_factory=list)
    choices: dict[str, list[Choice]] = field(default_factory=dict)  # problem id -> what each method took


def methods_named(names: str) -> list[Method]:
    """`all`, or names with commas between.

    Raises:
        UsageError: There is no such method.
    """
    return list(METHODS.values()) if names == "all" else [find_method(name.strip()) for name in names.split(",")]


async def compare_pools(
    pools: AsyncGenerator[Pool, None], methods: Sequence[Method], settings: ScoreSettings, seed: int = 0
) -> Compared:
    """Grade and score each pool, let every method choose, keep numbers; pools are read once and not kept."""
    comparer = Comparer(methods, group_by=GROUPS)
    shown: list[Pool] = []
    async with Grader() as grader, aclosing(pools):
        async for pool in pools:
            scorers = dict.fromkeys(method.scorer for method in methods if method.scorer)
            has_stats = any(sample.stats is not None for sample in pool.samples)
            judged = await examine(pool, grader, scorers if has_stats else (), settings)
            comparer.add(judged)
            _keep_if_telling(shown, judged)
    choices = {
        pool.problem.id: [choose(pool, m) for m in methods if m.scorer is None or m.scorer in pool.scores] for pool in shown
    }
    return Compared(await asyncio.to_thread(comparer.result, seed=seed), shown, choices)


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


async def pools_at(
    path: Path, bad_rows: list[BadRow], fields: dict[str, str] | None = None, limit: int | None = None
) -> AsyncGenerator[Pool, None]:
    """The pools of a run folder, of a candidates file, or of a file of samples made elsewhere; at most `limit`."""
    pools = _run_pools(path, bad_rows) if path.is_dir() else _file_pools(path, bad_rows, fields or {})
    for pool in islice(pools, limit):
        await asyncio.sleep(0)
        yield pool


def _file_pools(path: Path, bad_rows: list[BadRow], fields: dict[str, str]) -> Iterator[Pool]:
    yield from with_statistics(read_samples(path, fields=fields, bad_rows=bad_rows), path, bad_rows)


def _run_pools(path: Path, bad_rows: list[BadRow]) -> Iterator[Pool]:
    """A run folder keeps no problems: they are read again from the source that run.json names, all of them."""
    with RunFolder.read(path, token_stats="none") as folder:
        n = max((sample.index for sample in folder.samples()), default=-1) + 1
    if not n:
        raise InputError(f"{path} holds no samples", "Draw some: tamis generate")
    with RunFolder.read(path) as folder:
        drawing = drawing_of(folder, n)
        num_claimed = 0
        for pool in pools_of(read(drawing, bad_rows), folder, drawing.sampling, prompt=drawing.prompt):
            num_claimed += sum(sample.error is None for sample in pool.samples)
            if pool.samples:
                yield pool
        if (num_lost := folder.num_finished - num_claimed) > 0:
            bad_rows.append(BadRow(str(path), "", f"{num_lost} samples of problems that are not in {drawing.dataset} any more"))
        bad_rows += [BadRow(str(path), "", line) for line in folder.warnings]


def drawing_of(folder: RunFolder, n: int) -> Drawing:
    """The configuration that a run folder was made under, without its limit.

    Raises:
        InputError: The folder was not made by a command of Tamis.
    """
    config, facts = folder.config, folder.facts
    try:
        return Drawing(
            model=facts["model_path"],
            dataset=facts["dataset"],
            split=facts["split"],
            fields=facts["fields"],
            sampling=replace(Sampling.from_json({name: config[name] for name in Sampling().to_json()}), n=n),
            prompt=PromptTemplate(config["template"], config["system"], not config["chat_template"]),
            run=folder.path,
        )
    except KeyError as missing:
        raise InputError(f"{folder.path / 'run.json'} has no {missing}", "Name a folder that a command made") from None
