"""An event loop in a thread of its own: callers wait for what runs there, be they in an event loop themselves or not."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Background:
    """Runs coroutines to their end, one thread for all; it ends when it is closed, forgotten, or the program does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(self._loop,), name="tamis-inference", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _end, self._loop, thread)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine; Ctrl-C cancels it, waits until it has cleaned up, and is raised here."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                asyncio.run_coroutine_threadsafe(_others_done(), self._loop).result()
            raise

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._end()


async def _others_done() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join()
