"""A trained model on problems with known answers (source document s2): accuracy, what stands beside it, and every row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.config import Drawing
from tamis.prompts import PromptTemplate, problem_text
from tamis.records import Choice, Pool
from tamis.select import choose
from tamis.store import RowFile
from tamis.summarise.accuracy import Accuracy, Grouped
from tamis.workflows.best_of_n import GROUPS
from tamis.workflows.examining import examine
from tamis.workflows.own_metric import Metric
from tamis.workflows.solving import VOTE, answers, read_rows_of, write_object

if TYPE_CHECKING:
    from tamis.workflows.drawing import Session

EVALUATION_FILE = "evaluation.jsonl"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found: the numbers, and where its rows are."""

    facts: dict[str, Any]  # accuracy, correct, total, eval_time, ...
    rows_path: Path
    is_complete: bool  # no bad row, no failed sample, and the user's metric had a word on all

    def rows(self) -> Iterator[dict[str, Any]]:
        """One a problem, in order."""
        return read_rows_of(self.rows_path)

    def write(self, path: Path) -> None:
        """The file as documented: the numbers, then `results`."""
        write_object(path, self.facts, self.rows())


async def evaluate(session: Session, metric: Metric | None = None) -> Evaluation:
    """Draw and judge; accuracy is that of the first sample of each problem.

    A response without an answer counts as wrong, and is counted apart too. A failed sample is neither right nor wrong, nor
    is a problem without a reference: `total` counts the rest.
    """
    started, left_out = time.monotonic(), [str(row) for row in session.bad_rows]
    tally, path = Tally(session.config.prompt), session.folder.file(EVALUATION_FILE)
    with RowFile(path) as rows:
        async with aclosing(session.pools()) as pools:
            async for pool in pools:
                judged = await examine(pool, session.grader)
                choice = choose(judged, VOTE) if session.config.sampling.n > 1 else None
                row = tally.row(judged, choice)
                if metric:
                    where = pool.problem.where or pool.problem.id
                    row |= await metric.measure(where, row["problem"], row["model_response"], pool.problem.answer)
                rows.write(row)
    facts = {
        **tally.to_json(time.monotonic() - started, metric),
        **about(session.config),
        "run": str(session.folder.path),
        "reused_samples": session.progress.samples_reused,
        "bad_rows": left_out,
    }
    is_complete = not session.bad_rows and not session.progress.samples_damaged and not (metric and metric.complaints)
    return Evaluation(facts, path, is_complete)


def about(config: Drawing) -> dict[str, Any]:
    """What was evaluated, on what, and how."""
    return {
        "model": config.model,
        "dataset": config.dataset,
        "split": config.split,
        "sampling": {**config.sampling.to_json(), "n": config.sampling.n},
    }


@dataclass(slots=True)
class Tally:
    """Makes the row of each problem and counts what it says."""

    prompt: PromptTemplate
    graded: Grouped = field(default_factory=lambda: Grouped(GROUPS))
    voted: Accuracy = field(default_factory=Accuracy)
    is_voted: bool = False
    num: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)

    def row(self, judged: Pool, choice: Choice | None) -> dict[str, Any]:
        """The row of one problem, by the documented names, taken into the counts; `choice` is the vote over its samples."""
        problem, grade = judged.problem, judged.grades[0] if judged.grades else None
        said = answers(judged, choice)
        correct = grade.correct if grade else None
        row: dict[str, Any] = {"index": self.num["problems"], "id": problem.id, "problem": problem_text(problem)}
        row |= {
            "prompt": self.prompt(problem).text,
            "reference_answer": problem.answer,
            "model_answer": said.pop("answer"),
            "is_correct": correct,
        }
        row["model_response"] = said.pop("response")
        if isinstance(solution := problem.metadata.get("solution"), str):
            row["reference_solution"] = solution
        row |= {name: problem.metadata[name] for name in GROUPS if problem.metadata.get(name) is not None}
        row |= said
        if choice:
            row["vote_is_correct"] = self._vote(judged, choice)
        self.num["problems"] += 1
        self.graded.add(correct, problem.metadata)
        if grade is None or grade.reason == "engine_error":
            self.num["errors"] += 1
        elif correct is None:
            row["unscored"] = grade.reason
            self.unscored[str(grade.reason)] += 1
        elif grade.reason == "no_answer":
            self.num["extraction_failures"] += 1
        self.num["truncated"] += bool(row.get("truncated"))
        return row

    def _vote(self, judged: Pool, choice: Choice) -> bool | None:
        """Whether the vote is right: wrong where no sample has an answer, None where none was drawn or it is not graded."""
        self.is_voted = True
        if choice.index is None:
            grades = (g for s, g in zip(judged.samples, judged.grades, strict=True) if not s.error)
            correct = next((grade.correct for grade in grades), None)
        else:
            indices = [sample.index for sample in judged.samples]
            correct = judged.grades[indices.index(choice.index)].correct
        self.voted.add(correct)
        return correct

    def to_json(self, seconds: float, metric: Metric | None) -> dict[str, Any]:
        """The numbers, the documented ones first."""
        whole = self.graded.all.to_json()
        interval = whole.pop("interval")
        return {
            **whole,
            "eval_time": round(seconds, 3),
            "interval": interval,
            "num_problems": self.num["problems"],
            "extraction_failures": self.num["extraction_failures"],
            "errors": self.num["errors"],
            "unscored": dict(self.unscored),
            "truncated": self.num["truncated"],
            **({"vote": self.voted.to_json()} if self.is_voted else {}),
            **({"metric": metric.to_json()} if metric else {}),
            "by_subject": self.graded.by("subject"),
            "by_level": self.graded.by("level"),
        }
