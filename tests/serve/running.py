"""A service in a thread of its own, over an engine that says what it is told to."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Self

import openai

from tamis.config import Serving
from tamis.engines.base import Engine
from tamis.serve.running import listen, run, url_of
from tamis.serve.service import Service

NAME = "small"


class Running:
    """`with Running(engine) as running: running.client().chat...`; leaving waits until all is answered."""

    def __init__(self, engine: Engine, **settings: object) -> None:
        self._engine = engine
        self.serving = Serving(model=NAME, port=0, **settings)
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        started: Future[Service] = Future()
        port = listen(self.serving)
        self.base_url, self.service_port = url_of(port), port.getsockname()[1]

        def work() -> None:
            try:
                asyncio.run(run(self._engine, self.serving, port, started.set_result))
            except Exception as error:  # noqa: BLE001 for whoever asks
                self.error = error
            finally:
                port.close()

        self._thread = threading.Thread(target=work, name="service", daemon=True)
        self._thread.start()
        self.service = started.result(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.service.is_closing = True
        self.join()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()

    def client(self, key: str = "none") -> openai.OpenAI:
        """The real client; it tries nothing again."""
        return openai.OpenAI(base_url=self.base_url, api_key=key, max_retries=0, timeout=60)


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one turn."""
    return [{"role": "user", "content": text}]
