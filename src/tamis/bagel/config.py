"""What a release folder says of the model's shape: its JSON files, and the sizes that only the tensors know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

from tamis.errors import EngineError

TensorShapes = Mapping[str, tuple[int, ...]]
"""Names and shapes of the tensors of a file or of several."""

_ADVICE = "Check that the whole release is there"
_SIDES = {"latent_sides": "vae_transform", "vision_sides": "vit_transform"}
"""Where `config.json` may say in which sizes the model knows pictures; releases of full size say it nowhere."""


@dataclass(frozen=True, slots=True)
class LanguageShape:
    """The language model (Qwen2.5 with two sets of weights)."""

    hidden: int
    intermediate: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocab_size: int
    rope_theta: float
    norm_eps: float
    context: int  # positions it was made for

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.hidden // self.num_heads


@dataclass(frozen=True, slots=True)
class VisionShape:
    """The vision tower (SigLIP)."""

    hidden: int
    intermediate: int
    num_layers: int
    num_heads: int
    patch: int
    num_places: int  # rows of its own table of positions
    norm_eps: float


@dataclass(frozen=True, slots=True)
class AutoencoderShape:
    """The autoencoder: everything can be read off its tensors."""

    channels: int
    widths: tuple[int, ...]  # channels at each level, from the full picture down
    num_blocks: int
    latent_channels: int

    @property
    def downsample(self) -> int:
        """Pixels a latent, along a side."""
        return 1 << (len(self.widths) - 1)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The whole."""

    language: LanguageShape
    vision: VisionShape
    autoencoder: AutoencoderShape
    latent_patch: int  # latents a token, along a side
    latent_side: int  # of the square table of positions of latent tokens
    vision_side: int  # of that of the vision tower's tokens
    latent_sides: tuple[int, int] = (1024, 512)  # of a picture as latents: the longer at most, the shorter at least
    vision_sides: tuple[int, int] = (980, 512)  # and as it is seen

    @property
    def latent_width(self) -> int:
        """Numbers a latent token."""
        return self.latent_patch**2 * self.autoencoder.latent_channels

    @property
    def latent_stride(self) -> int:
        """Pixels a latent token, along a side."""
        return self.latent_patch * self.autoencoder.downsample


def read_shape(folder: Path, tensors: TensorShapes, autoencoder: TensorShapes) -> ModelShape:
    """The shape of the model in `folder`, whose weights have the shapes `tensors`.

    Raises:
        EngineError: A file or a field is missing, is not what it should be, or says of the model what it cannot be.
    """
    whole = Fields.of(folder / "config.json")
    if whole.row.get("interpolate_pos"):
        raise EngineError(
            f"{whole.path}: interpolate_pos: models that interpolate positions are not known", "Use another release"
        )
    return ModelShape(
        language=_language(Fields.of(folder / "llm_config.json")),
        vision=_vision(Fields.of(folder / "vit_config.json")),
        autoencoder=_autoencoder(autoencoder),
        latent_patch=whole.number("latent_patch_size"),
        latent_side=_side(tensors, "latent_pos_embed.pos_embed"),  # not config.json's max_latent_size, which may be wrong
        vision_side=_side(tensors, "vit_pos_embed.pos_embed"),
        **{field: whole.sides(name) for field, name in _SIDES.items() if name in whole.row},
    )


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a JSON file."""

    path: Path
    row: Mapping[str, Any]

    @staticmethod
    def of(path: Path) -> Fields:
        """Read a file that holds one object."""
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EngineError(f"no {path.name} in the model folder {path.parent}", _ADVICE) from None
        except (OSError, ValueError) as error:
            raise EngineError(f"cannot read {path}: {error}", _ADVICE) from None
        if not isinstance(row, dict):
            raise EngineError(f"{path}: no JSON object", _ADVICE)
        return Fields(path, row)

    def number(self, name: str) -> int:
        """A whole number above zero."""
        value = self.row.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise EngineError(f"{self.path}: {name}: {_told(value)} is no whole number above 0", _ADVICE)
        return value

    def real(self, name: str) -> float:
        """A number above zero."""
        value = self.row.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise EngineError(f"{self.path}: {name}: {_told(value)} is no number above 0", _ADVICE)
        return float(value)

    def sides(self, name: str) -> tuple[int, int]:
        """Two whole numbers above zero."""
        value = self.row.get(name)
        if isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
            return value[0], value[1]
        raise EngineError(f"{self.path}: {name}: {_told(value)} is no pair of whole numbers above 0", _ADVICE)


def _told(value: object) -> str:
    return "nothing" if value is None else repr(value)[:40]


def _language(fields: Fields) -> LanguageShape:
    shape = LanguageShape(
        hidden=fields.number("hidden_size"),
        intermediate=fields.number("intermediate_size"),
        num_layers=fields.number("num_hidden_layers"),
        num_heads=fields.number("num_attention_heads"),
        num_kv_heads=fields.number("num_key_value_heads"),
        vocab_size=fields.number("vocab_size"),
        rope_theta=fields.real("rope_theta"),
        norm_eps=fields.real("rms_norm_eps"),
        context=fields.number("max_position_embeddings"),
    )
    if shape.hidden % shape.num_heads or shape.num_heads % shape.num_kv_heads or shape.head_dim % 2:
        heads = f"{shape.num_heads} heads, {shape.num_kv_heads} of keys, on a width of {shape.hidden}"
        raise EngineError(f"{fields.path}: heads that do not go into each other: {heads}", _ADVICE)
    return shape


def _vision(fields: Fields) -> VisionShape:
    return VisionShape(
        hidden=fields.number("hidden_size"),
        intermediate=fields.number("intermediate_size"),
        num_layers=fields.number("num_hidden_layers") - 1,  # the last layer of the JSON is not part of the model
        num_heads=fields.number("num_attention_heads"),
        patch=fields.number("patch_size"),
        num_places=(fields.number("image_size") // fields.number("patch_size")) ** 2,
        norm_eps=fields.real("layer_norm_eps"),
    )


def _autoencoder(tensors: TensorShapes) -> AutoencoderShape:
    widths: list[int] = []
    while (name := f"encoder.down.{len(widths)}.block.0.conv2.weight") in tensors:
        widths.append(tensors[name][0])
    num_blocks = 0
    while f"encoder.down.0.block.{num_blocks}.conv2.weight" in tensors:
        num_blocks += 1
    first, last = _shape_of(tensors, "encoder.conv_in.weight"), _shape_of(tensors, "decoder.conv_in.weight")
    return AutoencoderShape(first[0], tuple(widths), num_blocks, last[1])


def _side(tensors: TensorShapes, name: str) -> int:
    rows = _shape_of(tensors, name)[0]
    side = isqrt(rows)
    if side * side != rows:
        raise EngineError(f"the tensor {name} has {rows} rows, which is no square", _ADVICE)
    return side


def _shape_of(tensors: TensorShapes, name: str) -> tuple[int, ...]:
    if len(tensors.get(name, ())) < 2:
        raise EngineError(f"the model lacks the tensor {name}", _ADVICE)
    return tensors[name]
