"""The place of a worker: who is there now, and who comes when it dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError

from tamis.engines.base import Engine
from tamis.engines.ray.worker import Worker
from tamis.errors import EngineError, TamisError

DEATHS = (RayActorError, ObjectLostError, OutOfMemoryError, WorkerCrashedError)
"""What is raised in place of an answer when a worker, its machine or the way to it is lost."""

MOST_DEATHS = 3


class Place:
    """Holds one worker.

    Attributes:
        worker: An actor; its methods are called by `.remote()`.
        loading: What `Worker.load` will give.
    """

    def __init__(self, open_engine: Callable[[], Engine], num_gpus: int) -> None:
        self._open_engine = open_engine
        self._options = {"num_cpus": 1, "num_gpus": num_gpus, "scheduling_strategy": "SPREAD"}
        self._num_deaths = 0  # while loading, one after another
        self._start()

    def _start(self) -> None:
        self.worker: Any = ray.remote(Worker).options(**self._options).remote(self._open_engine)
        self.loading: Any = self.worker.load.remote()

    def replace(self) -> None:
        """Another worker for one that is lost."""
        self.clear()
        self._start()

    def clear(self) -> None:
        """End the worker."""
        ray.kill(self.worker)

    def loaded_now(self) -> Mapping[str, Any] | None:
        """What the engine that has just been loaded says of itself; None: the worker died, and another is loading.

        Raises:
            TamisError: The model does not load.
        """
        try:
            return self.checked(ray.get(self.loading))
        except DEATHS:
            self.died_loading()
            return None

    def checked(self, loaded: Mapping[str, Any] | TamisError) -> Mapping[str, Any]:
        """What `Worker.load` gave; raises it if it is an error."""
        if isinstance(loaded, TamisError):
            raise loaded
        self._num_deaths = 0
        return loaded

    def died_loading(self) -> None:
        """Try again with another worker, but not for ever.

        Raises:
            EngineError: That was the last time.
        """
        self._num_deaths += 1
        if self._num_deaths == MOST_DEATHS:
            advice = "Perhaps memory is short: use fewer workers on a machine"
            raise EngineError(f"{MOST_DEATHS} workers died while they loaded the model", advice)
        self.replace()
