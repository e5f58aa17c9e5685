"""samples.jsonl: whole lines appended, and a scan that finds the keys of a million of them without parsing JSON.

A line begins with its key and then, at a fixed column, with what the scan must know:

    {"key":"0123456789abcdef","stats":{"offset":1234,...   finished; its statistics begin at this byte of tokens.bin
    {"key":"0123456789abcdef","error":{...                 failed: owed again
    {"key":"0123456789abcdef",...                          finished, without statistics
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tamis.columns import SortedRows
from tamis.store.files import append_whole
from tamis.store.index import last_rows

_START, _KEY_END, _STATS, _ERROR = b'{"key":"', b'"', b',"stats":{"offset":', b',"error":'
_KEY = slice(len(_START), len(_START) + 16)
_MARK = _KEY.stop + len(_KEY_END)  # the column where a line says whether it failed or has statistics
_OFFSET = _MARK + len(_STATS)
_HEAD_BYTES = _OFFSET + 18  # the largest offset has 18 digits
_BLOCK_BYTES = 1 << 20
_MIN_MERGED, _SHARE_MERGED = 1 << 16, 8  # rows that wait to be sorted in: so many, or one in so many of those sorted

_NIBBLES = np.full(256, 16, np.uint8)  # the value of a hex digit; 16: not one
_NIBBLES[list(b"0123456789abcdef")] = range(16)


class Scan(NamedTuple):
    """The last row of each of R keys, and what is wrong with the journal."""

    keys: NDArray[np.uint64]  # (R,) ascending
    offsets: NDArray[np.int64]  # (R,) where the line begins
    failed: NDArray[np.bool_]  # (R,)
    stats_offsets: NDArray[np.int64]  # (R,) -1: none
    malformed: list[int]  # line numbers, from 1


_Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]  # those of `Scan`


class Journal:
    """Lines by offset; append-only."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open the file; one that is not there is created when `writable`, and else is empty."""
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if writable else os.O_RDONLY
        self._descriptor: int | None = None
        if writable or path.exists():
            self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        self._end = 0

    def scan(self) -> Scan:
        """Read all that is there; the journal ends, from then on, where its last whole line does."""
        rows = SortedRows(*_scan_block(b"", 0)[0])
        waiting: list[_Columns] = []
        num_waiting = num_lines = 0
        malformed: list[int] = []
        self._end = 0
        for lines in self._blocks():
            columns, is_row = _scan_block(lines, self._end)
            waiting.append(columns)
            num_waiting += len(columns[0])
            malformed += (num_lines + 1 + np.flatnonzero(~is_row)).tolist()
            num_lines += len(is_row)
            self._end += len(lines)
            if num_waiting > max(_MIN_MERGED, len(rows) // _SHARE_MERGED):
                _merge(rows, waiting)
                num_waiting = 0
        _merge(rows, waiting)
        return Scan(rows.column(0), rows.column(1), rows.column(2), rows.column(3), malformed)

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, some megabytes at a time; a torn last line is left out."""
        carry, position = b"", 0
        while self._descriptor is not None and (block := os.pread(self._descriptor, _BLOCK_BYTES, position)):
            position += len(block)
            cut = block.rfind(b"\n") + 1
            if cut:
                yield carry + block[:cut]
                carry = block[cut:]
            else:
                carry += block

    def cut_torn_line(self) -> None:
        """Drop what follows the last whole line; call after `scan`."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, self._end)

    def append(self, line: bytes) -> int:
        """Write a line, given without its newline; returns its offset, once the bytes are with the OS."""
        assert self._descriptor is not None
        offset = self._end
        append_whole(self._descriptor, line + b"\n", offset, self._path)
        self._end += len(line) + 1
        return offset

    def line(self, offset: int) -> bytes:
        """The line that begins at an offset."""
        assert self._descriptor is not None
        data = os.pread(self._descriptor, 4096, offset)
        while (end := data.find(b"\n")) < 0 and (more := os.pread(self._descriptor, len(data), offset + len(data))):
            data += more
        return data[:end] if end >= 0 else data

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every whole line and its offset, in order, up to the present end."""
        offset, end = 0, self._end
        if end:
            with self._path.open("rb") as file:
                while offset < end:
                    line = file.readline()
                    yield offset, line
                    offset += len(line)

    def sync(self) -> None:
        """Bring all to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _merge(rows: SortedRows, waiting: list[_Columns]) -> None:
    """Sort in what waits; of two rows with one key the later counts."""
    if waiting:
        columns = [np.concatenate(column) for column in zip(*waiting, strict=True)]
        waiting.clear()
        last = last_rows(columns[0])
        rows.merge(columns[0][last], *(column[last] for column in columns[1:]))


def key_of(line: bytes) -> int | None:
    """The key of a line as a number; None when it begins otherwise."""
    try:
        return int(line[_KEY], 16) if line.startswith(_START) else None
    except ValueError:
        return None


def tells_failure(line: bytes) -> bool:
    """Whether a line is that of a failed sample."""
    return line.startswith(_ERROR, _MARK)


def _scan_block(lines: bytes, base: int) -> tuple[_Columns, NDArray[np.bool_]]:
    """The columns of the rows among L whole lines, and which of the lines are rows (L,)."""
    data = np.frombuffer(lines + bytes(_HEAD_BYTES), np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))[: len(ends)]
    heads = np.lib.stride_tricks.sliding_window_view(data, _HEAD_BYTES)[starts]  # (L, H)
    nibbles = _NIBBLES[heads[:, _KEY]]  # (L, 16)
    is_row = _has(heads, 0, _START) & (nibbles < 16).all(1) & _has(heads, _KEY.stop, _KEY_END) & (data[ends - 1] == ord("}"))
    starts, heads, nibbles = starts[is_row], heads[is_row], nibbles[is_row]
    keys = (nibbles[:, 0::2] << 4 | nibbles[:, 1::2]).view(">u8")[:, 0].astype(np.uint64)
    stats_offsets = np.where(_has(heads, _MARK, _STATS), _leading_number(heads[:, _OFFSET:]), -1)
    return (keys, base + starts, _has(heads, _MARK, _ERROR), stats_offsets), is_row


def _has(heads: NDArray[np.uint8], column: int, text: bytes) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (heads[:, column : column + len(text)] == np.frombuffer(text, np.uint8)).all(1)
    return found


def _leading_number(characters: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The decimal number at the beginning of each row of characters (L, D); 0 when there is none."""
    values = np.zeros(len(characters), np.int64)
    in_number = np.ones(len(characters), np.bool_)
    for column in characters.T:
        in_number &= (column >= ord("0")) & (column <= ord("9"))
        if not in_number.any():
            break
        values = np.where(in_number, values * 10 + column - ord("0"), values)
    return values
