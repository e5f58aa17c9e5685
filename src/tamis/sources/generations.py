"""Graded generations: rows with a prompt, what a model wrote, and how right that is; large files in ranges of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from tamis.errors import InputError
from tamis.sources.fields import BadField
from tamis.sources.files import READABLE, DataFile
from tamis.sources.locate import locate_files
from tamis.sources.parts import was_cut
from tamis.sources.rows import BadRow, check_first_line, kind_of, read_json, read_rows, why_not_json

RANGE_BYTES = 16 << 20
"""Of a part of a file, at most: what one process has in its hands."""


@dataclass(frozen=True, slots=True)
class GenerationFields:
    """The names of the columns."""

    prompt: str = "prompt"
    gen: str = "gen"
    answer: str = "answer"
    accuracy: str = "accuracy"


class Generation(NamedTuple):
    """One row. `texts` has several elements where `gen` is a list; they count as one generation."""

    prompt: str
    answer: Any  # the reference as it stands; None where there is none
    texts: tuple[str, ...]
    accuracy: float
    truncated: bool | None  # None: the row does not say


class FileRange(NamedTuple):
    """The lines of a file that begin between two bytes; `stop` None: all of them."""

    number: int  # of the file
    file: DataFile
    start: int = 0
    stop: int | None = None

    @property
    def num_bytes(self) -> int:
        """How long it is."""
        return (self.file.path.stat().st_size if self.stop is None else self.stop) - self.start


Refuse = Callable[[int, str, str], None]
"""Told the line in the range, the field and the reason of each row that cannot be used, in order."""


def find_generations(path: Path, pattern: str) -> tuple[DataFile, ...]:
    """A file; or those of a folder whose names, without .gz or .zst, match a glob pattern, in order of name.

    Raises:
        InputError: There is none.
    """
    if not path.is_dir():
        return locate_files(path).files
    names = sorted({*path.glob(pattern), *path.glob(f"{pattern}.gz"), *path.glob(f"{pattern}.zst")})
    found = [DataFile.of(name) for name in names if name.is_file()]
    files = tuple(file for file in found if file)
    if not files:
        raise InputError(f"no file in {path} matches {pattern}", f"Give --input-file-pattern; readable are {READABLE}")
    return files


def ranges(files: Sequence[DataFile], size: int = RANGE_BYTES) -> Iterator[FileRange]:
    """Pieces of about equal size of the files that can be entered anywhere, the others whole."""
    for number, file in enumerate(files):
        num_bytes = file.path.stat().st_size
        if file.format != "jsonl" or file.compression or num_bytes <= size:
            yield FileRange(number, file)
            continue
        num = -(-num_bytes // size)
        for start, stop in pairwise(num_bytes * i // num for i in range(num + 1)):
            yield FileRange(number, file, start, stop)


def read_generations(part: FileRange, fields: GenerationFields, refuse: Refuse) -> Iterator[Generation | None]:
    """The rows of a range, in order; None where a line gives none, so that lines can be counted.

    Raises:
        InputError: The file cannot be read.
    """
    rows = _json_rows(part, refuse) if part.file.format == "jsonl" and not part.file.compression else _rows(part, refuse)
    for line, values in rows:
        if values is None:
            yield None
            continue
        try:
            yield read_generation(values, fields)
        except BadField as bad:
            refuse(line, bad.field, bad.reason)
            yield None


def _json_rows(part: FileRange, refuse: Refuse) -> Iterator[tuple[int, dict[str, Any] | None]]:
    is_first = part.start == 0
    for number, line in part.file.lines_between(part.start, part.stop):
        if not line or line.isspace():
            yield number, None
            continue
        if is_first:
            check_first_line(line, part.file)
        is_first = False
        try:
            values = read_json(line)
        except (ValueError, RecursionError):
            refuse(number, "", why_not_json(line))
            values = None
        else:
            if not isinstance(values, dict):
                refuse(number, "", f"{kind_of(values)}, not an object")
                values = None
        yield number, values


def _rows(part: FileRange, refuse: Refuse) -> Iterator[tuple[int, dict[str, Any] | None]]:
    unread: list[BadRow] = []

    def refuse_unread() -> None:
        for bad in unread:
            refuse(_line(bad.where), bad.field, bad.reason)
        unread.clear()

    for row in read_rows([part.file], unread):
        refuse_unread()
        yield _line(row.where), row.values
    refuse_unread()


def _line(where: str) -> int:
    return int(where.rpartition(":")[2])


def read_generation(values: Mapping[str, Any], fields: GenerationFields) -> Generation:
    """A row of documented columns.

    Raises:
        BadField: The prompt is missing, the generation is no text or list of texts, or the accuracy is no finite number.
    """
    prompt, gen = values.get(fields.prompt), values.get(fields.gen)
    if not isinstance(prompt, str):
        raise BadField(fields.prompt, _not(values, fields.prompt, "text"))
    if isinstance(gen, str):
        texts: tuple[str, ...] = (gen,)
    elif isinstance(gen, list) and all(isinstance(text, str) for text in gen):
        texts = tuple(gen)
    else:
        raise BadField(fields.gen, _not(values, fields.gen, "text or a list of texts"))
    accuracy = _number(values.get(fields.accuracy))
    if accuracy is None:
        raise BadField(fields.accuracy, _not(values, fields.accuracy, "a number"))
    return Generation(prompt, values.get(fields.answer), texts, accuracy, was_cut(values))


def _number(value: Any) -> float | None:
    """A finite number; the cells of a CSV are text."""
    try:
        number = float(value) if isinstance(value, int | float | str) else float("nan")
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _not(values: Mapping[str, Any], name: str, wanted: str) -> str:
    if name not in values:
        return "is missing"
    value = values[name]
    if isinstance(value, float | str) and wanted == "a number":
        return f"is not a finite number: {str(value)[:40]!r}"
    return f"is {kind_of(value)}, not {wanted}"
