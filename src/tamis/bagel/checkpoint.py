"""What can be said of a release folder and of settings before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.bagel.config import ModelShape, read_shape
from tamis.bagel.model import find_dtype
from tamis.bagel.pictures import SizeRule
from tamis.bagel.settings import Interleaving
from tamis.bagel.weights import find_autoencoder, find_weights
from tamis.bagel.words import Words
from tamis.engines.device import find_device
from tamis.errors import UsageError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A release folder, of whose tensors the headers alone are read."""

    num_bytes: int  # of its files
    shape: ModelShape
    words: Words

    @property
    def latent_rule(self) -> SizeRule:
        """In which sizes pictures are read and drawn."""
        return SizeRule(*self.shape.latent_sides, self.shape.latent_stride)

    def num_positions(self, texts: Sequence[str], num_pictures: int, system_prompt: str) -> int:
        """Rotary positions that a problem takes: a token of a text one, and a picture one."""
        all_texts = [system_prompt, *texts] if system_prompt else texts
        return num_pictures + sum(len(self.words.wrapped(text)) for text in all_texts)


def read_checkpoint(folder: Path, weights: str = "") -> Checkpoint:
    """Look at a folder.

    Raises:
        EngineError: It is not whole.
    """
    files, autoencoder = find_weights(folder, weights), find_autoencoder(folder)
    num_bytes = sum(path.stat().st_size for path in {*files.places.values(), *autoencoder.places.values()})
    return Checkpoint(num_bytes, read_shape(folder, files.shapes, autoencoder.shapes), Words(folder))


def check_numbers(device: str, *dtypes: str) -> None:
    """Refuse a device that is not here, or numbers that there are none.

    Raises:
        UsageError: With the name.
    """
    find_device(device)
    for name in dtypes:
        if name != "auto":
            find_dtype(name)


def check_with_model(settings: Interleaving, shape: ModelShape, latent_rule: SizeRule) -> None:
    """Refuse settings that cannot be with a model of this shape, which reads pictures in the sizes of a rule.

    Raises:
        UsageError: With the setting and its value.
    """
    settings.check()
    if not settings.size:
        return
    (width, height), stride = settings.size, shape.latent_stride
    most = stride * shape.latent_side
    if width % stride or height % stride or max(width, height) > most:
        raise UsageError(f"pictures of {width}x{height} cannot be drawn", f"Use multiples of {stride} up to {most}")
    read = latent_rule.size(width, height)
    if read != settings.size:
        sizes = "{}x{}".format(*read)
        raise UsageError(f"pictures of {width}x{height} would be read as {sizes} by this model", f"Draw them in {sizes}")
