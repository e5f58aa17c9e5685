"""Ranges counted by workers on Ray are counted once each, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from summarising.inputs import rows, write
from summarising.test_parts import told

from tamis.counting import open_counter
from tamis.errors import InputError
from tamis.sources.files import DataFile
from tamis.sources.generations import FileRange, GenerationFields, ranges
from tamis.summarise.partial import Partial
from tamis.workflows.counting import RangeCounter
from tamis.workflows.counting_on_ray import count_on_ray


@pytest.fixture
def parts(tmp_path) -> list[FileRange]:
    files = [DataFile.of(write(tmp_path / f"{number}.jsonl", rows(1200, 30, number))) for number in range(2)]
    return list(ranges([file for file in files if file], 2000))


def workers(of: int) -> Iterator[int]:
    """The processes below a process that count ranges."""
    for child in map(int, Path(f"/proc/{of}/task/{of}/children").read_text().split()):
        if b"MapWorker" in Path(f"/proc/{child}/cmdline").read_bytes():
            yield child
        yield from workers(child)


def test_workers_killed_in_the_middle(parts, tokenizer):
    count = RangeCounter(open_counter(tokenizer), GenerationFields(), majority=True)
    expected, found = Partial(), Partial()
    for part in parts:
        expected.merge(count(part))
    killed = []
    for number, partial in enumerate(count_on_ray(parts, count, 2)):
        found.merge(partial)
        if number in (5, 20):
            killed += list(workers(os.getpid()))[:1]
            os.kill(killed[-1], signal.SIGKILL)
    assert len(killed) == 2
    assert told(found) == told(expected)


def test_a_file_that_is_gone(parts, tokenizer):
    parts[0].file.path.unlink()
    count = RangeCounter(open_counter(tokenizer), GenerationFields())
    with pytest.raises(InputError, match=r"no such file: .*0\.jsonl"):
        list(count_on_ray(parts, count, 2))
