"""The folder of a run of interleaved reasoning, as the source document s0 has it.

    batch_inference_<time>/
      results.jsonl    append-only, one line a finished or failed sample (read by `sources.traces`)
      summary.json     what the run was; written at its end
      output_images/<sample_id>/   problem_image_1.png, ..., output_image_1.png, ...
      .lock            the one writer

The pictures of a sample are there before its line is. A torn last line is cut off. Of several lines of one sample, as a
resume leaves them, the last counts; in the end `arrange` leaves one of each, in the order of the input.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.errors import InputError, RunFolderError
from tamis.identity import file_stem
from tamis.images import check_image
from tamis.records.traced import IMAGES_FOLDER, RESULTS_FILE, SUMMARY_FILE
from tamis.store.files import append_whole, decode, encode, encode_readable, write_atomically
from tamis.store.lock import WriterLock

if TYPE_CHECKING:
    from PIL.Image import Image

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Of pictures that a PNG holds as they are."""


def folder_name(when: datetime) -> str:
    """What the folder of a run that begins now is called."""
    return f"batch_inference_{when:%Y%m%d_%H%M%S}"


class TraceFolder:
    """Writes what comes of each sample, once and whole.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder, or go on with one.

        Raises:
            RunFolderError: It cannot be written, or another process writes it.
        """
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}  # of each sample: its line of the input, where its own line begins
        try:
            (path / IMAGES_FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(path)
            try:
                self._results = os.open(path / RESULTS_FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
                self._end = self._scan()
                (path / SUMMARY_FILE).unlink(missing_ok=True)  # which says that the run is over
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise RunFolderError(f"cannot write {error.filename or path}: {error.strerror}", "Name another folder") from error

    def _scan(self) -> int:
        """Read which samples are there; where the last whole line ends, and with it the file from now on."""
        end = 0
        with (self.path / RESULTS_FILE).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                with suppress(ValueError, KeyError, TypeError, AttributeError):  # whoever reads the results names it
                    row = decode(line)
                    self._places[str(row["sample_id"])] = int(row["input_line"]), end
                end += len(line)
        os.ftruncate(self._results, end)
        return end

    def write(
        self,
        sample_id: int | str,
        input_line: int,
        values: Mapping[str, Any],
        parts: Sequence[str | Path] = (),
        problem_images: Sequence[Path] = (),
        *,
        error: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep one sample: its pictures, then its line. Nothing is done where both are there already.

        Args:
            sample_id: Its id.
            input_line: Where its problem stands in the input, from 1.
            values: The row of the problem, untouched.
            parts: What was written, and files of what was drawn, in order; also of a failed sample what there is.
            problem_images: The files of the problem's pictures, by their numbers; what is none is left out.
            error: Why it failed.
            more: What else is to be said in its line: `truncated`, scores, seconds.

        Raises:
            RunFolderError: The disk is full or gone.
        """
        name = str(sample_id)
        folder = self.path / IMAGES_FOLDER / file_stem(name)
        further = {**(more or {}), "input_line": input_line, **({"error": error} if error else {})}
        given = {field: value for field, value in values.items() if field != "error"}
        line = encode({**given, **_output(folder, parts), "sample_id": sample_id, **further}) + b"\n"
        drawn = [file for file in parts if isinstance(file, Path)]
        names = [folder / f"output_image_{number + 1}.png" for number in range(len(drawn))]
        if self._holds(name, line) and all(map(_is_there, names, drawn)):
            return
        try:
            if problem_images or drawn:
                folder.mkdir(exist_ok=True)
            for old in folder.glob("output_image_*.png"):  # of an attempt that failed
                old.unlink()
            for number, file in enumerate(problem_images, 1):
                _copy_as_png(file, folder / f"problem_image_{number}.png")
            for file, place in zip(drawn, names, strict=True):
                _link(file, place)
        except OSError as bad:
            raise unwritable(folder, bad) from bad
        append_whole(self._results, line, self._end, self.path / RESULTS_FILE)
        self._places[name] = input_line, self._end
        self._end += len(line)

    def _holds(self, name: str, line: bytes) -> bool:
        return name in self._places and os.pread(self._results, len(line), self._places[name][1]) == line

    def arrange(self) -> None:
        """Leave one line of each sample, in the order of the input.

        Raises:
            RunFolderError: The disk is full or gone.
        """
        offsets = [offset for _, offset in sorted(self._places.values())]
        path = self.path / RESULTS_FILE
        try:
            write_atomically(path, self._lines(offsets))
        except OSError as error:
            raise unwritable(path, error) from error
        os.close(self._results)
        self._results = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._places.clear()
        self._end = self._scan()

    def _lines(self, offsets: Sequence[int]) -> Iterator[bytes]:
        with (self.path / RESULTS_FILE).open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                yield file.readline().removesuffix(b"\n")

    def write_summary(self, facts: Mapping[str, Any]) -> None:
        """Write summary.json; an older one is replaced.

        Raises:
            RunFolderError: The disk is full or gone.
        """
        path = self.path / SUMMARY_FILE
        try:
            write_atomically(path, [encode_readable(dict(facts))])
        except OSError as error:
            raise unwritable(path, error) from error

    def close(self) -> None:
        """Bring all to the disk and let the next writer in."""
        os.fsync(self._results)
        os.close(self._results)
        self._lock.release()


def _output(folder: Path, parts: Sequence[str | Path]) -> dict[str, Any]:
    """The documented fields, and the order of texts and pictures."""
    listed: list[dict[str, str]] = []
    images: list[str] = []
    for part in parts:
        if isinstance(part, str):
            listed.append({"text": part})
        else:
            images.append(str(folder / f"output_image_{len(images) + 1}.png"))
            listed.append({"image": images[-1]})
    texts = [part["text"] for part in listed if "text" in part]
    return {
        "output_reasoning": "\n\n".join(texts),
        "output_images": images,
        "num_reasoning_steps": len(texts),
        "num_generated_images": len(images),
        "output_parts": listed,
    }


def save_picture(image: Image, path: Path) -> None:
    """Write a picture as PNG, a whole file or none."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        image.save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy_as_png(file: Path, path: Path) -> None:
    from PIL import Image, ImageOps

    try:
        check_image(file)
        with Image.open(file) as picture:
            is_png, known = picture.format == "PNG", ImageOps.exif_transpose(picture)  # turned as the model saw it
            known = known if known.mode in _MODES else known.convert("RGB")
    except (InputError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # whoever reads it says so
        return
    if is_png:
        shutil.copyfile(file, path)
    else:
        save_picture(known, path)


def _is_there(place: Path, file: Path) -> bool:
    """Whether a file has its second name already: a crash of the machine may have cost a copy its contents."""
    return place.is_file() and place.stat().st_size == file.stat().st_size


def _link(file: Path, path: Path) -> None:
    """Give a file a second name, or a copy where the file system knows no second names."""
    path.unlink(missing_ok=True)
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)


def unwritable(path: Path, error: OSError) -> RunFolderError:
    """The error of a disk that is full or gone."""
    advice = "What is finished is kept; make room and go on with --resume"
    return RunFolderError(f"cannot write {path}: {error.strerror or error}", advice)
