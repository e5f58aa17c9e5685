"""A service on a port, until it is told to end: then it takes nothing more, and ends when all that it took is answered."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import uvicorn

from tamis.engines.vllm.serving import is_loopback
from tamis.errors import EngineError, TamisError, UsageError
from tamis.serve.app import make_app
from tamis.serve.service import Service

if TYPE_CHECKING:
    from tamis.config import Serving
    from tamis.engines.base import Engine

_BACKLOG = 2048


def listen(serving: Serving) -> socket.socket:
    """The port, taken but not yet answering: what is wrong with it shows before a model is loaded.

    Raises:
        UsageError: The service would be open to other machines without a key, or the port cannot be had.
    """
    if not is_loopback(serving.host) and not serving.keys:
        advice = "Set TAMIS_API_KEYS, give --api-key-file, or leave --host away"
        raise UsageError(f"--host {serving.host} opens the service to other machines without a key", advice)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as stack:
            port = stack.enter_context(socket.socket(family, kind, protocol))
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(address)
            stack.pop_all()
    except OSError as error:
        where = f"{serving.host} port {serving.port}"
        raise UsageError(f"cannot listen at {where}: {error.strerror}", "Take another --port, or --host") from None
    return port


def url_of(port: socket.socket) -> str:
    """Where clients find it, with `/v1`."""
    host, number = port.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{number}/v1"


async def run(engine: Engine, serving: Serving, port: socket.socket, ready: Callable[[Service], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second one abandons what is under work.

    Args:
        engine: What answers; it is not closed.
        serving: The settings.
        port: See `listen`.
        ready: Called once requests are taken.

    Raises:
        EngineError: The engine broke as a whole; all that was under work has been told.
        KeyboardInterrupt: There was a second signal.
    """
    async with Service(engine, serving) as service:
        server = _Server(service, ready)
        await server.serve([port])
    if isinstance(service.error, TamisError):
        raise service.error
    if service.error:
        raise EngineError(f"the engine broke: {type(service.error).__name__}: {service.error}") from service.error
    if service.is_abandoned:
        raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """Looks ten times a second whether all that was taken is answered."""

    def __init__(self, service: Service, ready: Callable[[Service], None]) -> None:
        config = uvicorn.Config(
            make_app(service),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            backlog=_BACKLOG,
        )
        super().__init__(config)
        self._service, self._ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready(self._service)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._service.has_ended

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        is_background = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # where Ctrl-C is not meant for us
        numbers = [signal.SIGTERM] if is_background else [signal.SIGTERM, signal.SIGINT]
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _end(self) -> None:
        if self._service.is_abandoned:  # a client that does not read, perhaps
            self.should_exit = self.force_exit = True
        elif self._service.is_closing:
            self._service.abandon()
        self._service.is_closing = True
