"""Problems in texts and pictures that expect reasoning in both: the JSONL rows of the source document s0.

A row has `Question`, in which `<image_start>[problem_image_1]<image_end>` says where a picture stands, the pictures as
`problem_image_1`, ..., and, to be compared with, `Text Reasoning Trace`, `reasoning_image_1`, ... and `Final Answer`.
Its id is its own `sample_id` or `id`, else the place of its line in the file, from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tamis.errors import InputError, UsageError
from tamis.images import check_image
from tamis.records import Image
from tamis.sources.fields import BadField, as_text
from tamis.sources.files import DataFile
from tamis.sources.rows import BadRow, Row, kind_of, no_rows, read_rows
from tamis.sources.seen import Seen

QUESTION, REASONING, ANSWER = "Question", "Text Reasoning Trace", "Final Answer"
PROBLEM_IMAGE, REASONING_IMAGE = "problem_image", "reasoning_image"

ImageOrder = Literal["inline", "after"]
"""Pictures where their placeholders are, or all of them behind the text."""

IDS = ("sample_id", "id")
"""Fields that may hold a row's own id."""
_LONGEST_ID = 200
_LONGEST_SHOWN = 300
_NAMELESS = re.compile(r"line [0-9]+")
_MARK = re.compile(r"<image_start>\[([^\[\]<>]*)\]<image_end>")
_ANY_MARK = re.compile(r"<image_(?:start|end)>")


@dataclass(frozen=True, slots=True)
class InterleavedProblem:
    """One row, its pictures found and their headers read."""

    sample_id: int | str
    items: tuple[str | Image, ...]  # what is given, in order
    images: tuple[Image, ...]  # its pictures, each once, by their numbers
    values: Mapping[str, Any]  # the row, untouched
    where: str


@dataclass(frozen=True, slots=True)
class BadProblem(BadRow):
    """A row that cannot be used, and what can be said of it all the same."""

    sample_id: int | str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """Where paths of pictures lead: absolute ones, then from the working directory, then from the folders of the data."""

    folders: tuple[Path, ...]
    is_restricted: bool = False  # to what lies in one of these folders

    def find(self, path: str) -> Path:
        """The file.

        Raises:
            InputError: There is none, or it lies outside.
        """
        roots = (Path(), *self.folders)
        found = next((place for root in roots if is_there(place := root / path)), None)
        if found is None:
            raise InputError(f"no such image: {path if len(path) <= _LONGEST_SHOWN else f'{path[:_LONGEST_SHOWN]}...'}")
        if self.is_restricted and not any(found.resolve().is_relative_to(root.resolve()) for root in roots):
            raise InputError(f"the image {path} lies outside of the working directory and of the folder of the data")
        return found


def is_there(path: Path) -> bool:
    """Whether there is a file or a folder of that name, which may be none that one could have."""
    try:
        return path.exists()
    except (OSError, ValueError):  # no name that a file could have
        return False


def read_interleaved(
    path: Path,
    *,
    order: ImageOrder = "inline",
    start: int = 0,
    end: int | None = None,
    is_restricted: bool = False,
    bad_rows: list[BadRow],
) -> Iterator[InterleavedProblem]:
    """Stream the problems of the lines `start` (from 0) to before `end`; an id counts as taken from its first row on.

    Args:
        path: A .jsonl file, also .gz or .zst.
        order: With `after` placeholders are taken out of the text, and need not be there.
        start: The first line.
        end: The line before which to stop; None: the end.
        is_restricted: Whether pictures must lie in the working directory or beside the file.
        bad_rows: Rows that cannot be used are appended here (see `bad_problem`); the rest goes on.

    Raises:
        InputError: The file cannot be read, or none of its rows can be used.
        UsageError: It is no JSONL, or the lines are no range.
    """
    file = DataFile.of(path)
    if file is None or file.format != "jsonl":
        raise UsageError(f"{path} is not a .jsonl file", "Give one JSON object a line")
    if start < 0:
        raise UsageError(f"--start-idx is {start}", "Lines are counted from 0")
    if end is not None and end <= start:
        raise UsageError(f"the lines {start} to {end} are none", "Let --end-idx be above --start-idx")
    return _problems(file, Places((path.parent,), is_restricted), order, start, end, bad_rows)


def _problems(
    file: DataFile, places: Places, order: ImageOrder, start: int, end: int | None, bad_rows: list[BadRow]
) -> Iterator[InterleavedProblem]:
    seen = Seen()
    unread: list[BadRow] = []
    first_bad, num_read, index = len(bad_rows), 0, -1
    for row in read_rows([file], unread):
        index = _index(row.where)
        if end is not None and index >= end:
            break
        sample_id: int | str = _nameless(row.where)
        try:
            sample_id = _sample_id(row.values, index)
            is_taken = str(sample_id) in seen
            seen.add(str(sample_id))
            if index < start:
                continue
            if is_taken:
                taken, sample_id = sample_id, _nameless(row.where)
                raise BadField("sample_id", f"{taken!r} was given to an earlier row")
            problem = _problem(row, sample_id, order, places)
        except BadField as bad:
            unread.append(BadProblem(row.where, bad.field, bad.reason, sample_id, row.values))
            continue
        num_read += 1
        _move(unread, bad_rows, start, end)
        yield problem
    _move(unread, bad_rows, start, end)
    if index < start and not bad_rows[first_bad:]:
        raise InputError(f"{file.path} ends before --start-idx {start}", "Lines are counted from 0")
    if not num_read:
        raise no_rows(str(file.path), bad_rows[first_bad:])


