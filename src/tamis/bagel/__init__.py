"""Interleaved reasoning in text and pictures with a unified model, implemented here.

The model is BAGEL (Deng et al. 2505.14683), the loop that of Zebra-CoT (Li et al. 2507.16746).
Importing this is light; opening a model needs the extra `bagel`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.errors import MissingExtra

if TYPE_CHECKING:
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


def checkpoint_bytes(folder: str | Path, weights: str = "") -> int:
    """What the tensors of a release take in its files, of which the headers alone are read.

    Raises:
        MissingExtra: As `open_model`.
        EngineError: The folder is not whole.
    """
    _check_packages()
    from tamis.bagel.config import read_shape
    from tamis.bagel.weights import find_autoencoder, find_weights
    from tamis.bagel.words import Words

    folder = Path(folder).expanduser()
    files, autoencoder = find_weights(folder, weights), find_autoencoder(folder)
    read_shape(folder, files.shapes, autoencoder.shapes)
    Words(folder)
    return sum(path.stat().st_size for path in {*files.places.values(), *autoencoder.places.values()})


def _check_packages() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors", "tokenizers", "PIL")):
        raise MissingExtra("reasoning in text and pictures", "bagel")
