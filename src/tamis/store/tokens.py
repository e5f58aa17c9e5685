"""tokens.bin: the statistics of every token of every finished sample, 44 bytes a token, and its chain; little-endian.

A slice is one sample's arrays one after the other: values (T, 9) float32, ids (T,) int32, starts (T,) int32; then, where the
sample has a chain of embedding, its values (1 + K, 2 L + 2) float32. The nine statistics alone would be 36 bytes; the ids let a
sample be scored again exactly, without tokenising its text anew, and the starts let steps and coloured tokens find their place
in it. A reference tells the slice: `offset`, `length` T and `crc32`, `vocab_size` where there are statistics, and the shape of
the `chain` where there is one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.records import STATISTICS, EmbeddingChain, TokenStats
from tamis.store.files import append_whole

_NUMBERS_A_TOKEN = len(STATISTICS) + 2  # of 4 bytes


class StatsError(ValueError):
    """A slice that is not there, or is not what was written."""


def slice_bytes(reference: Mapping[str, Any]) -> int:
    """How long the slice is that a reference tells of."""
    rows, columns = reference.get("chain", (0, 0))
    return 4 * int(reference["length"] * _NUMBERS_A_TOKEN + rows * columns)


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

    def append(self, stats: TokenStats | None, chain: EmbeddingChain | None) -> dict[str, Any]:
        """Write what one sample has of both; the reference that its line must hold. A sample of no tokens has no slice."""
        length = 0
        about: dict[str, Any] = {}
        data = b""
        if stats is not None:
            length = len(stats)
            if stats.values.shape != (length, len(STATISTICS)) or stats.starts.shape != (length,):
                raise ValueError(f"statistics of {length} tokens in shapes {stats.values.shape} and {stats.starts.shape}")
            columns = ((stats.values, "<f4"), (stats.ids, "<i4"), (stats.starts, "<i4"))
            data = b"".join(array.astype(dtype).tobytes() for array, dtype in columns)
            about["vocab_size"] = stats.vocab_size
        if chain is not None:
            data += chain.values.astype("<f4").tobytes()
            about["chain"] = list(chain.values.shape)
        if not data:
            return {"length": 0, **about}
        assert self._descriptor is not None
        append_whole(self._descriptor, data, self.size, self._path)
        reference = {"offset": self.size, "length": length, "crc32": zlib.crc32(data), **about}
        self.size += len(data)
        return reference

    def read(self, reference: Mapping[str, Any]) -> tuple[TokenStats | None, EmbeddingChain | None]:
        """Read what one sample has: statistics, a chain, or both.

        Raises:
            StatsError: The slice is not there, or is not what was written.
        """
        length, size = reference["length"], slice_bytes(reference)
        data = b""
        if size:
            data = os.pread(self._descriptor, size, reference["offset"]) if self._descriptor is not None else b""
            if len(data) != size:
                raise StatsError("its statistics are missing from tokens.bin")
            if zlib.crc32(data) != reference["crc32"]:
                raise StatsError("its statistics in tokens.bin do not match their checksum")
        numbers = np.frombuffer(data, "<i4")
        of_tokens, of_chain = numbers[: length * _NUMBERS_A_TOKEN], numbers[length * _NUMBERS_A_TOKEN :]
        return (
            _stats(of_tokens, length, reference["vocab_size"]) if "vocab_size" in reference else None,
            EmbeddingChain(of_chain.view("<f4").reshape(reference["chain"])) if "chain" in reference else None,
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


def _stats(numbers: NDArray[np.int32], length: int, vocab_size: int) -> TokenStats:
    values = length * len(STATISTICS)
    return TokenStats(
        values=numbers[:values].view("<f4").reshape(length, len(STATISTICS)),  # (T, 9)
        ids=numbers[values : values + length],  # (T,)
        starts=numbers[values + length :],  # (T,)
        vocab_size=vocab_size,
    )
