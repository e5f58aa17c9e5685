"""The two files of an evaluation of interleaved reasoning that the source document s0 describes, as it describes them.

    evaluation_data.json   a row a sample that did not fail, reference beside result
    statistics.json        how many there are, and how many steps and pictures they have

Failed samples are counted, and have no part in any mean: where none is left, means are null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.records import Trace
from tamis.sources.fields import BadField
from tamis.sources.interleaved import ANSWER, QUESTION, REASONING, REASONING_IMAGE, pictures_of, reference_answer, text_of
from tamis.sources.traces import TraceFile
from tamis.store.files import encode_readable, write_atomically
from tamis.workflows.solving import write_list

STATISTICS_FILE, DATA_FILE = "statistics.json", "evaluation_data.json"


@dataclass(slots=True)
class Statistics:
    """Counts over the samples of a run."""

    steps: Counter[int] = field(default_factory=Counter)  # how many samples have so many
    images: Counter[int] = field(default_factory=Counter)
    failed: dict[int | str, str] = field(default_factory=dict)  # id -> why

    def add(self, trace: Trace) -> None:
        """Take in one."""
        if trace.error:
            self.failed[trace.sample_id] = trace.error
        else:
            self.steps[trace.num_steps] += 1
            self.images[trace.num_images] += 1

    @property
    def num_successful(self) -> int:
        """Samples that did not fail."""
        return self.steps.total()

    def to_json(self) -> dict[str, Any]:
        """The documented fields."""
        return {
            "total_samples": self.num_successful + len(self.failed),
            "successful": self.num_successful,
            "failed": len(self.failed),
            "avg_reasoning_steps": _mean(self.steps),
            "avg_generated_images": _mean(self.images),
            "reasoning_steps_distribution": _distribution(self.steps),
            "image_count_distribution": _distribution(self.images),
        }


def _mean(counts: Counter[int]) -> float | None:
    return sum(number * times for number, times in counts.items()) / counts.total() if counts else None


def _distribution(counts: Counter[int]) -> dict[str, int]:
    return {str(number): counts[number] for number in sorted(counts)}


def write_documented(results: TraceFile, data_path: Path) -> Statistics:
    """Write both files, the statistics beside the data; older ones are replaced.

    Raises:
        OSError: They cannot be written.
    """
    statistics = Statistics()

    def rows() -> Iterator[dict[str, Any]]:
        for trace in results.traces():
            statistics.add(trace)
            if not trace.error:
                yield evaluation_row(trace)

    write_list(data_path, rows())
    write_atomically(data_path.with_name(STATISTICS_FILE), [encode_readable(statistics.to_json())])
    return statistics


def evaluation_row(trace: Trace) -> dict[str, Any]:
    """The documented fields of one sample; those of the reference as its row has them."""
    values = trace.values
    return {
        "sample_id": trace.sample_id,
        "question": values.get(QUESTION),
        "ground_truth_reasoning": values.get(REASONING),
        "ground_truth_answer": values.get(ANSWER),
        "ground_truth_images": list(reference_of(trace).pictures.values()),
        "output_reasoning": values.get("output_reasoning", trace.text),
        "output_images": list(trace.images),
        "num_reasoning_steps": trace.num_steps,
        "num_generated_images": trace.num_images,
    }


@dataclass(frozen=True, slots=True)
class Reference:
    """What a row expects: its trace, its pictures by name, its answer; and which of these fields cannot be used."""

    reasoning: str
    pictures: dict[str, str]
    answer: str | None
    complaints: tuple[BadField, ...]


def reference_of(trace: Trace) -> Reference:
    """The reference of a sample. A field that cannot be used is as if it were not there, and is complained of."""
    complaints: list[BadField] = []

    def read(reader: Any, *arguments: Any, default: Any) -> Any:
        try:
            return reader(trace.values, *arguments)
        except BadField as bad:
            complaints.append(bad)
            return default

    reasoning = read(text_of, REASONING, default="")
    pictures = read(pictures_of, REASONING_IMAGE, default={})
    answer = read(reference_answer, default=None)
    return Reference(reasoning, pictures, answer, tuple(complaints))
