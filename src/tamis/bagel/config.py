"""What a release folder says of the model's shape: its JSON files, and the sizes that only the tensors know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

from tamis.bagel.fields import ADVICE, LANGUAGE_FILE, VISION_FILE, WHOLE_FILE, Fields
from tamis.errors import EngineError

TensorShapes = Mapping[str, tuple[int, ...]]
"""Names and shapes of the tensors of a file or of several."""

AUTOENCODER_FILE = "ae.safetensors"
NUM_GROUPS = 32
"""In which the autoencoder's norms take the channels of every level."""

_LATENT_TABLE, _VISION_TABLE = "latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"
_WORDS_TABLE = "language_model.model.embed_tokens.weight"
_LATENTS_IN = "vae2llm.weight"
_WITHOUT = "Fetch it again, or write {} into it: then the sizes of pictures are the published ones"
_LAYERS, _TOWER = "language_model.model.layers.", "vit_model.vision_model."


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

    What is not as large as its tensors is found here, before modules are made that may be of any size.

    Raises:
        EngineError: A file or a field is missing, is not what it should be, or says of the model what it cannot be.
    """
    whole = Fields.of(folder / WHOLE_FILE, _WITHOUT)
    if whole.row.get("interpolate_pos"):
        raise EngineError(
            f"{whole.path}: interpolate_pos: models that interpolate positions are not known", "Use another release"
        )
    small = _autoencoder(autoencoder)
    shape = ModelShape(
        language=_language(Fields.of(folder / LANGUAGE_FILE), tensors),
        vision=_vision(Fields.of(folder / VISION_FILE), tensors),
        autoencoder=small,
        latent_patch=isqrt(_sizes(tensors, _LATENTS_IN, 2)[1] // small.latent_channels),
        latent_side=_side(tensors, _LATENT_TABLE),  # not config.json's max_latent_size, which may be wrong
        vision_side=_side(tensors, _VISION_TABLE),
    )
    if shape.latent_width != (found := _sizes(tensors, _LATENTS_IN, 2)[1]):
        message = f"the tensor {_LATENTS_IN} takes {found} numbers, and no square of latents has {small.latent_channels} each"
        raise EngineError(message, ADVICE)
    if shape.vision.num_places < shape.vision_side**2:
        message = f"the tensor {_VISION_TABLE} has {shape.vision_side**2} places, the vision tower's own table fewer"
        raise EngineError(f"{message}: {shape.vision.num_places}", ADVICE)
    return replace(
        shape,
        latent_sides=_sides(whole, "vae_transform", shape.latent_sides, shape.latent_stride, shape.latent_side, _LATENT_TABLE),
        vision_sides=_sides(whole, "vit_transform", shape.vision_sides, shape.vision.patch, shape.vision_side, _VISION_TABLE),
    )


def _language(fields: Fields, tensors: TensorShapes) -> LanguageShape:
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
    _agree(fields, "hidden_size", shape.hidden, tensors, _WORDS_TABLE, 1)
    _agree(fields, "vocab_size", shape.vocab_size, tensors, _WORDS_TABLE, 0)
    _agree(fields, "intermediate_size", shape.intermediate, tensors, f"{_LAYERS}0.mlp.gate_proj.weight", 0)
    _check_layers(fields, shape.num_layers, tensors, _LAYERS)
    if shape.hidden % shape.num_heads or shape.num_heads % shape.num_kv_heads or shape.head_dim % 2:
        heads = f"{shape.num_heads} heads, {shape.num_kv_heads} of keys, on a width of {shape.hidden}"
        raise EngineError(f"{fields.path}: heads that do not go into each other: {heads}", ADVICE)
    return shape


def _vision(fields: Fields, tensors: TensorShapes) -> VisionShape:
    shape = VisionShape(
        hidden=fields.number("hidden_size"),
        intermediate=fields.number("intermediate_size"),
        num_layers=fields.number("num_hidden_layers") - 1,  # the last layer of the JSON is not part of the model
        num_heads=fields.number("num_attention_heads"),
        patch=fields.number("patch_size"),
        num_places=(fields.number("image_size") // fields.number("patch_size")) ** 2,
        norm_eps=fields.real("layer_norm_eps", 1e-6),  # releases leave it out, and so are read the class's default
    )
    table = f"{_TOWER}embeddings.position_embedding.weight"
    _agree(fields, "hidden_size", shape.hidden, tensors, table, 1)
    _agree(fields, "patch_size", 3 * shape.patch**2, tensors, f"{_TOWER}embeddings.patch_embedding.weight", 1)
    _agree(fields, "image_size", shape.num_places, tensors, table, 0)
    _check_layers(fields, shape.num_layers, tensors, f"{_TOWER}encoder.layers.")
    _agree(fields, "intermediate_size", shape.intermediate, tensors, f"{_TOWER}encoder.layers.0.mlp.fc1.weight", 0)
    if shape.hidden % shape.num_heads:
        heads = f"{shape.num_heads} heads on a width of {shape.hidden}"
        raise EngineError(f"{fields.path}: heads that do not go into each other: {heads}", ADVICE)
    return shape


def _autoencoder(tensors: TensorShapes) -> AutoencoderShape:
    num_levels, num_mirrored = _num_parts(tensors, "encoder.down."), _num_parts(tensors, "decoder.up.")
    widths = tuple(_num_channels(tensors, f"encoder.down.{level}.block.0.conv2.weight") for level in range(num_levels or 1))
    if num_levels != num_mirrored:
        message = f"{AUTOENCODER_FILE}: {num_levels} levels at encoder.down.*, and {num_mirrored} at decoder.up.*"
        raise EngineError(message, ADVICE)
    return AutoencoderShape(
        channels=_num_channels(tensors, "encoder.conv_in.weight"),
        widths=widths,
        num_blocks=_num_parts(tensors, "encoder.down.0.block."),
        latent_channels=_sizes(tensors, "decoder.conv_in.weight", 4, AUTOENCODER_FILE)[1],
    )


def _num_parts(tensors: TensorShapes, prefix: str) -> int:
    """How many different parts of a list of modules have tensors."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)})


