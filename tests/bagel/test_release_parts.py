"""Releases whose files are readable and do not go together: one line that says what, before anything is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bagel.release import open_release, refused
from safetensors.torch import load_file, save_file

from tamis.bagel import open_model
from tamis.bagel.model import Model


def edit(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def put(path: Path, **tensors: torch.Tensor) -> None:
    """Set tensors of a file; `__` stands for a dot."""
    save_file(load_file(path) | {name.replace("__", "."): tensor for name, tensor in tensors.items()}, path)


@pytest.mark.parametrize(
    ("file", "field", "value", "said"),
    [
        ("llm_config.json", "hidden_size", 10**15, "language_model.model.embed_tokens.weight is [450, 64]"),
        ("llm_config.json", "num_hidden_layers", 10**9, "3 at language_model.model.layers.*"),
        ("llm_config.json", "intermediate_size", 10**4000, "layers.0.mlp.gate_proj.weight is [160, 64]"),
        ("llm_config.json", "rope_theta", 10**400, "no number above 0"),
        ("vit_config.json", "num_attention_heads", 5, "5 heads on a width of 48"),
        ("vit_config.json", "patch_size", 10**9, "patch_embedding.weight is [48, 588]"),
        ("vit_config.json", "num_hidden_layers", 10**9, "2 at vit_model.vision_model.encoder.layers.*"),
        ("config.json", "vae_transform", [1032, 64], "latent_pos_embed.pos_embed has places for 1024 pixels"),
        ("config.json", "vit_transform", [10**15, 64], "vit_pos_embed.pos_embed has places for 980 pixels"),
        ("config.json", "vae_transform", [64, 128], "the longer first"),
    ],
)
def test_sizes_that_the_tensors_do_not_have(folder: Path, file: str, field: str, value: object, said: str) -> None:
    edit(folder / file, **{field: value})
    line = refused(folder)
    assert f"{file}: {field}" in line or "heads" in said
    assert said in line
    assert len(line) < 400


def test_sizes_that_are_rounded_into_the_tables(folder: Path) -> None:
    """1031 pixels are 64 tokens of 16, and 65 from 1032 on."""
    edit(folder / "config.json", vae_transform=[1031, 64], vit_transform=[980, 28])
    model = open_model(folder, device="cpu")
    assert model.latent_rule.size(5000, 1000) == (1024, 208)


def test_sizes_that_are_not_given_go_as_far_as_the_table(folder: Path) -> None:
    put(folder / "ema.safetensors", latent_pos_embed__pos_embed=torch.zeros(16, 64))
    assert open_model(folder, device="cpu").shape.latent_sides == (64, 64)
    edit(folder / "config.json", vae_transform=[64, 32])
    assert open_model(folder, device="cpu").shape.latent_sides == (64, 32)


def test_fields_that_releases_leave_out(folder: Path) -> None:
    vision = json.loads((folder / "vit_config.json").read_text())
    (folder / "vit_config.json").write_text(json.dumps({k: v for k, v in vision.items() if k != "layer_norm_eps"}))
    (folder / "config.json").write_text("{}")
    shape = open_model(folder, device="cpu").shape
    assert (shape.vision.norm_eps, shape.latent_patch, shape.latent_sides) == (1e-6, 2, (1024, 512))


def test_an_index_of_another_model_is_passed_over(folder: Path) -> None:
    (folder / "ema.safetensors").rename(folder / "weights-00001-of-00001.safetensors")
    (folder / "ema.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "ema.safetensors"}}))
    open_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("shape", "said"),
    [((4096,), "is [4096], and not 2 sizes"), ((0, 64), "is [0, 64], and not 2"), ((), "is []"), ((4095, 64), "4095 rows")],
)
def test_tables_that_are_none(folder: Path, shape: tuple[int, ...], said: str) -> None:
    put(folder / "ema.safetensors", latent_pos_embed__pos_embed=torch.zeros(shape))
    line = refused(folder)
    assert said in line
    assert "latent_pos_embed.pos_embed" in line


def test_a_vision_tower_with_fewer_places(folder: Path) -> None:
    put(
        folder / "ema.safetensors",
        vit_model__vision_model__embeddings__position_embedding__weight=torch.zeros(1225, 48),
    )
    edit(folder / "vit_config.json", image_size=490)
    assert "vit_pos_embed.pos_embed has 4900 places, the vision tower's own table fewer: 1225" in refused(folder)


def test_autoencoders_of_another_kind(folder: Path) -> None:
    path = folder / "ae.safetensors"
    tensors = load_file(path)
    conv = "encoder.down.0.block.0.conv2.weight"
    save_file({name.replace("encoder.down.", "encoder.down_blocks."): tensor for name, tensor in tensors.items()}, path)
    assert f"ae.safetensors lacks the tensor {conv}" in refused(folder)
    save_file({name: tensor for name, tensor in tensors.items() if "decoder.up.2" not in name}, path)
    assert "ae.safetensors: 4 levels at encoder.down.*, and 3 at decoder.up.*" in refused(folder)
    save_file(tensors | {conv: torch.zeros(33, 33, 3, 3)}, path)
    assert f"{conv} is [33, 33, 3, 3], whose channels are no multiple of 32" in refused(folder)
    save_file(tensors | {conv: torch.tensor(1.0)}, path)
    assert f"{conv} of ae.safetensors is [], and not 4 sizes" in refused(folder)


@pytest.mark.parametrize(("dtype", "said"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_numbers_that_are_not_floats(folder: Path, dtype: torch.dtype, said: str) -> None:
    put(folder / "ema.safetensors", llm2vae__weight=torch.zeros(64, 64).to(dtype))
    assert f"the tensor llm2vae.weight is in numbers that cannot be used here: {said}" in refused(folder)


def test_json_that_is_nested_too_deeply(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)
    assert "config.json: it is nested too deeply" in refused(folder)


def test_a_tokenizer_that_cuts_or_fills_is_not_heeded(folder: Path, model: Model) -> None:
    long = "How many objects are left, and which way does each of them go from there? " * 4
    cut = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    filled = {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 420, "pad_type_id": 0}
    edit(folder / "tokenizer.json", truncation=cut, padding=filled | {"pad_token": "<|endoftext|>"})
    words = open_release(folder).words
    assert words.ids(long) == model.words.ids(long)
    assert words.ids("a") == model.words.ids("a")


def test_a_tokenizer_that_knows_more_than_the_model(folder: Path) -> None:
    path = folder / "tokenizer.json"
    added = json.loads(path.read_text())["added_tokens"]
    more = [added[-1] | {"id": 434 + number, "content": f"<|more {number}|>"} for number in range(17)]
    edit(path, added_tokens=[*added, *more[:-1]])
    open_release(folder)
    edit(path, added_tokens=[*added, *more])
    assert "tokenizer.json has the id 450, and the model none from 450 on (vocab_size in llm_config.json)" in refused(folder)
