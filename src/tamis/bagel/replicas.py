"""The model opened here, or once in each of several processes that share the rows: one replica a GPU.

A process asks for its next puzzle when it has a free place for it, so a slow row holds up nobody else's. What a row gives
is of its seed alone, and so the same wherever it is solved.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tamis.bagel import open_model, read_checkpoint
from tamis.bagel.settings import Interleaving, Puzzle, Solution
from tamis.bagel.worker import BEGIN, DONE, NEXT, work
from tamis.errors import EngineError

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

    def solve(self, puzzles: Iterable[Puzzle], drawn: Callable[[int], None] | None = None) -> Iterator[Solution]:
        """Solutions as they finish; the puzzles are read lazily. Arguments and errors as of `loop.interleave`."""
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
    read_checkpoint(openings[0].folder, openings[0].weights)  # what is not whole is found before processes are started
    return Replicas(openings, settings)


class Here:
    """The model in this process."""

    def __init__(self, opening: Opening, settings: Interleaving) -> None:
        model = opening.open()
        from tamis.bagel.checkpoint import check_with_model

        check_with_model(settings, model.shape, model.latent_rule)
        self._model: Model | None = model
        self._settings = settings

    def describe(self) -> Mapping[str, Any]:
        """See `Solver`."""
        assert self._model is not None
        return _described(self._model)

    def solve(self, puzzles: Iterable[Puzzle], drawn: Callable[[int], None] | None = None) -> Iterator[Solution]:
        """See `Solver`."""
        from tamis.bagel.loop import interleave

        assert self._model is not None
        return interleave(self._model, puzzles, self._settings, drawn=drawn)

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
                arguments = theirs, partial(Here, opening, settings), len(openings)
                process = context.Process(target=work, args=arguments, daemon=True)
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

    def solve(self, puzzles: Iterable[Puzzle], drawn: Callable[[int], None] | None = None) -> Iterator[Solution]:
        """See `Solver`. After an error nothing more is begun, and it is raised when what has been is there."""
        left, busy = iter(puzzles), list(self._lines)
        errors: list[Exception] = []

        def next_puzzle() -> Puzzle | None:
            try:
                return None if errors else next(left, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it waits for the others
                errors.append(error)
                return None

        for line in busy:
            _tell(line, BEGIN)
        while busy:
            for line in [each for each in wait(busy) if isinstance(each, Connection)]:
                try:
                    said = self._receive(line)
                except Exception as error:  # noqa: BLE001 - as above
                    errors.append(error)
                    said = DONE
                if isinstance(said, Solution):
                    yield said
                elif isinstance(said, int):
                    if drawn:
                        drawn(said)
                elif said == NEXT:
                    _tell(line, next_puzzle())
                else:
                    busy.remove(line)
        if errors:
            raise errors[0]

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


def _tell(line: Connection, what: object) -> None:
    with suppress(OSError):  # who has gone is found when it is listened to
        line.send(what)


def _described(model: Model) -> Mapping[str, Any]:
    autoencoder = next(model.autoencoder.parameters()).dtype
    names = {"dtype": model.dtype, "autoencoder_dtype": autoencoder}
    return {"device": model.device.type, **{name: str(dtype).removeprefix("torch.") for name, dtype in names.items()}}