def _num_channels(tensors: TensorShapes, name: str) -> int:
    sizes = _sizes(tensors, name, 4, AUTOENCODER_FILE)
    if sizes[0] % NUM_GROUPS:
        message = f"{AUTOENCODER_FILE}: {name} is {list(sizes)}, whose channels are no multiple of {NUM_GROUPS}"
        raise EngineError(message, "Use the release's own autoencoder")
    return sizes[0]


def _agree(fields: Fields, name: str, wanted: int, tensors: TensorShapes, tensor: str, axis: int) -> None:
    """Refuse a field that asks for another size than its tensor has."""
    if (sizes := _sizes(tensors, tensor, 2))[axis] != wanted:
        raise fields.refusal(name, f"not what the weights have: {tensor} is {list(sizes)}")


def _check_layers(fields: Fields, num_layers: int, tensors: TensorShapes, prefix: str) -> None:
    if (found := _num_parts(tensors, prefix)) != num_layers:
        raise fields.refusal("num_hidden_layers", f"not what the weights have: {found} at {prefix}*, and not {num_layers}")


def _sides(whole: Fields, name: str, published: tuple[int, int], stride: int, num_places: int, table: str) -> tuple[int, int]:
    """The longest and the shortest side of a picture: as given, else as published, as far as the table of positions goes.

    Releases of full size give them nowhere.
    """
    most = stride * num_places
    if name not in whole.row:
        return min(published[0], most), min(published[1], most)
    sides = whole.sides(name)
    if 2 * sides[0] >= stride * (2 * num_places + 1):  # sides are rounded to multiples of `stride`
        message = f"{whole.path}: {name} is {list(sides)}, and the tensor {table} has places for {most} pixels a side"
        raise EngineError(message, f"Write {name} into {WHOLE_FILE} as the model was trained: [longest, shortest]")
    return sides


def _side(tensors: TensorShapes, name: str) -> int:
    rows = _sizes(tensors, name, 2)[0]
    side = isqrt(rows)
    if side * side != rows:
        raise EngineError(f"the tensor {name} has {rows} rows, which is no square", ADVICE)
    return side


def _sizes(tensors: TensorShapes, name: str, num: int, owner: str = "the model") -> tuple[int, ...]:
    """The sizes of a tensor of so many axes."""
    sizes = tensors.get(name)
    if sizes is None:
        raise EngineError(f"{owner} lacks the tensor {name}", f"{ADVICE}, in the names of the published one")
    if len(sizes) != num or not all(sizes):
        raise EngineError(f"the tensor {name} of {owner} is {list(sizes)}, and not {num} sizes above 0", ADVICE)
    return sizes
