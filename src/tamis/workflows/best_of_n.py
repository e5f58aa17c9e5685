"""Best-of-N: draw candidates, keep the best of each problem (source document s3: generate, evaluate, infer).

infer = generate + evaluate in ONE pass over the model: each problem is graded, scored and chosen from while the
following ones are still being drawn, by the statistics that were taken while it was drawn.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tamis.config import Asking, Choosing
from tamis.errors import UsageError
from tamis.grade import Grader
from tamis.records import Choice, Pool
from tamis.score import STATISTICS
from tamis.score.steps import score_norm
from tamis.select import Method, choose, find_method
from tamis.sources import BadRow
from tamis.store import RowFile, RunFolder
from tamis.summarise import Comparer, Comparison, to_json
from tamis.workflows.drawing import Session, dataset_name
from tamis.workflows.earlier import Earlier
from tamis.workflows.examining import examine, paced, score_cells, why_not
from tamis.workflows.key_steps import check_statistics, step_rows
from tamis.workflows.models import model_name
from tamis.workflows.scoring import scored_pools

GROUPS = ("subject", "level")
"""Metadata fields by which accuracies are broken down."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a best-of-N run leaves behind."""

    candidates: Path | None
    best: Path | None
    comparison: Comparison | None = None
    bad_rows: Sequence[BadRow] = field(default_factory=tuple)
    num_damaged: int = 0  # samples of the run folder that cannot be read any more
    method: str = ""  # that chose

    @property
    def is_complete(self) -> bool:
        """Whether no row was bad, no sample failed or was damaged, and the method had something to go by."""
        if self.comparison and self.comparison.num_problems and self.method not in {m.method for m in self.comparison.methods}:
            return False
        return not self.bad_rows and not self.num_damaged and not (self.comparison and self.comparison.health.num_failed)


def result_files(session: Session, output_dir: Path, choosing: Choosing | None = None) -> tuple[Path, Path]:
    """The candidates file and the best file of a run.

    Their time is that of the first run with these problems, this n and this choice, as `results.json` in the run folder
    remembers: a resumed run has the names that it began with, and another one overwrites nothing.
    """
    config, registry = session.config, session.folder.file("results.json")
    what = [config.dataset, config.split, config.limit, config.sampling.n, str(output_dir.resolve())]
    what += [repr(config.adaptive)] if config.adaptive else []
    asked = repr(what if choosing is None else [*what, choosing.method, choosing.scores, *["key steps"] * choosing.key_steps])
    began: dict[str, str] = json.loads(registry.read_bytes()) if registry.is_file() else {}
    if asked not in began:
        began[asked] = time.strftime("%Y%m%d_%H%M%S")
        session.folder.write_json("results.json", began)
    data, model, stamp = dataset_name(config.dataset), model_name(config.model), began[asked]
    return output_dir / f"{data}_candidates_{model}_{stamp}.jsonl", output_dir / f"{data}_best_{model}_{stamp}.jsonl"


async def generate(session: Session, output_dir: Path) -> Outcome:
    """Draw the candidates and write them in the order of the problems."""
    path, _ = result_files(session, output_dir)
    with RowFile(path) as rows:
        async with aclosing(session.pools()) as pools:
            async for pool in pools:
                rows.write(candidates_row(pool, session.folder, path))
    return Outcome(path, None, None, session.bad_rows)


def needs_of_choice(choosing: Choosing) -> set[str]:
    """What a choice needs of samples besides their answers."""
    return {*find_method(choosing.method).needs, *[STATISTICS] * choosing.key_steps}


async def infer(session: Session, choosing: Choosing, asking: Asking, output_dir: Path) -> Outcome:
    """Draw the candidates, and choose from each problem's as soon as all that the method needs is there."""
    candidates, best = result_files(session, output_dir, choosing)

    async def drawn() -> AsyncGenerator[Pool, None]:
        with RowFile(candidates) as rows:
            async with aclosing(session.pools()) as pools:
                async for pool in pools:
                    rows.write(candidates_row(pool, session.folder, candidates))
                    yield pool

    pools = scored_pools(session, needs_of_choice(choosing), asking, drawn())
    comparison = await choose_best(pools, choosing, best, session.folder, session.grader, session.num_certain)
    return Outcome(candidates, best, comparison, session.bad_rows, session.progress.samples_damaged, choosing.method)


async def evaluate(earlier: Earlier, choosing: Choosing, output_dir: Path | None) -> Outcome:
    """Choose from candidates drawn earlier, by what is known of them: statistics taken while drawing or read again, verdicts.

    Raises:
        InputError: The file cannot be read.
        UsageError: The method needs what is not known of any sample.
    """
    candidates = earlier.path
    stem = re.sub(r"_\d{8}_\d{6}$", "", candidates.name.split(".jsonl")[0])
    name = stem.replace("_candidates_", "_best_") if "_candidates_" in stem else f"{stem}_best"
    best = (output_dir or candidates.parent) / f"{name}_{time.strftime('%Y%m%d_%H%M%S')}.jsonl"
    comparison = await choose_best(paced(earlier.pools()), choosing, best, None)
    return Outcome(candidates, best, comparison, earlier.bad_rows, method=choosing.method)


