"""Between an event loop and a decoding thread: requests one way, samples the other, neither faster than the other end takes.

A request is pulled only while fewer draws wait for a slot than the engine has slots; at most `capacity` finished samples
wait for the consumer, then decoding pauses.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from tamis.records import Request, Sample

T = TypeVar("T")
R = TypeVar("R")

THREAD_NAME = "tamis-hf"


class Bridge:
    """The `Source` of one decoding thread. `samples` runs the thread and yields what it emits."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()  # None: no more, or stop
        self._ended = False
        self._stop = threading.Event()
        self._unread = threading.Semaphore(capacity)
        self._out: asyncio.Queue[Sample | BaseException | None] = asyncio.Queue()
        self._pending = 0  # draws pulled that have no slot yet; touched by the event loop's thread only
        self._room = asyncio.Event()
        self._room.set()

    # --- the decoding thread's side (`loop.Source`) -----------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether nobody waits for samples any more."""
        return self._stop.is_set()

    def take(self, *, wait: bool) -> Request | None:
        """The next request; None when there is none now, or with `wait` when there will be none."""
        if self._ended or self.stopped:
            return None
        try:
            request = self._requests.get(block=wait)
        except queue.Empty:
            return None
        self._ended = request is None
        return request

    def seated(self, count: int) -> None:
        """So many of the draws taken wait no longer (negative: wait again)."""
        self._call(self._seat, count)

    def emit(self, sample: Sample) -> None:
        """Hand over a finished sample; blocks while the consumer lags by `capacity` samples, drops it when nobody waits."""
        self._unread.acquire()
        if self.stopped:
            self._unread.release()  # for the next one: nothing blocks any more
            return
        self._call(self._out.put_nowait, sample)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *arguments)

    # --- the event loop's side --------------------------------------------------------------------------------------

    def _seat(self, count: int) -> None:
        self._pending -= count
        if self._pending < self._capacity:
            self._room.set()
        else:
            self._room.clear()

    async def _pull(self, requests: AsyncIterator[Request]) -> None:
        try:
            await self._room.wait()
            async for request in requests:
                if request.draws:
                    self._requests.put(request)
                    self._seat(-len(request.draws))
                await self._room.wait()
        finally:
            self._requests.put(None)

    async def samples(self, requests: AsyncIterator[Request], work: Callable[[Bridge], None]) -> AsyncGenerator[Sample, None]:
        """Run `work(self)` in a thread over the requests; yield its samples, then raise what it or `requests` raised."""

        def run() -> None:
            end: BaseException | None = None
            try:
                work(self)
            except BaseException as error:  # noqa: BLE001 - it is raised where the samples are awaited
                end = error
            self._call(self._out.put_nowait, end)

        thread = threading.Thread(target=run, name=THREAD_NAME, daemon=True)
        puller = asyncio.create_task(self._pull(requests))
        thread.start()
        try:
            while isinstance(item := await self._out.get(), Sample):
                self._unread.release()
                yield item
            if item is not None:
                raise item
            await puller
        finally:
            self._stop.set()
            puller.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await puller
            self._unread.release()
            self._requests.put(None)
            await asyncio.to_thread(thread.join)


async def in_thread(items: AsyncIterator[T], work: Callable[[T], Iterator[R]]) -> AsyncGenerator[R, None]:
    """What `work` yields for each item, made in a thread, result by result, as they are asked for.

    Closed or cancelled, it ends with the result that is under work.
    """
    async for item in items:
        results = work(item)
        while True:
            task = asyncio.ensure_future(asyncio.to_thread(_next, results))
            try:
                found = await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait([task])
                raise
            if not found:
                break
            yield found[0]


def _next(results: Iterator[R]) -> list[R]:
    """The next result; nothing at the end."""
    for result in results:
        return [result]
    return []
