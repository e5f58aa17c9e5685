"""The results of interleaved reasoning: `results.jsonl` and the pictures beside it, as the source document s0 has them.

A row is that of the problem, with `output_reasoning`, `output_images`, `num_reasoning_steps`, `num_generated_images` and
`sample_id`; one that failed has `error`. Rows of Tamis say the order of texts and pictures in `output_parts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tamis.errors import InputError
from tamis.records import Image, Trace
from tamis.records.traced import CANDIDATE_IMAGES, IMAGES_FOLDER, RESULTS_FILE
from tamis.sources.fields import BadField
from tamis.sources.interleaved import is_there, read_id
from tamis.sources.rows import BadRow, kind_of, read_json, why_not_json

_MOST = 1_000_000  # steps or pictures of a trace


class TraceFile:
    """The rows of a results file by their ids; of several with one id, as a resume leaves them, the last readable one counts.

    Attributes:
        folder: Where the file and its pictures are.
        bad_rows: Lines that cannot be used.
        num_superseded: Rows that a later one replaces.
    """

    def __init__(self, path: Path) -> None:
        """Find the rows of a file, or of the folder that holds it; one line in memory at a time.

        Raises:
            InputError: It cannot be read.
        """
        self._path = path / RESULTS_FILE if path.is_dir() else path
        self.folder = self._path.parent
        self.bad_rows: list[BadRow] = []
        self.num_superseded = 0
        self._places: dict[int | str, int] = {}  # id -> where its last line begins
        self._names: dict[str, int | str] = {}  # ids as the files have them: 1 and "1" are one
        try:
            self._scan()
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {error.strerror}", "Give the results.jsonl of a run") from None

    def __len__(self) -> int:
        return len(self._places)

    def _scan(self) -> None:
        offset = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._take(line, offset, number)
                offset += len(line)

    def _take(self, line: bytes, offset: int, number: int) -> None:
        try:
            values = _object(line)
            if values.get("sample_id") is None:
                raise BadField("sample_id", "is missing")
            sample_id = read_id("sample_id", values["sample_id"])
            read_trace(values, sample_id)
        except BadField as bad:
            self.bad_rows.append(BadRow(f"{self._path}:{number}", bad.field, bad.reason))
            return
        sample_id = self._names.setdefault(str(sample_id), sample_id)
        self.num_superseded += sample_id in self._places
        self._places[sample_id] = offset

    def find(self, sample_id: int | str) -> Trace | None:
        """What came of one row, if anything did."""
        place = self._places.get(self._names.get(str(sample_id), ""))
        if place is None:
            return None
        with self._path.open("rb") as file:
            return self._read(file, sample_id, place)

    def traces(self) -> Iterator[Trace]:
        """What came of each row: ids that are numbers in their order, then the others in that of the file.

        Raises:
            InputError: The file is another one now.
        """
        names: list[int | str] = sorted(name for name in self._places if isinstance(name, int))
        names += [name for name in self._places if isinstance(name, str)]
        with self._path.open("rb") as file:
            for name in names:
                yield self._read(file, name, self._places[name])

    def _read(self, file: BinaryIO, sample_id: int | str, place: int) -> Trace:
        file.seek(place)
        with suppress(BadField):
            values = _object(file.readline())
            if str(values.get("sample_id")) == str(sample_id):
                return read_trace(values, sample_id)
        raise InputError(f"{self._path} was written while it was read", "Let the run come to its end first")

    def picture(self, path: str) -> Path:
        """The file of a picture of the results, also where their folder was moved.

        Raises:
            InputError: The path leads out of the folder.
        """
        place = path.replace("\\", "/")
        begin = max(place.rfind(f"{name}/") for name in (IMAGES_FOLDER, CANDIDATE_IMAGES))
        found = self.folder / path
        if begin >= 0 and not (found.is_relative_to(self.folder) and is_there(found)):
            found = self.folder / place[begin:]  # the folder may have been moved
        try:
            is_inside = found.resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError):  # no name that a file could have
            is_inside = False
        if not is_inside:
            raise InputError(f"the image {path} lies outside of {self.folder}")
        return found


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = read_json(line)
    except (ValueError, RecursionError):
        raise BadField("", why_not_json(line)) from None
    if not isinstance(values, dict):
        raise BadField("", f"{kind_of(values)}, not an object")
    return values


def read_trace(values: Mapping[str, Any], sample_id: int | str) -> Trace:
    """What a row says.

    Raises:
        BadField: A field is missing or has the wrong type.
    """
    error = values.get("error")
    parts = _parts(values, has_failed=bool(error))
    num_steps = _count(values, "num_reasoning_steps", sum(isinstance(part, str) for part in parts))
    truncated = values.get("truncated") is True
    return Trace(sample_id, values, parts, num_steps, truncated, str(error) if error else "")


@dataclass(frozen=True, slots=True)
class OtherCandidate:
    """One of several candidates of a row, not the chosen one."""

    index: int
    ending: str
    score: float | None
    parts: tuple[str | Image, ...]


def other_candidates(values: Mapping[str, Any]) -> Iterator[OtherCandidate]:
    """Those that a row of Tamis lists; what is written otherwise is nobody's candidate."""
    listed = values.get("candidates")
    for each in listed if isinstance(listed, list) else ():
        match each:
            case {"index": int(index), "ending": str(ending), "chosen": False, "output_parts": list(parts)}:
                score = each.get("score")
                with suppress(BadField, OverflowError):
                    number = float(score) if isinstance(score, int | float) else None
                    yield OtherCandidate(index, ending, number, tuple(map(_part, parts)))


def _count(values: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = values.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise BadField(name, f"is no number from 0 to {_MOST}")
    return value


def _parts(values: Mapping[str, Any], *, has_failed: bool) -> tuple[str | Image, ...]:
    listed = values.get("output_parts")
    if listed is not None:
        return tuple(map(_part, _list("output_parts", listed)))
    text, images = values.get("output_reasoning"), values.get("output_images")
    if has_failed:
        text, images = text or "", images or []
    if not isinstance(text, str):
        raise BadField("output_reasoning", "is missing" if text is None else f"is {kind_of(text)}, not text")
    paths = _list("output_images", images)
    if not all(isinstance(path, str) for path in paths):
        raise BadField("output_images", "needs paths of images, as text")
    return (*((text,) if text.strip() else ()), *map(Image, paths))


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadField(name, "is missing" if value is None else f"is {kind_of(value)}, not a list")
    return value


def _part(part: Any) -> str | Image:
    if isinstance(part, dict) and isinstance(part.get("image"), str):
        return Image(part["image"])
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    raise BadField("output_parts", "a part is neither {text} nor {image}")
