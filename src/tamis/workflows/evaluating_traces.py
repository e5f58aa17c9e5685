"""A run of interleaved reasoning -> how good it is: the documented files, then metrics with their intervals.

evaluation_data.json, statistics.json   see `trace_files`
metrics.json                            the numbers, and why others are not there
sample_scores.jsonl                     those of each sample
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tamis.grade import Grader, extract_answer
from tamis.likeness.learned import frechet_distance, kernel_distance
from tamis.likeness.texts import Bleu
from tamis.records import Grade, Sample, Sampling, Trace
from tamis.records.traced import CANDIDATES_FOLDER, SUMMARY_FILE
from tamis.sources import BadRow
from tamis.sources.interleaved import Places
from tamis.sources.traces import TraceFile
from tamis.store import RowFile
from tamis.store.files import decode, encode_readable, write_atomically
from tamis.summarise.accuracy import Accuracy
from tamis.summarise.intervals import bootstrap
from tamis.summarise.means import Mean
from tamis.workflows.measuring_traces import PICTURE_METRICS, SET_METRICS, TEXT_METRICS, Measured, Measures
from tamis.workflows.trace_files import Statistics, write_documented

METRICS_FILE, SCORES_FILE = "metrics.json", "sample_scores.jsonl"

_CHUNK = 32  # samples in hand
_DRAWS = 2000  # of the bootstrap
_BOUNDS = {"ssim": (-1.0, 1.0), "rouge1": (0.0, 1.0), "rouge2": (0.0, 1.0), "rougeL": (0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Judged:
    """One sample with its numbers and the grade of its answer."""

    measured: Measured
    grade: Grade

    def to_json(self) -> dict[str, Any]:
        """Its row; a score that it lacks is null, and `unscored` says why."""
        found = self.measured
        names = [name for name in (*TEXT_METRICS, *PICTURE_METRICS) if name in found.scores or name in found.reasons]
        row: dict[str, Any] = {
            "sample_id": found.trace.sample_id,
            "answer": self.grade.answer,
            "reference_answer": found.reference.answer,
            "is_correct": self.grade.correct,
            "step_difference": found.step_difference,
            **{name: found.scores.get(name) for name in names},
            "num_pairs": found.num_pairs,
            "num_resized": found.num_resized,
        }
        unscored = dict(found.reasons)
        if self.grade.correct is None:
            unscored["is_correct"] = str(self.grade.reason)
        return row | ({"unscored": unscored} if unscored else {})


@dataclass(slots=True)
class Tally:
    """Takes in the samples one by one."""

    answers: Accuracy = field(default_factory=Accuracy)
    ungraded: Counter[str] = field(default_factory=Counter)
    steps: Accuracy = field(default_factory=Accuracy)
    step_difference: Mean = field(default_factory=Mean)
    means: dict[str, Mean] = field(default_factory=dict)
    bleu_counts: list[Any] = field(default_factory=list)
    features: tuple[list[Any], list[Any]] = field(default_factory=lambda: ([], []))
    num: Counter[str] = field(default_factory=Counter)
    complaints: list[BadRow] = field(default_factory=list)

    def add(self, judged: Judged) -> None:
        """Take in one sample that did not fail."""
        found, grade = judged.measured, judged.grade
        self.answers.add(grade.correct)
        if grade.correct is None:
            self.ungraded[str(grade.reason)] += 1
        self.num["no_answer"] += grade.reason == "no_answer"
        difference = found.step_difference
        self.steps.add(None if difference is None else difference == 0)
        self.step_difference.add(difference, "no_reference")
        for name in (*TEXT_METRICS, *PICTURE_METRICS):
            if name in found.scores or name in found.reasons:
                mean = self.means.setdefault(name, Mean(_BOUNDS.get(name)))
                mean.add(found.scores.get(name), found.reasons.get(name, ""))
        if found.bleu_counts is not None:
            self.bleu_counts.append(found.bleu_counts)
        for features, more in zip(self.features, found.features, strict=True):
            features += more
        self.num["truncated"] += found.trace.truncated
        self.num["drawn"] += len(found.trace.images)
        self.num["wanted"] += len(found.reference.pictures)
        self.num["pairs"] += found.num_pairs
        self.num["resized"] += found.num_resized
        self.num["identical"] += found.num_identical
        self.complaints += found.complaints

    def metrics(self, measures: Measures) -> dict[str, Any]:
        """Every metric by its name; one that is not there is null, with the reason."""
        metrics: dict[str, Any] = {
            "answer_accuracy": {
                **_share(self.answers),
                "no_answer": self.num["no_answer"],
                "unscored": dict(self.ungraded),
            },
            "step_count_accuracy": {**_share(self.steps), "unscored": dict(self.step_difference.reasons)},
            "step_count_difference": self.step_difference.to_json(),
        }
        for name in (*TEXT_METRICS, *PICTURE_METRICS, *SET_METRICS):
            if name in measures.absent:
                metrics[name] = {"value": None, "reason": measures.absent[name]}
                continue
            if name == "bleu" and measures.bleu:
                row = self._bleu_of_set(measures.bleu)
            else:
                row = self._distance(name) if name in SET_METRICS else self.means.get(name, Mean()).to_json()
            metrics[name] = row | ({"signature": measures.signatures[name]} if measures.signatures.get(name) else {})
        return metrics

    def _distance(self, name: str) -> dict[str, Any]:
        made, wanted = self.features
        row: dict[str, Any] = {"num_drawn": len(made), "num_wanted": len(wanted)}
        if min(len(made), len(wanted)) < 2:
            return {"value": None, "reason": "it needs two pictures of each kind", **row}
        distance = frechet_distance if name == "fid" else kernel_distance
        return {"value": distance(np.array(made), np.array(wanted)), **row}

    def _bleu_of_set(self, bleu: Bleu) -> dict[str, Any]:
        counts = np.array(self.bleu_counts)
        mean = self.means.get("bleu", Mean())
        row: dict[str, Any] = {"value": None, "interval": None, "scored": len(counts), "unscored": dict(mean.reasons)}
        if len(counts):
            found = bootstrap(counts, bleu.of_set, num_draws=_DRAWS)
            row |= {"value": found.value, "interval": [found.low, found.high] if len(counts) > 1 else None}
        return row | {"mean_of_samples": mean.to_json()["value"]}


def _share(accuracy: Accuracy) -> dict[str, Any]:
    row = accuracy.to_json()
    return {"value": row.pop("accuracy"), **row}


class TraceEvaluation:
    """The evaluation of one run.

    Attributes:
        is_complete: Whether the run had come to its end, as its summary says; None where it says nothing.
        num_rows: How many rows it was asked for, as far as that is known.
        num_done: Samples that are measured.
        statistics: The documented counts, once `run` is done.
        metrics: What `run` found.
    """

    def __init__(self, results: Path, output: Path, *, is_restricted: bool = False, bert_model: str | None = None) -> None:
        """Find the rows.

        Raises:
            InputError: The results cannot be read.
        """
        self.results = TraceFile(results)
        self.output = output
        summary = _summary(self.results.folder)
        is_complete, num_rows = summary.get("is_complete"), summary.get("rows")
        self.is_complete = is_complete if isinstance(is_complete, bool) else None
        self.num_rows = num_rows if isinstance(num_rows, int) else None
        said = () if is_restricted else _input_folder(summary)  # who wrote the summary may open no folder
        self.places = Places((self.results.folder, *said), is_restricted)
        self._bert_model = bert_model
        self.statistics = Statistics()
        self.num_done = 0
        self.metrics: dict[str, Any] = {}
        self.complaints: list[BadRow] = []

    def run(self, each: Callable[[Trace, Judged | None], None] | None = None) -> None:
        """Write the documented files, measure, and write what was found.

        Args:
            each: Told of every sample in order; of one that failed there is nothing judged.

        Raises:
            OSError: A file cannot be written.
        """
        measures, tally = Measures(self.results, self.places, self._bert_model), Tally()
        with RowFile(self.output.with_name(SCORES_FILE)) as rows:
            for trace, judged in self._judged(measures):
                if judged:
                    tally.add(judged)
                    rows.write(judged.to_json())
                if each:
                    each(trace, judged)
                self.num_done += 1
        self.statistics = write_documented(self.results, self.output)
        self.complaints = tally.complaints
        self.metrics = {**self._facts(tally), "metrics": tally.metrics(measures)}
        write_atomically(self.output.with_name(METRICS_FILE), [encode_readable(self.metrics)])

    def _judged(self, measures: Measures) -> Iterator[tuple[Trace, Judged | None]]:
        with Grader() as grader, ThreadPoolExecutor(os.cpu_count()) as threads:
            all_traces = self.results.traces()
            while traces := list(islice(all_traces, _CHUNK)):
                whole = [trace for trace in traces if not trace.error]
                measured = list(threads.map(measures.measure, whole))
                grades = asyncio.run(_grades(grader, measured))
                judged = {one.trace.sample_id: Judged(one, grade) for one, grade in zip(measured, grades, strict=True)}
                yield from ((trace, judged.get(trace.sample_id)) for trace in traces)

    def _facts(self, tally: Tally) -> dict[str, Any]:
        counts: Mapping[str, int] = tally.num
        return {
            "results": str(self.results.folder),
            "is_complete": self.is_complete,
            "total_samples": len(self.statistics.failed) + self.statistics.num_successful,
            "successful": self.statistics.num_successful,
            "failed": len(self.statistics.failed),
            "errors": [{"sample_id": name, "error": why} for name, why in self.statistics.failed.items()],
            "bad_rows": [str(row) for row in (*self.results.bad_rows, *tally.complaints)],
            "superseded_rows": self.results.num_superseded,
            "truncated": counts["truncated"],
            "pictures": {name: counts[name] for name in ("drawn", "wanted", "pairs", "resized", "identical")},
        }


def _summary(folder: Path) -> dict[str, Any]:
    """What a run says of itself; one that goes on, or was killed, has no summary yet."""
    with suppress(OSError, ValueError):
        summary = decode((folder / SUMMARY_FILE).read_bytes())
        if isinstance(summary, dict):
            return summary
    return {"is_complete": False} if (folder / CANDIDATES_FOLDER).is_dir() else {}


def _input_folder(summary: Mapping[str, Any]) -> tuple[Path, ...]:
    """Where the problems of a run were."""
    path = summary.get("input_jsonl")
    return (Path(path).parent,) if isinstance(path, str) else ()


async def _grades(grader: Grader, measured: list[Measured]) -> list[Grade]:
    return await asyncio.gather(*(grader.grade(_as_sample(one.trace), _expected(one)) for one in measured))


def _as_sample(trace: Trace) -> Sample:
    """A trace as what graders judge."""
    name = str(trace.sample_id)
    return Sample(name, name, 0, 0, Sampling(), (trace.text,), "length" if trace.truncated else "stop")


def _expected(found: Measured) -> str | None:
    """The reference answer, taken out of a sentence that only announces it."""
    answer = found.reference.answer
    return answer and (extract_answer(answer, complete=False) or answer)
