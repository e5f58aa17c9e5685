"""Data files: what the end of a name says, decompression, lines."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from tamis.errors import InputError, MissingExtra

Format = Literal["jsonl", "csv", "tsv", "text", "parquet"]

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".parquet": "parquet",
}
_COMPRESSIONS = (".gz", ".zst")
_CHUNK = 1 << 17  # bytes read at a time from a compressed file

READABLE = ".jsonl, .csv, .tsv, .txt (each also as .gz or .zst) and .parquet"
DAMAGE = (OSError, EOFError, zlib.error)
"""What reading a damaged compressed file raises."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A path whose name says how to read it."""

    path: Path
    format: Format
    compression: str = ""  # "", ".gz" or ".zst"

    @staticmethod
    def of(path: Path) -> DataFile | None:
        """What the suffixes say; None when they say nothing we can read."""
        suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
        compression = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSIONS else ""
        kind = _FORMATS.get(suffixes[-1]) if suffixes else None
        if kind is None or (kind == "parquet" and compression):
            return None
        return DataFile(path, kind, compression)

    def open(self) -> BinaryIO:
        """The decompressed bytes.

        Raises:
            InputError: the file cannot be opened.
            MissingExtra: `.zst` without the zstandard package.
        """
        try:
            if self.compression == ".gz":
                return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(self.path), _CHUNK))
            file = self.path.open("rb")
        except FileNotFoundError:
            raise InputError(f"no such file: {self.path}", "Check the path") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be opened ({error.strerror})", "Check the path and its permissions") from None
        if self.compression == ".zst":
            return cast(BinaryIO, io.BufferedReader(_ZstdFile(file), _CHUNK))
        return file

    def lines(self) -> Iterator[tuple[int, bytes]]:
        r"""Numbered lines (from 1) without their ends, which may be \n, \r\n or \r, and without a byte order mark.

        Raises:
            InputError: UTF-16.
            OSError, EOFError, zlib.error: damaged data (`DAMAGE`), after the lines that could be read.
        """
        yield from self.lines_between(0, None)

    def lines_between(self, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
        """The lines that begin from byte `start` on and before byte `stop`, numbered from 1; adjacent ranges share no line.

        A file that is compressed has one range, the whole.
        """
        number, place = 0, start
        with self.open() as stream:
            if start:
                stream.seek(start - 1)
                place += len(stream.readline()) - 1  # the rest of a line that began earlier, or the end of one
            for raw in stream:
                if stop is not None and place >= stop:
                    return
                if place == 0 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise InputError(f"{self.path} is UTF-16", "Save it as UTF-8")
                line = raw.removeprefix(codecs.BOM_UTF8) if place == 0 else raw
                place += len(raw)
                line = line.removesuffix(b"\n").removesuffix(b"\r")
                for part in line.split(b"\r"):
                    number += 1
                    yield number, part


class _ZstdFile(io.RawIOBase):
    """Frames of zstd one after another; a frame that is cut off raises EOFError (the package's own reader just ends)."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            import zstandard
        except ImportError:
            file.close()
            raise MissingExtra("reading .zst files", "data") from None
        self._file = file
        self._damage: type[Exception] = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            compressed = self._frame.unused_data if self._frame and self._frame.eof else b""
            compressed = compressed or self._file.read(_CHUNK)
            if not compressed:
                if self._frame and not self._frame.eof:
                    raise EOFError("the file ends inside a zstd frame")
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            try:
                self._ready = memoryview(self._frame.decompress(compressed))
            except self._damage as error:
                raise OSError(str(error)) from None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
