"""Models by name: where they are, what tells them apart, and how they are loaded."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tamis.config import EMBEDDED, EMBEDDED_VISION, ModelSettings
from tamis.demo import MODEL_FOLDER, VISION_FOLDER
from tamis.engines import open_engine
from tamis.engines.base import Engine

NETLIST = "netlist"
_DIGEST_EDGE = 1 << 20  # bytes of each end of a weights file that enter the model's digest


def open_model(settings: ModelSettings, *, token_stats: bool = True, hidden_states: bool = False) -> Engine:
    """Load a model; the engine `netlist` is the demo's rule, and needs none.

    Raises:
        TamisError: See `open_engine`.
    """
    if settings.engine == NETLIST:
        from tamis.demo.netlist_judge import NetlistJudge

        return NetlistJudge()
    return open_engine(
        settings.engine,
        str(model_path(settings.model)),
        batch_size=settings.batch_size,
        device=settings.device,
        dtype=settings.dtype,
        token_stats=token_stats,
        hidden_states=hidden_states,
        trust_remote_code=settings.trust_remote_code,
        tensor_parallel=settings.tensor_parallel,
        base_urls=settings.base_urls,
        max_rps=settings.max_rps,
        api_key=settings.api_key,
    )


def model_identity(settings: ModelSettings) -> dict[str, Any]:
    """What of a model shapes what it says."""
    return {"engine": settings.engine, "model": model_digest(model_path(settings.model)), "dtype": settings.dtype}


def model_path(model: str) -> str | Path:
    """The folder of an embedded model for its name; anything else as it stands."""
    embedded = {EMBEDDED: MODEL_FOLDER, EMBEDDED_VISION: VISION_FOLDER}.get(model)
    return embedded or (Path(model).expanduser() if model.startswith("~") else model)


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
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
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
