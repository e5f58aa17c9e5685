"""The demo of reasoning in text and pictures: the embedded unified model walks a ring over boards, and answers at once too."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.bagel.settings import Guidance, Interleaving
from tamis.config import EMBEDDED_INTERLEAVE
from tamis.demo.ring_walks import MOST, SIZE, write_problems
from tamis.sources import BadRow
from tamis.workflows.evaluating_traces import TraceEvaluation
from tamis.workflows.interleaving import Session
from tamis.workflows.reasoning import Reasoning
from tamis.workflows.trace_files import DATA_FILE
from tamis.workflows.trace_gallery import Gallery

NUM_STEPS = 10
REPORT = "report.html"
MAX_TOKENS = 32  # the longest thought takes about ten

SETTINGS = Interleaving(
    temperature=0.0,
    max_tokens=MAX_TOKENS,
    max_iterations=MOST + 1,
    num_steps=NUM_STEPS,
    guidance=Guidance(text_scale=2.0, image_scale=1.5),
    size=(SIZE, SIZE),
    batch_size=16,
)


Watch = Callable[[Session], AbstractContextManager[None]]
"""Follows a run while it goes on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the problems asked in one way."""

    title: str
    path: Path  # what `tamis interleave` and `tamis interleave-evaluate` write
    num_pictures: int
    seconds: float
    evaluation: TraceEvaluation
    gallery: Gallery
    bad_rows: list[BadRow]

    def metric(self, name: str) -> dict[str, Any]:
        """A metric of the evaluation: `value` and `interval`."""
        found: dict[str, Any] = self.evaluation.metrics["metrics"][name]
        return found


def interleave_config(problems: Path, output_dir: Path, seed: int) -> Reasoning:
    """The configuration of the demo."""
    return Reasoning(
        input=problems, checkpoint=EMBEDDED_INTERLEAVE, output_dir=output_dir, settings=SETTINGS, seed=seed, dtype="float32"
    )


def demonstrate_interleave(num_problems: int, seed: int, run: Path, watch: Watch) -> list[Outcome]:
    """Solve the same problems by steps that are drawn, and at once.

    Raises:
        TamisError: Of the folder, the model, or the packages.
    """
    by_steps, at_once = write_problems(run / "problems" / f"seed-{seed}", num_problems, seed)
    return [
        _outcome("by steps, drawn", interleave_config(by_steps, run / "by-steps", seed), watch),
        _outcome("at once, not drawn", interleave_config(at_once, run / "at-once", seed), watch),
    ]


def _outcome(title: str, config: Reasoning, watch: Watch) -> Outcome:
    with Session(config) as session:
        started = time.monotonic()
        with watch(session):
            session.run()
        seconds = time.monotonic() - started
        session.conclude(is_complete=True)
    evaluation = TraceEvaluation(session.path, session.path / DATA_FILE)
    gallery = Gallery(evaluation, session.path / REPORT)
    evaluation.run(gallery.add)
    bad_rows = [*session.bad_rows, *evaluation.complaints]
    return Outcome(title, session.path, session.num_pictures, seconds, evaluation, gallery, bad_rows)
