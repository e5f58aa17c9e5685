"""A model in several workers, on one machine or many."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tamis.config import ModelSettings
from tamis.engines.base import Engine
from tamis.errors import EngineError
from tamis.workflows.models import from_anywhere, model_identity, open_model, versions


def open_workers(settings: ModelSettings, num_workers: int, *, token_stats: bool, hidden_states: bool) -> Engine:
    """Load a model in each of several workers on a Ray cluster; elsewhere as `open_model`.

    Raises:
        TamisError: See `open_engine` and `RayEngine`.
    """
    from tamis.engines.ray import RayEngine

    settings = _from_anywhere(settings)
    opening = partial(_open_alike, settings, _same(settings), token_stats=token_stats, hidden_states=hidden_states)
    needs_gpu = settings.engine in ("hf", "vllm") and settings.device != "cpu"
    return RayEngine(opening, num_workers, num_gpus=settings.tensor_parallel if needs_gpu else 0)


def _from_anywhere(settings: ModelSettings) -> ModelSettings:
    """The same for another process, whose environment and folder are others."""
    if settings.engine == "http":
        from tamis.engines.http.settings import find_api_key, find_base_urls

        return replace(settings, base_urls=find_base_urls(settings.base_urls), api_key=find_api_key(settings.api_key))
    return from_anywhere(settings)


def _same(settings: ModelSettings) -> dict[str, str]:
    """What must be the same on all machines."""
    return {"model": model_identity(settings)["model"], **versions()}


def _open_alike(settings: ModelSettings, there: dict[str, str], *, token_stats: bool, hidden_states: bool) -> Engine:
    here = _same(settings)
    if changes := [
        f"{name}: {there.get(name)} and {here.get(name)}" for name in there | here if there.get(name) != here.get(name)
    ]:
        advice = "Put the model at the same path and install the same versions on all machines"
        raise EngineError(f"the machine of a worker has another model or other packages ({', '.join(changes)})", advice)
    return open_model(settings, token_stats=token_stats, hidden_states=hidden_states)
