"""Interleaved reasoning in text and pictures with a unified model, implemented here.

The model is BAGEL (Deng et al. 2505.14683), the loop that of Zebra-CoT (Li et al. 2507.16746).
Importing this is light; opening a model needs the extra `bagel`.

    settings                                    what can be set, what goes in and comes out
    config, fields, weights, words, checkpoint  a release folder: shapes, tensors, tokenizer
    model                                       the whole, of transformer, vision, autoencoder, pictures, positions
    cache, attention, padding, offload          contexts, who sees whom in a forward pass, and where it computes
    chance, rows, flow, slots, loop             a row's luck and contexts, noise to pictures, many rows together
    replicas, worker                            the model here, or in several processes
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.errors import MissingExtra

if TYPE_CHECKING:
    from tamis.bagel.checkpoint import Checkpoint
    from tamis.bagel.model import Model


def open_model(folder: str | Path, **options: Any) -> Model:
    """Load a release folder; options as of `tamis.bagel.model.Model`.

    Raises:
        MissingExtra: Its packages are not installed.
        UsageError: The device or the numbers do not exist.
        EngineError: The folder is not whole, or the memory does not suffice.
    """
    _check_packages()
    from tamis.bagel.model import Model

    return Model(folder, **options)


def read_checkpoint(folder: str | Path, weights: str = "") -> Checkpoint:
    """A release folder, of whose tensors the headers alone are read.

    Raises:
        MissingExtra: As `open_model`.
        EngineError: The folder is not whole.
    """
    _check_packages()
    from tamis.bagel import checkpoint

    return checkpoint.read_checkpoint(Path(folder).expanduser(), weights)


def _check_packages() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors", "tokenizers", "PIL")):
        raise MissingExtra("reasoning in text and pictures", "bagel")
