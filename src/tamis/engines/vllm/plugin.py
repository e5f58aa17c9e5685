"""What vLLM loads of ours: nothing that does anything, unless the variable VLLM_PLUGINS names `tamis`.

    VLLM_PLUGINS=tamis vllm serve MODEL

vLLM calls `register` in each of its processes (entry point group `vllm.general_plugins`), and `StatisticsEndpoint` in the one
that serves (`vllm.endpoint_plugins`). What a request then says and gets: see `middleware`.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from tamis.engines.vllm.collect import Collector
from tamis.engines.vllm.middleware import StatisticsMiddleware

NAME = "tamis"
_log = logging.getLogger("vllm." + __name__)  # shown as vLLM's own


def is_wanted() -> bool:
    """Whether VLLM_PLUGINS names us."""
    return NAME in os.environ.get("VLLM_PLUGINS", "").split(",")


def register() -> None:
    """Let the process take statistics, once it turns out to be one that runs the model: for others it is much to import."""
    if not is_wanted():
        return
    from vllm.v1.worker.worker_base import WorkerBase

    begin = WorkerBase.__init__

    def wrapped_begin(worker: Any, *args: Any, **kwargs: Any) -> None:
        from tamis.engines.vllm.worker import install

        install()
        begin(worker, *args, **kwargs)

    WorkerBase.__init__ = wrapped_begin


class StatisticsEndpoint:
    """vLLM's interface of what adds to its HTTP server."""

    name = NAME
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:
        """Put the middleware behind that of the API key."""
        app.add_middleware(StatisticsMiddleware)

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Offer statistics, where all of them can be had."""
        if getattr(args, "data_parallel_size", 1) > 1:
            _log.warning("no token statistics: --data-parallel-size > 1; start one server an instance instead")
            return
        collector = Collector(engine_client, engine_client.renderer.tokenizer, engine_client.model_config.get_vocab_size())
        if not collector.can_place_tokens():
            _log.warning("no token statistics: they do not know this tokenizer")
            return
        state.tamis = collector
