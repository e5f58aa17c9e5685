"""The samples of an evaluation as cards of a page, their pictures reduced and embedded as long as there is room."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tamis.errors import TamisError
from tamis.identity import file_stem
from tamis.records import Image, Trace
from tamis.records.traced import IMAGES_FOLDER
from tamis.sources.fields import BadField
from tamis.sources.interleaved import PROBLEM_IMAGE, QUESTION, laid_out, pictures_of
from tamis.sources.traces import TraceFile, other_candidates
from tamis.view.gallery import METRIC_NAMES, Cards, MetricLine, counts_of, write_gallery
from tamis.view.text import count, number
from tamis.view.trace_card import Card, Parts, Picture, kinds_of
from tamis.workflows.evaluating_traces import SCORES_FILE, Judged, TraceEvaluation
from tamis.workflows.page_pictures import Room
from tamis.workflows.trace_files import Reference, reference_of

MOST_SAMPLES = 1000
ROOM = 24 << 20  # bytes of embedded pictures in all

_REASONS = {"no_reference": "there is no reference", "nothing_drawn": "nothing was drawn", "unreadable": "no pair can be read"}
_REASONS |= {
    "identical": "every pair is identical",
    "too_small": "the pictures are too small",
    "nothing_written": "nothing was written",
}
_ENDINGS = {"stop": "came to its end", "empty": "ended without an answer", "error": "failed"}
_ENDINGS |= {"length": "cut off: too many tokens", "iterations": "cut off: too many steps"}

Found = Sequence[str | Path | Picture]
"""Texts, files of pictures, and pictures of which there is no file."""


class Gallery:
    """Takes in samples, and writes the page."""

    def __init__(self, evaluation: TraceEvaluation, path: Path) -> None:
        self._results: TraceFile = evaluation.results
        self._places = evaluation.places
        self._path = path
        self._room = Room(ROOM, min(len(self._results), MOST_SAMPLES), self._link)
        self._cards = Cards()
        self._left_out: Counter[str] = Counter()
        self._num_left = 0

    def add(self, trace: Trace, judged: Judged | None) -> None:
        """Take in the next sample."""
        if len(self._cards) == MOST_SAMPLES:
            self._num_left += 1
            self._left_out.update(kinds_of(_verdict(judged), trace.truncated))
            return
        self._room.begin_sample()
        self._cards.add(self._card(trace, judged))

    def write(self, facts: Mapping[str, str], metrics: Sequence[MetricLine], warnings: Sequence[str]) -> None:
        """Write the page.

        Raises:
            OSError: The file cannot be written.
        """
        notes = []
        if self._room.num_reduced:
            notes.append("A picture whose name is a link is smaller here than its file.")
        if self._room.num_linked:
            notes.append(f"{count(self._room.num_linked)} pictures had no room in the page: they are links to files.")
        if self._num_left:
            left = f"{count(self._num_left)} more are not ({counts_of(self._left_out)})"
            warnings = [*warnings, f"The first {count(MOST_SAMPLES)} samples are shown; {left}: see {SCORES_FILE}."]
        write_gallery(self._path, "Reasoning in text and pictures", facts, metrics, self._cards, warnings, notes)

    def _card(self, trace: Trace, judged: Judged | None) -> Card:
        reference = reference_of(trace)
        problem, made, expected = self._embedded(
            self._problem(trace), _found(trace.parts, self._results.picture), self._expected(reference)
        )
        reasons = judged.measured.reasons if judged else {}
        scores = {**judged.measured.scores, **dict.fromkeys(reasons)} if judged else {}
        return Card(
            sample_id=str(trace.sample_id),
            verdict=_verdict(judged),
            problem=problem,
            made=made,
            expected=expected,
            answer=judged.grade.answer if judged else None,
            expected_answer=reference.answer,
            scores={METRIC_NAMES.get(name, name): value for name, value in scores.items()},
            choice=_choice(trace.values),
            others=self._others(trace),
            notes=[*_why_unscored(reasons), *(str(bad) for bad in (judged.measured.complaints if judged else ()))],
            counts=_counts(trace, reference),
            is_ordered=trace.values.get("output_parts") is not None or not trace.images,
            truncated=trace.truncated,
            error=trace.error,
        )

    def _others(self, trace: Trace) -> list[tuple[str, Parts]]:
        """The candidates of a row that were not chosen."""
        others = list(other_candidates(trace.values))
        shown = self._embedded(*(_found(each.parts, self._results.picture) for each in others))
        labels = (f"Candidate {each.index}: {_score(each.score)}, {_ENDINGS.get(each.ending, each.ending)}" for each in others)
        return list(zip(labels, shown, strict=True))

    def _problem(self, trace: Trace) -> Found:
        question = trace.values.get(QUESTION)
        try:
            given = {name: self._copy(trace, name, path) for name, path in pictures_of(trace.values, PROBLEM_IMAGE).items()}
        except BadField:
            given = {}
        return _found(_with_all(question if isinstance(question, str) else "", given), self._places.find)

    def _copy(self, trace: Trace, name: str, path: str) -> Image:
        """A picture of the problem: the copy among the results, or where it came from."""
        copy = self._results.folder / IMAGES_FOLDER / file_stem(str(trace.sample_id)) / f"{name}.png"
        return Image(str(copy) if copy.is_file() else path)

    def _expected(self, reference: Reference) -> Found:
        pictures = {name: Image(path) for name, path in reference.pictures.items()}
        return _found(_with_all(reference.reasoning, pictures), self._places.find)

    def _embedded(self, *sections: Found) -> list[Parts]:
        """The same with pictures: there is room for those of all sections, or for none."""
        files = [part for section in sections for part in section if isinstance(part, Path)]
        pictures = iter(self._room.embed(files))
        return [[next(pictures) if isinstance(part, Path) else part for part in section] for section in sections]

    def _link(self, place: Path) -> str:
        return quote(Path(os.path.relpath(place.resolve(), self._path.resolve().parent)).as_posix())


def _found(parts: Sequence[str | Image], find: Callable[[str], Path]) -> Found:
    """The files of pictures."""
    return [part if isinstance(part, str) else _place(part.path, find) for part in parts]


def _place(path: str, find: Callable[[str], Path]) -> Path | Picture:
    try:
        return find(path)
    except TamisError as error:
        return Picture(Path(path).name, note=error.message)


def _with_all(text: str, pictures: Mapping[str, Image]) -> tuple[str | Image, ...]:
    """A text with its pictures in their places, and behind it those that have none."""
    parts = laid_out(text, pictures)
    return (*parts, *(picture for picture in pictures.values() if picture not in parts))


def _verdict(judged: Judged | None) -> str:
    if judged is None:
        return "failed"
    if judged.grade.correct is None:
        return "ungraded"
    return "none" if judged.grade.answer is None else "right" if judged.grade.correct else "wrong"


def _counts(trace: Trace, reference: Reference) -> str:
    """Steps and pictures, in words."""
    drawn, wanted = trace.num_images, len(reference.pictures)
    pictures = f"{drawn} of {wanted}" if wanted else str(drawn)
    plural = "s" if max(drawn, wanted) != 1 else ""
    return f"{trace.num_steps} step{'s' if trace.num_steps != 1 else ''} · {pictures} picture{plural}"


def _why_unscored(reasons: Mapping[str, str]) -> Iterator[str]:
    """A line a reason."""
    for reason in dict.fromkeys(reasons.values()):
        names = ", ".join(METRIC_NAMES.get(name, name) for name, why in reasons.items() if why == reason)
        yield f"no {names}: {_REASONS.get(reason, reason)}"


def _choice(values: Mapping[str, object]) -> str:
    """How the candidate that a row of Tamis shows was chosen; nothing where there was but one."""
    match values:
        case {"candidates": [_, _, *_] as listed, "chosen": int(index), "score_method": str(method)}:
            score, why = values.get("score"), values.get("unscored")
            reason = f" ({why.replace('_', ' ')})" if isinstance(why, str) else ""
            said = _score(score if isinstance(score, float) else None)
            return f"candidate {index}, chosen of {len(listed)} by {method}: {said}{reason}"
    return ""


def _score(score: float | None) -> str:
    return "no score" if score is None else f"score {number(score)}"
