"""The samples of an evaluation as cards of a page, their pictures reduced and embedded as long as there is room."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from tamis.engines.pictures import open_picture
from tamis.errors import TamisError
from tamis.identity import file_stem
from tamis.records import Image, Trace
from tamis.records.traced import IMAGES_FOLDER
from tamis.sources.fields import BadField
from tamis.sources.interleaved import PROBLEM_IMAGE, QUESTION, laid_out, pictures_of
from tamis.sources.traces import TraceFile
from tamis.view.gallery import Card, MetricLine, Parts, Picture, card, write_gallery
from tamis.workflows.evaluating_traces import Judged, TraceEvaluation
from tamis.workflows.trace_files import reference_of

MOST_SAMPLES = 1000
ROOM = 24 << 20  # bytes of embedded pictures in all
SIDE = 448  # pixels of the longer side of an embedded picture, at most

_REASONS = {"no_reference": "there is no reference", "nothing_drawn": "nothing was drawn", "unreadable": "no pair can be read"}
_REASONS |= {
    "identical": "every pair is identical",
    "too_small": "the pictures are too small",
    "nothing_written": "nothing was written",
}


class Gallery:
    """Takes in samples, and writes the page."""

    def __init__(self, evaluation: TraceEvaluation, path: Path) -> None:
        self._results: TraceFile = evaluation.results
        self._places = evaluation.places
        self._path = path
        self._room = ROOM
        self._num_linked = 0
        self._num_left = 0
        self._cards: list[str] = []

    def add(self, trace: Trace, judged: Judged | None) -> None:
        """Take in the next sample."""
        if len(self._cards) == MOST_SAMPLES:
            self._num_left += 1
            return
        self._cards.append(card(self._card(trace, judged)))

    def write(self, facts: Mapping[str, str], metrics: Sequence[MetricLine], warnings: Sequence[str]) -> None:
        """Write the page.

        Raises:
            OSError: The file cannot be written.
        """
        notes = [*warnings]
        if self._num_left:
            notes.append(f"The page shows the first {MOST_SAMPLES} samples; {self._num_left} more are in the files.")
        if self._num_linked:
            notes.append(f"{self._num_linked} pictures had no room in the page: they are links to files.")
        write_gallery(self._path, "Tamis: reasoning in text and pictures", facts, metrics, self._cards, notes)

    def _card(self, trace: Trace, judged: Judged | None) -> Card:
        reference = reference_of(trace)
        pictures = {name: Image(path) for name, path in reference.pictures.items()}
        grade = judged.grade if judged else None
        reasons = judged.measured.reasons if judged else {}
        return Card(
            sample_id=str(trace.sample_id),
            verdict=_verdict(judged),
            problem=self._problem(trace),
            made=self._shown(trace.parts, self._results.picture),
            expected=self._shown(_with_all(reference.reasoning, pictures), self._places.find),
            answer=grade.answer if grade else None,
            expected_answer=reference.answer,
            scores={**judged.measured.scores, **dict.fromkeys(reasons)} if judged else None,
            notes=[
                *(f"no {name}: {_REASONS.get(why, why)}" for name, why in reasons.items()),
                *(str(bad) for bad in (judged.measured.complaints if judged else ())),
            ],
            counts=f"{trace.num_steps} steps · {trace.num_images} of {len(pictures)} pictures",
            truncated=trace.truncated,
            error=trace.error,
        )

    def _problem(self, trace: Trace) -> Parts:
        question = trace.values.get(QUESTION)
        try:
            given = {name: self._copy(trace, name, path) for name, path in pictures_of(trace.values, PROBLEM_IMAGE).items()}
        except BadField:
            given = {}
        return self._shown(_with_all(question if isinstance(question, str) else "", given), self._places.find)

    def _copy(self, trace: Trace, name: str, path: str) -> Image:
        """A picture of the problem: the copy among the results, or where it came from."""
        copy = self._results.folder / IMAGES_FOLDER / file_stem(str(trace.sample_id)) / f"{name}.png"
        return Image(str(copy) if copy.is_file() else path)

    def _shown(self, parts: Sequence[str | Image], find: Callable[[str], Path]) -> Parts:
        return [part if isinstance(part, str) else self._picture(part.path, find) for part in parts]

    def _picture(self, path: str, find: Callable[[str], Path]) -> Picture:
        name = Path(path).name
        try:
            place = find(path)
            if self._room <= 0:
                self._num_linked += 1
                return Picture(name, link=self._link(place))
            source = _data_url(str(place))
        except TamisError as error:
            return Picture(name, note=error.message)
        self._room -= len(source)
        return Picture(name, source=source)

    def _link(self, place: Path) -> str:
        return quote(Path(os.path.relpath(place.resolve(), self._path.resolve().parent)).as_posix())


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


def _data_url(path: str) -> str:
    """A picture in the smaller of two forms, reduced.

    Raises:
        TamisError: It cannot be opened.
    """
    picture = open_picture(path)
    picture.thumbnail((SIDE, SIDE))
    forms = {}
    for name in ("png", "jpeg"):
        buffer = BytesIO()
        picture.save(buffer, format=name, quality=85)  # of which PNG takes no notice
        forms[name] = buffer.getvalue()
    kind = min(forms, key=lambda name: len(forms[name]))
    return f"data:image/{kind};base64,{base64.b64encode(forms[kind]).decode()}"