def bad_problem(bad: BadRow) -> BadProblem:
    """A row that cannot be used as a problem; one whose line is no object has no fields."""
    return bad if isinstance(bad, BadProblem) else BadProblem(bad.where, bad.field, bad.reason, _nameless(bad.where), {})


def line_number(where: str) -> int:
    """The line, from 1, of a row that is somewhere."""
    return int(where.rpartition(":")[2])


def _nameless(where: str) -> str:
    """An id for a row that has none, or that of another."""
    return f"line {line_number(where)}"


def _move(unread: list[BadRow], bad_rows: list[BadRow], start: int, end: int | None) -> None:
    """Pass on what is wrong with the lines that are asked for."""
    bad_rows += [bad for bad in unread if start <= _index(bad.where) and (end is None or _index(bad.where) < end)]
    unread.clear()


def _index(where: str) -> int:
    return line_number(where) - 1


def _sample_id(values: Mapping[str, Any], index: int) -> int | str:
    name = next((name for name in IDS if values.get(name) is not None), None)
    sample_id = index if name is None else read_id(name, values[name])
    if isinstance(sample_id, str) and _NAMELESS.fullmatch(sample_id):
        raise BadField(name or "", f"{sample_id!r} is what rows without an id of their own are called")
    return sample_id


def read_id(name: str, value: Any) -> int | str:
    """The value of a field as an id.

    Raises:
        BadField: It is neither a whole number nor some text.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip() and len(value) <= _LONGEST_ID:
        return value
    raise BadField(name, f"is no whole number and no text of 1 to {_LONGEST_ID} characters")


def _problem(row: Row, sample_id: int | str, order: ImageOrder, places: Places) -> InterleavedProblem:
    question = text_of(row.values, QUESTION)
    if not question.strip():
        raise BadField(QUESTION, "is empty" if QUESTION in row.values else "is missing")
    text_of(row.values, REASONING)
    reference_answer(row.values)
    pictures_of(row.values, REASONING_IMAGE)
    given = pictures_of(row.values, PROBLEM_IMAGE)
    _check_marks(question, given, order)
    found: dict[str, Image] = {}
    for name, path in given.items():
        try:
            place = places.find(path)
            check_image(place)
        except InputError as error:
            raise BadField(name, error.message) from None
        found[name] = Image(str(place))
    if order == "after":
        words = " ".join(part for part in laid_out(question, found) if isinstance(part, str))
        items: tuple[str | Image, ...] = (*((words,) if words else ()), *found.values())
    else:
        items = laid_out(question, found)
    return InterleavedProblem(sample_id, items, tuple(found.values()), row.values, row.where)


def _check_marks(question: str, given: Mapping[str, str], order: ImageOrder) -> None:
    named = _MARK.findall(question)
    if wrong := next((name for name in named if name not in given), None):
        raise BadField(QUESTION, f"the placeholder [{wrong}] has no image")
    if _ANY_MARK.search(_MARK.sub("", question)) or "" in named:
        raise BadField(QUESTION, f"a placeholder that is not <image_start>[{PROBLEM_IMAGE}_1]<image_end>")
    if order == "inline" and (left := next((name for name in given if name not in named), None)):
        raise BadField(left, f"has no placeholder in {QUESTION} (--image-order after needs none)")


# --- what stands in a row --------------------------------------------------------------------------------------------


def text_of(values: Mapping[str, Any], name: str) -> str:
    """The text of a field; empty where there is none.

    Raises:
        BadField: It is no text.
    """
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadField(name, f"is {kind_of(value)}, not text")
    return value


def reference_answer(values: Mapping[str, Any]) -> str | None:
    """The answer that a row expects; None where it has none.

    Raises:
        BadField: It is neither text nor a number.
    """
    value = values.get(ANSWER)
    return None if value is None or value == "" else as_text(ANSWER, value)


def pictures_of(values: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The paths of a kind of pictures, `problem_image_1` and so on, by their numbers; fields without a value do not count.

    Raises:
        BadField: One is no text.
    """
    numbered = {name: int(name[len(kind) + 1 :]) for name in values if re.fullmatch(rf"{kind}_[0-9]{{1,6}}", name)}
    found = {}
    for name in sorted(numbered, key=lambda name: (numbered[name], name)):
        if values[name] is None or values[name] == "":
            continue
        if not isinstance(values[name], str):
            raise BadField(name, f"is {kind_of(values[name])}, not the path of an image")
        found[name] = values[name]
    return found


def laid_out(text: str, pictures: Mapping[str, Image]) -> tuple[str | Image, ...]:
    """A text with its pictures where their placeholders are; blank stretches are left out."""
    parts: list[str | Image] = []
    start = 0
    for mark in _MARK.finditer(text):
        if (picture := pictures.get(mark[1])) is not None:
            parts += [text[start : mark.start()].strip(), picture]
            start = mark.end()
    parts.append(text[start:].strip())
    return tuple(part for part in parts if part != "")


def without_marks(text: str) -> str:
    """The text without its placeholders."""
    return _MARK.sub(" ", text)
