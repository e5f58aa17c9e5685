"""Releases that are not whole: one line that says what is missing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import accelerate
import pytest
import torch
from bagel.release import CHECKPOINT, open_release, read_text, refused, worst
from safetensors.torch import load_file, save_file

from tamis.bagel import open_model, weights
from tamis.bagel.cache import Context
from tamis.bagel.model import Model
from tamis.errors import MissingExtra, UsageError


@pytest.mark.parametrize(
    "name", ["llm_config.json", "vit_config.json", "config.json", "ae.safetensors", "ema.safetensors", "tokenizer.json"]
)
def test_a_file_is_missing_or_damaged(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert name in refused(folder)
    (folder / name).unlink()
    assert name in refused(folder)


def test_no_folder(tmp_path: Path) -> None:
    assert "no model folder" in refused(tmp_path / "none")


def test_fields_that_are_not_numbers(folder: Path) -> None:
    path = folder / "llm_config.json"
    row = json.loads(path.read_text())
    for value in (None, "64", 0):
        path.write_text(json.dumps({**row, "hidden_size": value}))
        line = refused(folder)
        assert "hidden_size" in line
        assert "llm_config.json" in line


def test_tensors_missing_left_over_and_of_another_shape(folder: Path) -> None:
    path = folder / "ema.safetensors"
    tensors = load_file(path)
    name = "language_model.model.layers.1.mlp_moe_gen.up_proj.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    assert name in refused(folder)
    save_file({**tensors, "head.weight": torch.zeros(2, 2)}, path)
    assert "head.weight" in refused(folder)
    save_file({**tensors, name: torch.zeros(3, 64)}, path)
    line = refused(folder)
    assert name in line
    assert "[3, 64]" in line


def test_a_file_by_name_shards_and_both_numbers(folder: Path, model: Model) -> None:
    tensors = load_file(folder / "ema.safetensors")
    (folder / "ema.safetensors").unlink()
    names = sorted(tensors)
    save_file({name: tensors[name].float() for name in names[::2]}, folder / "model-00001-of-00002.safetensors")
    save_file({name: tensors[name] for name in names[1::2]}, folder / "model-00002-of-00002.safetensors")
    sharded = open_release(folder)
    assert all(torch.equal(a, b) for a, b in zip(sharded.weights.parameters(), model.weights.parameters(), strict=True))
    save_file(tensors, folder / "mine.safetensors")
    assert open_release(folder, weights="mine.safetensors").shape == model.shape
    assert "mine.safetensors" in refused(folder, weights="yours.safetensors")
    assert "two files" in refused(folder)


def test_an_index_says_which_files_belong_together(folder: Path, model: Model) -> None:
    tensors = load_file(folder / "ema.safetensors")
    (folder / "ema.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard)
    save_file({"lora": torch.zeros(1)}, folder / "adapter_model.safetensors")
    assert "lora" in refused(folder)
    places = {name: shard for shard, held in shards.items() for name in held}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    whole = open_release(folder)
    assert all(torch.equal(a, b) for a, b in zip(whole.weights.parameters(), model.weights.parameters(), strict=True))
    index.write_text(json.dumps({"weight_map": places | {"lora": "../other/model-2.safetensors"}}))
    assert "no files of its folder" in refused(folder)
    index.write_text(json.dumps({"weight_map": places}))
    (folder / "model-2.safetensors").unlink()
    assert "model-2.safetensors (named by model.safetensors.index.json)" in refused(folder)
    index.write_text("[" * 100_000)
    assert "model.safetensors.index.json" in refused(folder)


def test_half_precision_says_nearly_the_same(model: Model) -> None:
    half = open_release(dtype="bfloat16", autoencoder_dtype="bfloat16")
    logits = [each.logits(read_text(each, Context(each.new_cache(1), 0), "What is left?")) for each in (half, model)]
    assert 0 < worst(*logits) < 0.05 * float(logits[1].max() - logits[1].min())


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "memory_of", lambda _: 1_000_000)
    line = refused(CHECKPOINT)
    assert "0.00492 GB as float32" in line
    assert "cpu has 0.001 GB" in line


def test_a_device_that_is_full_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate\n2.00 GiB")

    monkeypatch.setattr(accelerate, "cpu_offload", full)
    line = refused(CHECKPOINT, max_bytes=7_000_000)
    assert "cpu has not enough memory for the weights" in line
    assert "--max-mem-per-gpu" in line


def test_settings_that_cannot_be() -> None:
    assert "int3" in refused(CHECKPOINT, UsageError, dtype="int3")
    assert "tpu9" in refused(CHECKPOINT, UsageError, device="tpu9")


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "safetensors" else find(name))
    with pytest.raises(MissingExtra, match=r"tamis\[bagel\]"):
        open_model(CHECKPOINT)


def test_importing_the_room_is_light() -> None:
    code = "import sys, tamis.bagel, tamis.bagel.settings; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
