"""Models by name: where they are, what tells them apart, and how they are loaded."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tamis.config import EMBEDDED, EMBEDDED_INTERLEAVE, EMBEDDED_REMAINDERS, EMBEDDED_VISION, ModelSettings
from tamis.demo import ADAPTER_FOLDER, INTERLEAVE_FOLDER, MODEL_FOLDER, VISION_FOLDER
from tamis.engines import open_engine
from tamis.engines.base import Engine
from tamis.engines.folders import Adapter, adapter_base, find_adapter

NETLIST = "netlist"

_log = logging.getLogger(__name__)
_EMBEDDED = {
    EMBEDDED: MODEL_FOLDER,
    EMBEDDED_REMAINDERS: ADAPTER_FOLDER,
    EMBEDDED_VISION: VISION_FOLDER,
    EMBEDDED_INTERLEAVE: INTERLEAVE_FOLDER,
}
EMBEDDED_NAMES = frozenset(_EMBEDDED)
_DIGEST_EDGE = 1 << 20  # bytes of each end of a weights file that enter the model's digest


def open_model(settings: ModelSettings, *, token_stats: bool = True, hidden_states: bool = False) -> Engine:
    """Load a model; the engine `netlist` is the demo's rule, and needs none.

    Raises:
        TamisError: See `open_engine`.
    """
    if settings.engine == NETLIST:
        from tamis.demo.netlist_judge import NetlistJudge

        return NetlistJudge()
    if settings.base_model and Path(model_path(settings.model)).is_dir() and _adapter(settings) is None:
        _log.warning("%s is a whole model: the base model %s plays no part", settings.model, settings.base_model)
    return open_engine(
        settings.engine,
        str(model_path(settings.model)),
        batch_size=settings.batch_size,
        device=settings.device,
        dtype=settings.dtype,
        token_stats=token_stats,
        hidden_states=hidden_states,
        trust_remote_code=settings.trust_remote_code,
        base_model=_base_model(settings),
        use_lora=settings.use_lora,
        allow_pickle=settings.allow_pickle,
        max_prompt_tokens=settings.max_prompt_tokens,
        truncate=settings.truncate,
        tensor_parallel=settings.tensor_parallel,
        base_urls=settings.base_urls,
        max_rps=settings.max_rps,
        api_key=settings.api_key,
    )


def model_identity(settings: ModelSettings) -> dict[str, Any]:
    """What of a model shapes what it says: of an adapter its base as well.

    Raises:
        TamisError: See `find_adapter`.
    """
    digest = model_digest(model_path(settings.model))
    if adapter := _adapter(settings):
        digest += f"+{model_digest(adapter.base)}"
    limits = {"max_prompt_tokens": settings.max_prompt_tokens, "truncate": settings.truncate}
    return {
        "engine": settings.engine,
        "model": digest,
        "dtype": settings.dtype,
        **(limits if settings.max_prompt_tokens is not None else {}),  # absent in folders from before there were limits
    }


def from_anywhere(settings: ModelSettings) -> ModelSettings:
    """The same for another folder, or another machine with the same files: paths are absolute, our own names stay."""
    path, adapter = Path(model_path(settings.model)), _adapter(settings)
    if settings.model not in _EMBEDDED and path.exists():
        settings = replace(settings, model=str(path.resolve()))
    if adapter and Path(adapter.base).is_dir() and adapter.base not in map(str, _EMBEDDED.values()):
        settings = replace(settings, base_model=str(Path(adapter.base).resolve()))
    return settings


def _adapter(settings: ModelSettings) -> Adapter | None:
    """The adapter in a folder of this machine."""
    if settings.engine not in ("hf", "vllm"):
        return None
    return find_adapter(str(model_path(settings.model)), base_model=_base_model(settings), use_lora=settings.use_lora)


def _base_model(settings: ModelSettings) -> str | None:
    """The base that the settings name, or the embedded model where the adapter names that."""
    base = settings.base_model
    if base is None and settings.engine in ("hf", "vllm") and settings.use_lora is not False:
        named = adapter_base(model_path(settings.model))
        base = named if named in _EMBEDDED else None
    return None if base is None else str(model_path(base))


def model_path(model: str) -> str | Path:
    """The folder of an embedded model for its name; anything else as it stands."""
    return _EMBEDDED.get(model) or (Path(model).expanduser() if model.startswith("~") else model)


def model_name(model: str) -> str:
    """The last part of a folder or hub name, fit for a file name."""
    return re.sub(r"[^\w.-]+", "-", Path(model.rstrip("/")).name) or "model"


def model_digest(model: str | Path) -> str:
    """A cheap fingerprint of a local model: of a folder its configuration, and name, size and both ends of each weights file.

    A hub name is its own fingerprint.
    """
    folder = Path(model)
    if folder.is_file():
        return hashlib.sha256(folder.read_bytes()).hexdigest()[:16]
    if not folder.is_dir():
        return str(model)
    digest = hashlib.sha256()
    weights = [*folder.glob("*.safetensors")] or [*folder.glob("*.bin")]
    for path in sorted([*folder.glob("*.json"), *weights]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_DIGEST_EDGE))
            file.seek(max(0, size - _DIGEST_EDGE))
            digest.update(file.read(_DIGEST_EDGE))
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Of the packages that matter to what is drawn, as far as they are installed."""
    found = {}
    for package in ("tamis", "torch", "transformers", "math-verify"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
