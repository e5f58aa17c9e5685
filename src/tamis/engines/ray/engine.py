"""`RayEngine`: requests spread over workers; what a dead one held is drawn by another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from tamis.engines.base import Engine
from tamis.engines.ray.cluster import connect
from tamis.errors import UsageError
from tamis.records import Request, Sample


class RayEngine:
    """Draws with several workers, each of which holds an engine; implements `tamis.engines.base.Engine`.

    What is drawn is what one engine draws, whoever draws it. Work begins as soon as one worker has loaded its model; the
    others join when they have. A worker that dies is replaced; nothing is lost, and nothing comes twice. A draw during which
    three workers have died fails.

    Args:
        open_engine: Loads the engine, in the process of a worker: it is sent there.
        num_workers: How many there are.
        num_gpus: GPUs of each, where the cluster has any.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: The cluster has no room for any worker.
        EngineError: There is no cluster, or the model does not load.
    """

    def __init__(self, open_engine: Callable[[], Engine], num_workers: int, *, num_gpus: int = 0) -> None:
        connect(num_workers)
        import ray

        from tamis.engines.ray.place import Place

        has = ray.cluster_resources()
        num_gpus = num_gpus if has.get("GPU") else 0
        if has.get("CPU", 0) < 1 or has.get("GPU", 0) < num_gpus:
            what = f"{has.get('CPU', 0):g} processors and {has.get('GPU', 0):g} GPUs"
            raise UsageError(f"a worker needs 1 processor and {num_gpus} GPUs, the cluster has {what}", "Add a node")
        self._places = [Place(open_engine, num_gpus) for _ in range(num_workers)]
        try:
            self._described = self._wait_for_first()
        except BaseException:
            self.close()
            raise

    def _wait_for_first(self) -> Mapping[str, Any]:
        import ray

        while True:
            ray.wait([place.loading for place in self._places], num_returns=1)
            for place in self._places:
                if ray.wait([place.loading], timeout=0)[0] and (described := place.loaded_now()):
                    return described

    def describe(self) -> Mapping[str, Any]:
        """What the engine of a worker says of itself, and how many there are."""
        return {**self._described, "workers": len(self._places)}

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Draw every draw of every request; yield each sample as it finishes, in any order."""
        from tamis.engines.ray.spread import Spread

        async with aclosing(Spread(self._places, requests, self._described).samples()) as samples:
            async for sample in samples:
                yield sample

    def close(self) -> None:
        """End the workers. Idempotent."""
        for place in self._places:
            place.clear()
        self._places = []
