"""Statistics of prompts -> files: JSON as documented, CSV, Parquet, and the prompts that are worth training on."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.errors import MissingExtra, UsageError
from tamis.store import RowFile
from tamis.store.files import encode, write_atomically
from tamis.workflows.summarising import Summary

if TYPE_CHECKING:
    import polars


def write_summary(summary: Summary, path: Path) -> None:
    """The statistics in the form that the end of the name says."""
    FORMATS[path.suffix.lower()](summary, path)


def check_format(path: Path) -> None:
    """Refuse an unknown ending before anything is counted.

    Raises:
        UsageError: Nothing is written under such a name.
        MissingExtra: Parquet without polars.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--output-filename {path.name}: unknown ending", f"Use one of: {', '.join(FORMATS)}")
    if path.suffix.lower() == ".parquet":
        _polars()


def _write_json(summary: Summary, path: Path) -> None:
    write_atomically(path, _json_lines(summary))


def _json_lines(summary: Summary) -> Iterator[bytes]:
    """One list of objects, indented, their lists of lengths on one line."""
    before = b"["
    for prompt in summary:
        yield before
        row = prompt.to_json()
        lengths = row.pop("gen_lengths")
        values = b"".join(b"    %b: %b,\n" % (encode(name), encode(value)) for name, value in row.items())
        listed = b'    "gen_lengths": [%b]' % ", ".join(map(str, lengths)).encode()
        yield b"  {\n" + values + listed
        before = b"  },"
    yield b"  }\n]"


def _write_csv(summary: Summary, path: Path) -> None:
    write_atomically(path, _csv_lines(summary))


def _csv_lines(summary: Summary) -> Iterator[bytes]:
    for number, prompt in enumerate(summary):
        row = {**prompt.to_json(), **prompt.more()}
        row["answer"] = _as_text(row["answer"])
        row["gen_lengths"] = encode(row["gen_lengths"]).decode()
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="")
        if not number:
            writer.writerow(row)
            line.write("\n")
        writer.writerow(row.values())
        yield line.getvalue().encode("utf-8", "backslashreplace")


def _write_parquet(summary: Summary, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        frame(summary).write_parquet(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


FORMATS: dict[str, Callable[[Summary, Path], None]] = {
    ".json": _write_json,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def frame(summary: Summary) -> polars.DataFrame:
    """One row a prompt: the documented columns, then how many rows are right, truncated and repeated.

    Raises:
        MissingExtra: polars is not installed.
    """
    library = _polars()
    schema = {
        "prompt": library.String,
        "answer": library.String,
        "count": library.Int64,
        "total_accuracy_count": library.Float64,
        "average_accuracy": library.Float64,
        "max_gen_length": library.Int64,
        "avg_gen_length": library.Float64,
        "gen_lengths": library.List(library.Int64),
        "num_right": library.Int64,
        "num_truncated": library.Int64,
        "num_repeated": library.Int64,
    }
    rows = [{**prompt.to_json(), **prompt.more()} for prompt in summary]
    found: polars.DataFrame = library.DataFrame([{**row, "answer": _as_text(row["answer"])} for row in rows], schema=schema)
    return found


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise MissingExtra("a table in the form of polars or Parquet", "summarise") from None
    return polars


def _as_text(answer: Any) -> str | None:
    return answer if answer is None or isinstance(answer, str) else encode(answer).decode()


def write_prompts(summary: Summary, path: Path, low: float, high: float, *, dedupe: bool) -> int:
    """The prompts whose average accuracy lies in [low, high], in order, for training; how many they are.

    Args:
        summary: The statistics.
        path: JSON lines: prompt, answer, average_accuracy, count.
        low: The least accuracy.
        high: The largest.
        dedupe: Of prompts that differ in case, blanks or the form of characters alone, keep the first.
    """
    seen: set[str] = set()
    num = 0
    with RowFile(path) as rows:
        for prompt in summary:
            accuracy = prompt.average_accuracy
            if not low <= accuracy <= high:
                continue
            form = " ".join(unicodedata.normalize("NFKC", prompt.prompt).casefold().split()) if dedupe else prompt.prompt
            if form in seen:
                continue
            seen.add(form)
            row = {"prompt": prompt.prompt, "answer": prompt.answer, "average_accuracy": accuracy, "count": prompt.count}
            rows.write(row)
            num += 1
    return num
