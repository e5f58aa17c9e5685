"""tokens.bin: the statistics of every token of every finished sample, 44 bytes a token, little-endian.

A slice is one sample's arrays one after the other: values (T, 9) float32, ids (T,) int32, starts (T,) int32. The nine
statistics alone would be 36 bytes; the ids let a sample be scored again exactly, without tokenising its text anew, and the
starts let steps and coloured tokens find their place in it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tamis.records import STATISTICS, TokenStats
from tamis.store.files import append_whole

BYTES_A_TOKEN = 4 * (len(STATISTICS) + 2)


class StatsError(ValueError):
    """A slice that is not there, or is not what was written."""


class TokenFile:
    """Slices of statistics, appended and read back by reference."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open the file; one that is not there is created when `writable`, and else is empty."""
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if writable else os.O_RDONLY
        self._descriptor: int | None = None
        self.size = 0
        if writable or path.exists():
            self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
            self.size = os.fstat(self._descriptor).st_size

    def append(self, stats: TokenStats) -> dict[str, int]:
        """Write one sample's statistics; the reference that its line must hold. A sample of no tokens has no slice."""
        length = len(stats)
        if stats.values.shape != (length, len(STATISTICS)) or stats.starts.shape != (length,):
            raise ValueError(f"statistics of {length} tokens in shapes {stats.values.shape} and {stats.starts.shape}")
        if length == 0:
            return {"length": 0, "vocab_size": stats.vocab_size}
        assert self._descriptor is not None
        data = b"".join(
            array.astype(dtype).tobytes() for array, dtype in ((stats.values, "<f4"), (stats.ids, "<i4"), (stats.starts, "<i4"))
        )
        append_whole(self._descriptor, data, self.size, self._path)
        reference = {"offset": self.size, "length": length, "crc32": zlib.crc32(data), "vocab_size": stats.vocab_size}
        self.size += len(data)
        return reference

    def read(self, reference: Mapping[str, int]) -> TokenStats:
        """Read one sample's statistics.

        Raises:
            StatsError: The slice is not there, or is not what was written.
        """
        length = reference["length"]
        data = b""
        if length:
            size = length * BYTES_A_TOKEN
            data = os.pread(self._descriptor, size, reference["offset"]) if self._descriptor is not None else b""
            if len(data) != size:
                raise StatsError("its statistics are missing from tokens.bin")
            if zlib.crc32(data) != reference["crc32"]:
                raise StatsError("its statistics in tokens.bin do not match their checksum")
        values = length * len(STATISTICS)
        numbers = np.frombuffer(data, "<i4")
        return TokenStats(
            values=numbers[:values].view("<f4").reshape(length, len(STATISTICS)),  # (T, 9)
            ids=numbers[values : values + length],  # (T,)
            starts=numbers[values + length :],  # (T,)
            vocab_size=reference["vocab_size"],
        )

    def cut(self, end: int) -> None:
        """Drop what lies past `end`: slices whose line was never written."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, end)
        self.size = end

    def sync(self) -> None:
        """Bring all to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
