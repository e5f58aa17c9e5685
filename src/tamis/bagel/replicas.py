"""The model opened here, or once in each of several processes that share the rows: one replica a GPU.

A process asks for its next puzzle when it has a free place for it, so a slow row holds up nobody else's. What a row gives
is of its seed alone, and so the same wherever it is solved.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tamis.bagel import checkpoint_bytes, open_model
from tamis.bagel.settings import Interleaving, Puzzle, Solution
from tamis.errors import EngineError, TamisError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from tamis.bagel.model import Model

_ENDS_S = 5.0


@dataclass(frozen=True, slots=True)
class Opening:
    """Which model, and where and in which numbers it is opened; see `Model`."""

    folder: Path
    device: str = "auto"
    dtype: str = "auto"
    autoencoder_dtype: str = "float32"
    weights: str = ""
    max_bytes: int | None = None

    def open(self) -> Model:
        """Load it; errors as of `open_model`."""
        return open_model(
            self.folder,
            device=self.device,
            dtype=self.dtype,
            autoencoder_dtype=self.autoencoder_dtype,
            weights=self.weights,
            max_bytes=self.max_bytes,
        )


class Solver(Protocol):
    """Whoever solves puzzles."""

    def describe(self) -> Mapping[str, Any]:
        """The numbers in which it computes, and where."""
        ...

    def solve(self, puzzles: Iterable[Puzzle]) -> Iterator[Solution]:
        """Solutions as they finish; the puzzles are read lazily. Errors as of `loop.interleave`."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


def open_solver(openings: Sequence[Opening], settings: Interleaving) -> Solver:
    """A solver with a replica for each opening: in this process where there is one, in processes of their own otherwise.

    Raises:
        TamisError: As `open_model`, or of settings that cannot be with the model.
    """
    if len(openings) == 1:
        return Here(openings[0], settings)
    checkpoint_bytes(openings[0].folder, openings[0].weights)  # what is not whole is found before processes are started
    return Replicas(openings, settings)


class Here:
    """The model in this process."""

    def __init__(self, opening: Opening, settings: Interleaving) -> None:
        model = opening.open()
        from tamis.bagel.loop import check

        check(model, settings)
        self._model: Model | None = model
        self._settings = settings

    def describe(self) -> Mapping[str, Any]:
        """See `Solver`."""
        assert self._model is not None
        return _described(self._model)

    def solve(self, puzzles: Iterable[Puzzle]) -> Iterator[Solution]:
        """See `Solver`."""
        from tamis.bagel.loop import interleave

        assert self._model is not None
        return interleave(self._model, puzzles, self._settings)

    def close(self) -> None:
        """See `Solver`."""
        self._model = None


class Replicas:
    """The model in several processes."""

    def __init__(self, openings: Sequence[Opening], settings: Interleaving) -> None:
        """Start them, and wait until all are ready.

        Raises:
            TamisError: As `open_solver`, of the first that is not.
        """
        context = multiprocessing.get_context("spawn")
        self._processes: list[SpawnProcess] = []
        self._lines: list[Connection] = []
        self._described: Mapping[str, Any] = {}
        try:
            for opening in openings:
                mine, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, opening, settings, len(openings)), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._lines.append(mine)
            for line in self._lines:
                self._described = self._receive(line)
        except BaseException:
            self.close()
            raise

    def describe(self) -> Mapping[str, Any]:
        """See `Solver`."""
        return self._described

    def solve(self, puzzles: Iterable[Puzzle]) -> Iterator[Solution]:
        """See `Solver`."""
        left = iter(puzzles)
        for line in self._lines:
            line.send(_BEGIN)
        busy = list(self._lines)
        while busy:
            for line in [each for each in wait(busy) if isinstance(each, Connection)]:
                said = self._receive(line)
                if isinstance(said, Solution):
                    yield said
                elif said == _NEXT:
                    line.send(next(left, None))
                else:
                    busy.remove(line)

    def _receive(self, line: Connection) -> Any:
        """What a process says; its error is raised here."""
        try:
            said = line.recv()
        except (EOFError, OSError):
            process = self._processes[self._lines.index(line)]
            process.join(_ENDS_S)
            message = f"a process that held the model has ended by itself (exit code {process.exitcode})"
            raise EngineError(message, "Look whether memory sufficed; what is finished is kept") from None
        if isinstance(said, Exception):
            raise said
        return said

    def close(self) -> None:
        """See `Solver`."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(_ENDS_S)
            if process.is_alive():
                process.kill()
        for line in self._lines:
            line.close()


# --- in a process of its own -----------------------------------------------------------------------------------------

_BEGIN, _NEXT, _DONE = "begin", "next", "done"


def _work(line: Connection, opening: Opening, settings: Interleaving, num_replicas: int) -> None:
    """Open the model, then solve what is asked until the other end goes away."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever started us ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // num_replicas))
    try:
        solver = Here(opening, settings)
        line.send(solver.describe())
        while line.recv() == _BEGIN:
            for solution in solver.solve(_puzzles(line)):
                line.send(solution)
            line.send(_DONE)
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the other end says it
        line.send(error if isinstance(error, TamisError) else EngineError(f"{type(error).__name__}: {error}"))


def _puzzles(line: Connection) -> Iterator[Puzzle]:
    while True:
        line.send(_NEXT)
        puzzle = line.recv()
        if puzzle is None:
            return
        yield puzzle


def _end_with_parent() -> None:
    """A parent that was killed can end nobody: its orphans would keep their GPUs to the end of the picture."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _described(model: Model) -> Mapping[str, Any]:
    autoencoder = next(model.autoencoder.parameters()).dtype
    names = {"dtype": model.dtype, "autoencoder_dtype": autoencoder}
    return {"device": model.device.type, **{name: str(dtype).removeprefix("torch.") for name, dtype in names.items()}}
