"""Real answers and one grader for all tests of the room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tamis.grade import Grader

CASES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data" / "answer_cases.jsonl").read_text("utf-8").splitlines()
]


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    with Grader(num_workers=2) as grader:
        yield grader