async def choose_best(
    pools: AsyncGenerator[Pool, None],
    choosing: Choosing,
    best: Path,
    folder: RunFolder | None,
    grader: Grader | None = None,
    num_certain: int | None = None,
) -> Comparison:
    """Grade, score and choose pool by pool; write the best file, and into the run folder its scores, choices and summary."""
    method = find_method(choosing.method)
    scorers = [method.scorer] if method.scorer else []
    lines = dict.fromkeys(("baseline", "self-consistency", method.name))
    comparer = Comparer([find_method(name) for name in lines], group_by=GROUPS, num_certain=num_certain)
    reasons: set[str | None] = set()  # why whole problems cannot be chosen from; None: one can
    with ExitStack() as stack:
        best_rows = stack.enter_context(RowFile(best))
        score_rows = stack.enter_context(RowFile(folder.file("scores.jsonl"))) if folder else None
        choice_rows = stack.enter_context(RowFile(folder.file("choices.jsonl"))) if folder else None
        async with grader or Grader() as grader, aclosing(pools):
            async for pool in pools:
                judged = await examine(pool, grader, scorers, choosing.scores)
                reasons.add(why_not(judged, method))
                choice = choose(judged, method)
                if choosing.key_steps:
                    check_statistics(judged)
                best_rows.write(best_row(judged, choice, method, key_steps=choosing.key_steps))
                if score_rows and choice_rows:
                    for row in score_table(judged, scorers):
                        score_rows.write(row)
                    choice_rows.write(choice.to_json())
                comparer.add(judged)
        if reasons and None not in reasons and (known := [why for why in reasons if why in NOBODY_ASKED]):
            raise UsageError(f"the method {method.name} needs {NOBODY_ASKED[str(known[0])]}", ADVICE_TO_SCORE)
    comparison = await asyncio.to_thread(comparer.result, seed=choosing.seed)
    if folder:
        folder.write_json("summary.json", {"method": method.name, **asdict(choosing.scores), **to_json(comparison)})
    return comparison


NOBODY_ASKED = {
    "no_statistics": "token statistics, the samples have none",
    "no_hidden_states": "hidden states, the samples have none",
    "not_asked": "verdicts of a model, the samples have none",
}
ADVICE_TO_SCORE = (
    "Name who shall give them (--model-path, --judge-model, --reward-model), or choose without: --method self-consistency"
)


# --- rows of the files ---------------------------------------------------------------------------------------------


def candidates_row(pool: Pool, folder: RunFolder, path: Path) -> dict[str, Any]:
    """One problem with its samples; `tamis_run` leads from the file to the folder that holds their token statistics."""
    row: dict[str, Any] = {"id": pool.problem.id, "question": _question(pool)}
    if pool.problem.messages:
        row["messages"] = [{"role": m.role, "content": m.content} for m in pool.problem.messages]
    if pool.problem.images:
        row["images"] = list(pool.problem.images)
    if pool.problem.answer is not None:
        row["reference"] = pool.problem.answer
    row |= {name: pool.problem.metadata[name] for name in GROUPS if name in pool.problem.metadata}
    row["tamis_run"] = os.path.relpath(folder.path, path.parent)
    row["candidates"] = [sample.to_json() for sample in pool.samples]
    return row


def best_row(pool: Pool, choice: Choice, method: Method, *, key_steps: bool = False) -> dict[str, Any]:
    """The chosen sample of a problem; where nothing has an answer, the text of the best score, with `final_answer` null."""
    position = _position(pool, choice, method)
    row: dict[str, Any] = {"id": pool.problem.id, "question": _question(pool)}
    values = pool.scores.get(method.scorer or "", (None,) * len(pool.samples))
    row["answer"] = pool.samples[position].text if position is not None else None
    row["final_answer"] = choice.answer
    row["score"] = values[position] if position is not None else None
    row["score_norm"] = score_norm(values)[position] if position is not None else None
    row["index"] = pool.samples[position].index if position is not None else None
    if choice.votes:
        row["votes"] = dict(choice.votes)
    if pool.problem.answer is not None:
        row["reference"] = pool.problem.answer
        row["correct"] = pool.grades[position].correct if position is not None else None
    if key_steps:
        row["steps"] = step_rows(pool.samples[position]) if position is not None else None
    return row


def _question(pool: Pool) -> str:
    """The problem's text; of a conversation, its last turn."""
    problem = pool.problem
    return problem.prompt or (problem.messages[-1].content if problem.messages else "")


def _position(pool: Pool, choice: Choice, method: Method) -> int | None:
    """Where the chosen sample stands; of a choice that abstains, the best raw score, else the first that did not fail."""
    alive = [i for i, sample in enumerate(pool.samples) if not sample.error]
    if choice.index is not None:
        return next(i for i in alive if pool.samples[i].index == choice.index)
    values = pool.scores.get(method.scorer or "")
    scored = [i for i in alive if values and values[i] is not None]
    return max(scored, key=lambda i: (values[i], -i)) if scored and values else next(iter(alive), None)


def score_table(pool: Pool, scorers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row a sample: its grade, its scores, and for each that is missing the reason."""
    for i, (sample, grade) in enumerate(zip(pool.samples, pool.grades, strict=True)):
        row = grade.to_json() | {"id": sample.problem_id, "index": sample.index, "cluster": pool.clusters[i]}
        yield row | score_cells(pool, scorers, i)
