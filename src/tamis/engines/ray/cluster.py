"""The cluster: one that is there, or one of this machine alone that ends with this process."""

from __future__ import annotations

import logging
import os
import signal
import threading

from tamis.errors import EngineError, MissingExtra

_OBJECT_STORE_BYTES = 256 << 20  # of a cluster that we start; what is larger goes to disk


def connect(num_workers: int) -> None:
    """Join the cluster of RAY_ADDRESS, else one that runs on this machine; where there is none, start one for `num_workers`.

    Raises:
        MissingExtra: Ray is not installed.
        EngineError: There is no cluster where RAY_ADDRESS says.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtra("--on ray", "ray") from None
    if ray.is_initialized():
        return
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address="auto", **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address := os.environ.get("RAY_ADDRESS"):
            said = str(error).partition("\n")[0]
            advice = "Start one (ray start --head); if it is there and asks for a token, set RAY_AUTH_MODE=token"
            raise EngineError(f"no Ray cluster to be joined at RAY_ADDRESS {address} ({said})", advice) from error
        ray.init(
            address="local",
            num_cpus=max(num_workers, os.cpu_count() or 1),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )
    finally:
        if in_main:  # Ray would end the process where a run shall be interrupted
            for number, handler in handlers.items():
                signal.signal(number, handler)
