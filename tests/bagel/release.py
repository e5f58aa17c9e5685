"""The tiny release and what the published code makes of it (tests/data/bagel)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from tamis.bagel.attention import Pack
from tamis.bagel.cache import Context
from tamis.bagel.model import Model
from tamis.bagel.pictures import SizeRule
from tamis.bagel.settings import Guidance, Interleaving, Puzzle, Solution, Thought
from tamis.errors import EngineError, TamisError

FOLDER = Path(__file__).resolve().parent.parent / "data" / "bagel"
CHECKPOINT = FOLDER / "checkpoint"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
SYSTEM_PROMPT = MANIFEST["system_prompt"]
PICTURES = ("p1", "p2", "p3", "p4")
LOOPS = [f"08_loop_{row}_{mode}" for row in (0, 1, 2) for mode in ("mean", "sample")]


def facts(name: str) -> dict[str, Any]:
    """What the manifest says of a file of tensors."""
    return MANIFEST["files"][f"{name}.safetensors"]


@cache
def expected(name: str) -> dict[str, Tensor]:
    """The tensors of a file."""
    return load_file(FOLDER / "expected" / f"{name}.safetensors")


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of a JSON file."""
    return json.loads((FOLDER / "expected" / f"{name}.json").read_text(encoding="utf-8"))["cases"]


def open_release(folder: Path = CHECKPOINT, **options: Any) -> Model:
    """Load a release with the size rules of the vectors."""
    rules = {"latent_rule": SizeRule(*MANIFEST["vae_transform"]), "vision_rule": SizeRule(*MANIFEST["vit_transform"])}
    return Model(folder, **{"device": "cpu", "dtype": "float32", **rules, **options})


def refused(folder: Path, kind: type[TamisError] = EngineError, **options: Any) -> str:
    """The one line by which a release is refused."""
    with pytest.raises(kind) as caught:
        open_release(folder, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.advice
    return str(caught.value)


def source(name: str) -> Image.Image:
    """A problem's picture as it lies in its file."""
    with Image.open(FOLDER / "inputs" / f"{name}.png") as picture:
        picture.load()
        return picture


def pixels(picture: Image.Image) -> Tensor:
    """Bytes (H, W, 3)."""
    return torch.from_numpy(np.array(picture))


def worst(got: Tensor, wanted: Tensor) -> float:
    """The largest difference; shapes must agree."""
    assert got.shape == wanted.shape
    return float((got.float() - wanted.float()).abs().max())


def read_text(model: Model, context: Context, text: str) -> Tensor:
    """Read a text into one context: what the last norm gives."""
    ids = model.words.wrapped(text)
    return model.read(Pack([context.text(len(ids))], model.device), model.text_tokens(ids))


def read_latents(model: Model, context: Context, name: str) -> Tensor:
    """Read a picture as clean latents, at the mean of its posterior."""
    picture = model.resized(source(name))
    tokens = model.drawn(model.latents_of(picture, None), picture.size)
    return model.read(Pack([context.picture(len(tokens), latents=True)], model.device), tokens)


def read_seen(model: Model, context: Context, name: str) -> Tensor:
    """Read a picture as the vision tower sees it."""
    tokens = model.seen(model.resized(source(name)))
    return model.read(Pack([context.picture(len(tokens))], model.device), tokens)


def held(context: Context, columns: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """Keys and values (layers, columns, KV heads, D) of a context."""
    columns = list(range(context.length)) if columns is None else columns
    tensors = (context.cache.keys, context.cache.values)
    keys, values = (torch.stack([layer[context.slot][:, columns].transpose(0, 1) for layer in each]) for each in tensors)
    return keys, values


def settings_of(hyper: dict[str, Any], **others: Any) -> Interleaving:
    """The settings under which a vector was made."""
    guidance = Guidance(
        hyper["cfg_text_scale"],
        hyper["cfg_img_scale"],
        tuple(hyper["cfg_interval"]),
        hyper["cfg_renorm_type"],
        hyper["cfg_renorm_min"],
    )
    return Interleaving(num_steps=hyper["num_timesteps"], shift=hyper["timestep_shift"], guidance=guidance, **others)


def puzzle(items: list[list[str]], name: str = "a", seed: int = 1) -> Puzzle:
    """A puzzle of the vectors' items."""
    return Puzzle(name, tuple(value if kind == "text" else source(value) for kind, value in items), seed)


def texts(solution: Solution) -> list[str]:
    """What was written."""
    return [part.text for part in solution.parts if isinstance(part, Thought)]


def drawn(solution: Solution) -> list[Image.Image]:
    """What was drawn."""
    return [part for part in solution.parts if not isinstance(part, Thought)]
