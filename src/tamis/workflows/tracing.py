"""From solutions to samples, and from the samples of a problem to its line in the results.

candidates/                       a run folder: everything that was written and drawn
  images/<sample_id>/<index>_1.png
results.jsonl, output_images/     made of it: of each problem the candidate that is chosen
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.bagel.settings import Ending, Solution, Thought
from tamis.identity import file_stem
from tamis.records import FinishReason, Image, Pool, Problem, Sample, Sampling, TokenStats
from tamis.score import score_pool, why_unscored
from tamis.sources.interleaved import BadProblem, InterleavedProblem, line_number
from tamis.store import RunFolder
from tamis.store.traces import TraceFolder, save_picture, unwritable

BETWEEN = "\n\n"
"""Stands behind every thought that a picture follows: so the texts of a sample, joined, are those of its trace."""

_REASONS: dict[Ending, FinishReason] = {
    "stop": "stop",
    "empty": "stop",
    "length": "length",
    "iterations": "cut",
    "error": "error",
}


class Traces:
    """The results of a run, made of its candidates."""

    def __init__(self, path: Path, candidates: RunFolder, method: str) -> None:
        """Open the results in a folder; `method` is the score that chooses.

        Raises:
            RunFolderError: See `TraceFolder`.
        """
        self.folder = TraceFolder(path)
        self._candidates, self._method = candidates, method

    def keep(self, solution: Solution, sample_id: int | str, index: int, seed: int, sampling: Sampling) -> Sample:
        """Bring a candidate into the run folder: its pictures, then its line; a reader of the line finds all of them.

        Raises:
            RunFolderError: The disk is full or gone.
        """
        pictures = [part for part in solution.parts if not isinstance(part, Thought)]
        paths = [f"images/{file_stem(str(sample_id))}/{index}_{number + 1}.png" for number in range(len(pictures))]
        try:
            for path, picture in zip(paths, pictures, strict=True):
                place = self._candidates.path / path
                place.parent.mkdir(parents=True, exist_ok=True)
                save_picture(picture, place)
        except OSError as error:
            raise unwritable(self._candidates.path, error) from error
        thoughts = [part for part in solution.parts if isinstance(part, Thought)]
        texts = _texts(solution)
        sample = Sample(
            key=solution.id,
            problem_id=str(sample_id),
            index=index,
            seed=seed,
            sampling=sampling,
            parts=tuple(_in_order(solution, texts, map(Image, paths))),
            finish_reason=_REASONS[solution.ending],
            completion_tokens=sum(len(thought.stats) for thought in thoughts),
            seconds=solution.seconds,
            error=solution.error,
            stats=_joined([thought.stats for thought in thoughts], texts),
        )
        self._candidates.append(sample)
        return sample

    def put(self, problem: InterleavedProblem, samples: Sequence[Sample]) -> None:
        """Write the line of a problem whose candidates are all there; nothing happens where it is there already."""
        pool = Pool(Problem(str(problem.sample_id)), tuple(samples))
        scores = score_pool(pool, [self._method])[0][self._method]
        best = _best(samples, scores)
        chosen = samples[best]
        more: dict[str, Any] = {**_told(chosen), "seconds": round(sum(sample.seconds for sample in samples), 4)}
        more |= {"score": scores[best], "score_method": self._method}
        if scores[best] is None:
            more["unscored"] = why_unscored(chosen, self._method)
        if len(samples) > 1:
            order = sorted(range(len(samples)), key=lambda place: place != best)
            more |= {"chosen": chosen.index, "candidates": [self._candidate(samples[i], scores[i], i == best) for i in order]}
        self.folder.write(
            problem.sample_id,
            line_number(problem.where),
            problem.values,
            self._parts(chosen),
            [Path(image.path) for image in problem.images],
            error=_why(chosen),
            more=more,
        )

    def put_bad(self, bad: BadProblem) -> None:
        """Write the line of a row that cannot be used."""
        error = ": ".join(part for part in ("input", bad.field, bad.reason) if part)
        self.folder.write(bad.sample_id, line_number(bad.where), bad.values, error=error)

    def _parts(self, sample: Sample) -> list[str | Path]:
        """Texts, and the files of pictures."""
        root = self._candidates.path
        parts: list[str | Path] = [part if isinstance(part, str) else root / part.path for part in sample.parts]
        for place, part in enumerate(parts[:-1]):
            if isinstance(part, str):
                parts[place] = part.removesuffix(BETWEEN)
        return [part for part in parts if part != ""]

    def _candidate(self, sample: Sample, score: float | None, is_chosen: bool) -> dict[str, Any]:  # noqa: FBT001
        parts = self._parts(sample)
        listed = [{"text": part} if isinstance(part, str) else {"image": str(part)} for part in parts]
        row = {"index": sample.index, "chosen": is_chosen, "score": score, **_told(sample), "output_parts": listed}
        return {**row, "error": _why(sample)} if sample.error else row


def is_whole(candidates: RunFolder, key: str) -> bool:
    """Whether a finished candidate can be read, and its pictures are there: a crash of the machine may have cost them."""
    sample = candidates.load(key)
    if sample is None:
        return False
    files = (candidates.path / part.path for part in sample.parts if isinstance(part, Image))
    return all(file.is_file() and file.stat().st_size for file in files)


def ending_of(sample: Sample) -> Ending:
    """How a sample ended."""
    if sample.finish_reason in ("error", "length"):
        return sample.finish_reason
    if sample.finish_reason == "cut":
        return "iterations"
    return "stop" if sample.parts and isinstance(sample.parts[-1], str) and sample.parts[-1] else "empty"


def _told(sample: Sample) -> dict[str, Any]:
    ending = ending_of(sample)
    return {"ending": ending, "truncated": ending in ("iterations", "length"), "num_tokens": sample.completion_tokens}


def _why(sample: Sample) -> str:
    return f"{sample.error.boundary}: {sample.error.message}" if sample.error else ""


def _best(samples: Sequence[Sample], scores: Sequence[float | None]) -> int:
    """The place of the best score among those that came to an end; failing these, of those that have a score; else the first.

    A trace that was cut off has no answer, however sure of itself it was.
    """

    def rank(place: int) -> tuple[bool, bool, float, int]:
        score = scores[place]
        value = float("-inf") if score is None else score
        return not samples[place].error, ending_of(samples[place]) == "stop", value, -place

    return max(range(len(samples)), key=rank)


def _texts(solution: Solution) -> list[str]:
    """The thoughts, each that a picture follows with what stands between."""
    last = len(solution.parts) - 1
    return [
        part.text + (BETWEEN if place < last else "") for place, part in enumerate(solution.parts) if isinstance(part, Thought)
    ]


def _in_order(solution: Solution, texts: Iterable[str], paths: Iterable[Image]) -> Iterable[str | Image]:
    texts, paths = iter(texts), iter(paths)
    return (next(texts) if isinstance(part, Thought) else next(paths) for part in solution.parts)


def _joined(stats: Sequence[TokenStats], texts: Sequence[str]) -> TokenStats | None:
    """The statistics of all texts, as of one."""
    if not stats:
        return None
    lengths = np.cumsum([0, *map(len, texts)])
    starts = [each.starts + offset for each, offset in zip(stats, lengths, strict=False)]
    return TokenStats(
        values=np.concatenate([each.values for each in stats]),
        ids=np.concatenate([each.ids for each in stats]),
        starts=np.concatenate(starts).astype(np.int32),
        vocab_size=stats[0].vocab_size,
    )
