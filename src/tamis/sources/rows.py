"""Data files -> rows: dicts that know where they stand. A line that is no row becomes a `BadRow`, and the rest goes on."""

from __future__ import annotations

import csv
import datetime
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from tamis.errors import InputError, MissingExtra
from tamis.sources.files import DAMAGE, DataFile, Format

_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_INTEGER = b"0" * 19
_PARQUET_BATCH = 256  # rows decoded at a time


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a source that cannot be used."""

    where: str  # "file:line"
    field: str  # "" when the row as a whole is bad
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.field, self.reason) if part)


class Row(NamedTuple):
    """A row and its place."""

    where: str
    values: dict[str, Any]


def read_rows(files: Sequence[DataFile], bad_rows: list[BadRow]) -> Iterator[Row]:
    """The rows of the files, one file after another, one row in memory at a time.

    Raises:
        InputError: a file that is missing, or is not what its name says.
        MissingExtra: a package of the extra `data` is needed and absent.
    """
    for file in files:
        last = ""
        try:
            for row in _READERS[file.format](file, bad_rows):
                last = row.where
                yield row
        except DAMAGE as error:
            if not last:
                kind = {".gz": "a gzip file", ".zst": "a zstd file"}.get(file.compression, f"a readable {file.format} file")
                advice = "Check that it was copied whole and that its name tells what it is"
                raise InputError(f"{file.path} is not {kind} ({one_line(error)})", advice) from None
            bad_rows.append(BadRow(last, "", f"the file is damaged after this row ({one_line(error)}); the rest is not read"))


def one_line(error: BaseException) -> str:
    """What an exception says, on one line of at most 200 characters."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else f"{text[:199]}…") or type(error).__name__


def _jsonl(file: DataFile, bad_rows: list[BadRow]) -> Iterator[Row]:
    name, first = str(file.path), True
    for number, line in file.lines():
        if not line or line.isspace():
            continue
        if first:
            check_first_line(line, file)
        first = False
        where = f"{name}:{number}"
        try:
            values = read_json(line)
        except (ValueError, RecursionError):
            bad_rows.append(BadRow(where, "", why_not_json(line)))
            continue
        if isinstance(values, dict):
            yield Row(where, values)
        else:
            bad_rows.append(BadRow(where, "", f"{kind_of(values)}, not an object"))


def read_json(line: bytes) -> Any:
    """A line of JSON.

    Raises:
        ValueError, RecursionError: It is none; `why_not_json` says why.
    """
    values = orjson.loads(line)
    if _LONG_INTEGER in line.translate(_DIGITS_AS_ZEROS):  # orjson rounds integers beyond 64 bits to floats
        values = json.loads(line)
    return values


def check_first_line(line: bytes, file: DataFile) -> None:
    """Refuse a file of JSON that does not have one object a line.

    Raises:
        InputError: The first line begins a list, or an object that goes on.
    """
    if line.lstrip()[:1] == b"[" or line.strip() == b"{":
        advice = f"Make it so with: jq -c '.[]' {file.path.name} > rows.jsonl"
        raise InputError(f"{file.path} is not one JSON object a line", advice)


def why_not_json(line: bytes) -> str:
    """What is wrong with a line that orjson does not read."""
    try:
        json.loads(line.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as bad:
        return _not_utf8(bad)
    except json.JSONDecodeError as bad:
        return f"torn or invalid JSON ({bad.msg.removesuffix(' at')} at column {bad.colno})"
    except RecursionError:
        return "invalid JSON (nested too deeply)"
    except ValueError as bad:
        return f"invalid JSON ({one_line(bad)})"
    return "invalid JSON (half a surrogate pair, or a number out of range)"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x} at byte {error.start + 1} of the line)"


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds: dict[type, str] = {bool: "a boolean", str: "text", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def _text(file: DataFile, bad_rows: list[BadRow]) -> Iterator[Row]:
    for number, line in file.lines():
        where = f"{file.path}:{number}"
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            bad_rows.append(BadRow(where, "", _not_utf8(error)))
            continue
        if text:
            yield Row(where, {"question": text})


class _CsvLines:
    """Lines for `csv.reader` that can be read again from the second line of a record that turned out bad."""

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self._again: deque[tuple[int, bytes]] = deque()
        self.record: list[tuple[int, bytes]] = []  # what the present record has taken

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        number, line = self._again.popleft() if self._again else next(self._lines)
        self.record.append((number, line))
        return line.decode("utf-8", "surrogateescape") + "\n"

    def give_back(self) -> None:
        self._again.extendleft(reversed(self.record[1:]))


def _delimited(file: DataFile, bad_rows: list[BadRow]) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # the default, 131,072 characters, is less than one long generation
    lines = _CsvLines(file.lines())
    header: list[str] | None = None
    while True:
        lines.record.clear()
        reader = csv.reader(lines, delimiter="," if file.format == "csv" else "\t", strict=True)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            lines.give_back()
            reason = "a quotation mark is never closed" if "unexpected end" in str(error) else one_line(error)
            bad_rows.append(BadRow(f"{file.path}:{lines.record[0][0]}", "", f"broken quoting ({reason})"))
            continue
        if cells is None:
            return
        if not cells:
            continue
        where = f"{file.path}:{lines.record[0][0]}"
        try:
            for _, line in lines.record:
                line.decode()
        except UnicodeDecodeError as error:
            if header is None:
                raise InputError(f"{where}: the header is {_not_utf8(error)}", "Save the file as UTF-8") from None
            bad_rows.append(BadRow(where, "", _not_utf8(error)))
            continue
        if header is None:
            header = [name.strip() for name in cells]
            twice = sorted({name for name in header if name and header.count(name) > 1})
            if twice:
                raise InputError(f"{where}: two columns are named {twice[0]!r}", "Rename one of them")
        elif len(cells) != len(header):
            bad_rows.append(BadRow(where, "", f"{len(cells)} cells under {len(header)} column names"))
        else:
            yield Row(where, {name: cell for name, cell in zip(header, cells, strict=True) if name})


def _parquet(file: DataFile, _: list[BadRow]) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("reading .parquet files", "data") from None
    with file.open() as stream:
        number = 0
        try:
            for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(_PARQUET_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{file.path}:{number}", plain(values))
        except pyarrow.ArrowException as error:
            raise OSError(one_line(error)) from None


def plain(value: Any) -> Any:
    """A value of a typed table as JSON could hold it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value == value else None  # missing numbers of a column of integers arrive as NaN
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return str(value)


def no_rows(name: str, bad_rows: Sequence[BadRow]) -> InputError:
    """The error of a source that gives nothing."""
    if not bad_rows:
        return InputError(f"{name} holds no rows", "Give a file with one problem a row")
    return InputError(f"none of the {len(bad_rows)} rows of {name} can be used; the first is {bad_rows[0]}", "Correct the file")


_READERS: dict[Format, Callable[[DataFile, list[BadRow]], Iterator[Row]]] = {
    "jsonl": _jsonl,
    "text": _text,
    "csv": _delimited,
    "tsv": _delimited,
    "parquet": _parquet,
}
