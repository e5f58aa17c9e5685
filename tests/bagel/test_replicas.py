"""Replicas in processes of their own: what one does wrong costs the others nothing."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tamis.bagel.replicas import Opening, Replicas
from tamis.bagel.settings import Interleaving, Puzzle
from tamis.bagel.worker import portable
from tamis.demo import INTERLEAVE_FOLDER
from tamis.errors import EngineError, InputError

SETTINGS = Interleaving(temperature=1.0, max_tokens=6, max_iterations=1, num_steps=3, batch_size=2)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def replicas(request: pytest.FixtureRequest) -> Iterator[Replicas]:
    opened = Replicas([Opening(INTERLEAVE_FOLDER, "cpu")] * request.param, SETTINGS)
    yield opened
    opened.close()


def puzzle(number: int, item: Any = "Which way does the ring go?") -> Puzzle:
    return Puzzle(str(number), (item,), number)


def solved(replicas: Replicas, puzzles: Iterator[Puzzle]) -> tuple[list[str], Exception]:
    """What came before the error, and the error."""
    ids: list[str] = []
    try:
        for solution in replicas.solve(puzzles):
            ids.append(solution.id)  # noqa: PERF401 - those before the error are wanted
    except Exception as error:  # noqa: BLE001 - it is looked at
        return ids, error
    raise AssertionError("no error")


@pytest.mark.parametrize("replicas", [2], indirect=True)
def test_an_error_waits_for_what_has_begun(replicas: Replicas) -> None:
    given: list[str] = []

    def torn() -> Iterator[Puzzle]:
        for number in range(4):
            given.append(str(number))
            yield puzzle(number)
        raise InputError("the file is torn")

    ids, error = solved(replicas, torn())
    assert isinstance(error, InputError)
    assert sorted(ids) == given

    def many() -> Iterator[Puzzle]:
        for number in range(60):
            given.append(str(number))
            yield puzzle(number, 3 if number == 5 else "And now?")

    given.clear()
    ids, error = solved(replicas, many())
    assert type(error) is AttributeError  # a number is no picture, which is nobody's fault but ours
    (note,) = error.__notes__
    assert "pictures.py" in note
    assert len(given) < 60
    lost = set(given) - set(ids)
    assert "5" in lost
    assert len(lost) <= SETTINGS.batch_size  # those of the process that broke


@pytest.mark.parametrize("replicas", [1], indirect=True)
def test_a_process_that_dies_before_it_is_answered(replicas: Replicas) -> None:
    (child,) = multiprocessing.active_children()

    def deadly() -> Iterator[Puzzle]:
        child.kill()
        child.join()
        yield puzzle(0)

    with pytest.raises(EngineError, match="exit code -9"):
        list(replicas.solve(deadly()))
    with pytest.raises(EngineError, match="exit code -9"):
        list(replicas.solve([puzzle(1)]))


class OddError(Exception):
    """One that pickle makes anew with too little."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def test_errors_that_cannot_travel() -> None:
    try:
        raise OddError("broken ", "here")
    except OddError as error:
        told = pickle.loads(pickle.dumps(portable(error)))
    assert type(told) is RuntimeError
    assert str(told) == "OddError: broken here"
    assert "test_replicas.py" in told.__notes__[0]
    ours = portable(EngineError("the model is broken", "Fetch it again"))
    assert not hasattr(ours, "__notes__")


_LOOKS_AT_TORCH = """
import signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
            raise SystemExit
sys.meta_path.insert(0, Finder())
from tamis.bagel.worker import work
work(None, None, 1)
"""


def test_an_interrupt_is_ignored_before_anything_is_loaded() -> None:
    """Ctrl-C reaches all processes of a group, and torch takes seconds."""
    ran = subprocess.run([sys.executable, "-c", _LOOKS_AT_TORCH], capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
