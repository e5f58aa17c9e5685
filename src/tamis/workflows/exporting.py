"""Samples made earlier -> a file of training data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.config import ScoreSettings
from tamis.export import Format, Taken, Taking, best, pairs
from tamis.grade import Grader
from tamis.records import Pool, Prompt
from tamis.store import RowFile
from tamis.store.files import encode
from tamis.workflows.earlier import Earlier
from tamis.workflows.examining import examine, paced


@dataclass(slots=True)
class Exported:
    """What is in the file, and what is not."""

    path: Path
    num_problems: int = 0
    num_used: int = 0  # problems of which there is a row
    num_rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # why samples are in no row -> how many


async def export(earlier: Earlier, form: Format, taking: Taking, settings: ScoreSettings, path: Path) -> Exported:
    """Grade and score each pool, take what `taking` says, write a row for each: what is learnt from, then where it is from.

    No two rows are the same to a trainer: of equal ones the first is kept.

    Raises:
        InputError: The file cannot be written.
    """
    exported = Exported(path)
    source = ((earlier.drawing and earlier.drawing.run) or earlier.path).resolve().name
    scorers = [taking.scorer] if taking.scorer else []
    seen: set[bytes] = set()
    with RowFile(path) as rows:
        async with Grader() as grader:
            async for pool in paced(earlier.pools()):
                judged = await examine(pool, grader, scorers, settings)
                prompts = earlier.prompts(judged)
                num_before = exported.num_rows
                for asked, answers in _answers(judged, prompts, form, taking, exported.left_out):
                    columns = form.columns(asked, tuple(taken.sample.text for taken in answers))
                    if columns is None:
                        exported.left_out["image_marker"] += len(answers)
                        continue
                    digest = hashlib.blake2b(encode(columns), digest_size=16).digest()
                    if digest in seen:
                        exported.left_out["repeated"] += len(answers)
                        continue
                    seen.add(digest)
                    rows.write(columns | _provenance(judged, answers, taking, source))
                    exported.num_rows += 1
                exported.num_problems += 1
                exported.num_used += exported.num_rows > num_before
    return exported


def _answers(
    pool: Pool, prompts: Sequence[Prompt], form: Format, taking: Taking, left_out: Counter[str]
) -> Iterator[tuple[Prompt, tuple[Taken, ...]]]:
    """What each row was asked, and its answers; those of a pair were asked the same."""
    if not form.is_pairs:
        single, others = best(pool, taking)
        asked = {sample.key: prompt for sample, prompt in zip(pool.samples, prompts, strict=True)}
        yield from ((asked[taken.sample.key], (taken,)) for taken in single)
        left_out.update(others)
        return
    for prompt in dict.fromkeys(prompts):
        found, others = pairs(_part(pool, [place for place, other in enumerate(prompts) if other == prompt]), taking)
        yield from ((prompt, pair) for pair in found)
        left_out.update(others)


def _part(pool: Pool, places: Sequence[int]) -> Pool:
    """A graded and scored pool with some of its samples."""

    def chosen(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[place] for place in places)

    scores = {name: chosen(values) for name, values in pool.scores.items()}
    return Pool(pool.problem, chosen(pool.samples), chosen(pool.grades), chosen(pool.clusters), scores)


def _provenance(pool: Pool, answers: tuple[Taken, ...], taking: Taking, source: str) -> dict[str, Any]:
    """Where a row is from: the source's id, the run, and of each answer how it was drawn, graded and scored."""
    row: dict[str, Any] = {"id": pool.problem.id, "run": source, "method": taking.scorer or "correct"}
    for side, taken in zip(("chosen_", "rejected_") if len(answers) == 2 else ("",), answers, strict=True):
        row |= {
            f"{side}index": taken.sample.index,
            f"{side}seed": taken.sample.seed,
            f"{side}sampling": taken.sample.sampling.to_json(),
            f"{side}score": taken.score,
            f"{side}correct": taken.grade.correct,
            f"{side}graded_by": taken.grade.decided_by or None,
        }
    return row
