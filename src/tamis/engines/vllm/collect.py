"""Statistics of finished requests out of vLLM's workers, on the serving side."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np

from tamis.engines.vllm.store import merge, unpack

_log = logging.getLogger("vllm." + __name__)


class Collector:
    """One call to the workers for all requests that finish while the last call is under way."""

    def __init__(self, engine: Any, tokenizer: Any, vocab_size: int) -> None:
        from tamis.engines.hf.text import Detokenizer

        self.vocab_size = vocab_size
        self._engine = engine
        self._text = Detokenizer(tokenizer)
        self._waiting: dict[str, asyncio.Future[bytes | None] | None] = {}  # None: nobody waits, forget it
        self._collecting: asyncio.Task[None] | None = None

    def can_place_tokens(self) -> bool:
        """Whether the tokenizer is one of those whose texts we can cut into tokens."""
        try:
            self._text.text_and_starts([0, 1])
        except Exception:  # noqa: BLE001 whatever a tokenizer of others does
            return False
        return True

    async def take(self, key: str) -> bytes | None:
        """What the store packed for a key, then (T + 2,) int32: where in their text its tokens begin, and where that ends.

        It ends twice: without the characters at its end that are not whole, which vLLM may leave away, and with them. None:
        there is nothing whole.
        """
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._put(key, future)
        packed = await future
        if packed is None:
            return None
        ids = unpack(packed)[1]
        if ids.min(initial=0) < 0:
            return None
        text, starts = self._text.text_and_starts(ids.tolist())
        return packed + np.append(starts, [len(text.rstrip("\ufffd")), len(text)]).astype("<i4").tobytes()

    def drop(self, key: str) -> None:
        """Nobody will ask for this."""
        self._put(key, None)

    def _put(self, key: str, future: asyncio.Future[bytes | None] | None) -> None:
        self._waiting[key] = future
        if self._collecting is None:
            self._collecting = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            found: dict[str, bytes] = {}
            try:
                found = merge(await self._engine.collective_rpc("tamis_take", args=(list(waiting),)))
            except Exception as error:  # noqa: BLE001 the requests themselves are answered
                _log.warning("the workers give no token statistics: %s", error)
            for key, future in waiting.items():
                if future is not None and not future.done():
                    future.set_result(found.get(key))
        self._collecting = None
