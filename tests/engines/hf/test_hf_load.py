"""Models that do not load: one line that says what was looked for and what is there."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from engines.hf.tiny_models import draw, model_folder, request, samples_of

from tamis.engines.hf import HFEngine
from tamis.errors import EngineError, MissingExtra, TamisError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder(), tmp_path / "model"))


def refused(model: str | Path, kind: type[TamisError] = EngineError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        HFEngine(model, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.advice
    return str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refused(tmp_path / "none")
    assert "./none" in refused("./none")
    (tmp_path / "file").write_text("x")
    assert "no model folder" in refused(tmp_path / "file")


def test_a_folder_without_its_parts(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in refused(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    line = refused(folder)
    assert "no *.safetensors" in line
    assert "pytorch_model.bin" in line
    (folder / "config.json").unlink()
    assert "no config.json" in refused(folder)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "holds: nothing" in refused(tmp_path)


def test_damaged_files(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "does not load" in refused(folder)
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "config.json").write_text("{")
    assert "does not load" in refused(folder)


def test_settings_that_cannot_be(folder: Path) -> None:
    assert "int3" in refused(folder, UsageError, dtype="int3")
    assert "tpu9" in refused(folder, UsageError, device="tpu9")
    assert "batch_size: 0" in refused(folder, UsageError, batch_size=0)


def test_a_recurrent_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert set(config["layer_types"]) == {"full_attention"}
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, "vocab_size": 272}
    AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba", **sizes)).save_pretrained(folder)
    assert "mamba" in refused(folder)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    assert "tamis[hf]" in refused("anything", MissingExtra)


def test_importing_the_engine_is_light() -> None:
    code = "import sys, tamis.engines.hf; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_sampling_settings_of_the_checkpoint_are_ignored_and_its_end_tokens_are_not(folder: Path) -> None:
    item = request("a b c", n=6, max_tokens=40)
    plain = draw(HFEngine(folder, batch_size=16, device="cpu"), [item])
    ends = sorted({int(sample.stats.ids[3]) for sample in plain.values() if len(sample.stats) > 8})
    options = {"do_sample": True, "temperature": 0.01, "top_k": 1, "repetition_penalty": 5.0, "eos_token_id": [1, *ends]}
    (folder / "generation_config.json").write_text(json.dumps(options))
    other = draw(HFEngine(folder, batch_size=16, device="cpu"), [item])
    for before, after in zip(samples_of(plain, item), samples_of(other, item), strict=True):
        ids = before.stats.ids.tolist()
        cut = next((at for at, token in enumerate(ids) if token in ends), None)
        assert after.stats.ids.tolist() == ids[:cut]
        assert after.finish_reason == ("stop" if cut is not None else before.finish_reason)


def test_the_automatic_batch_size_is_a_power_of_two(folder: Path) -> None:
    assert HFEngine(folder, device="cpu").batch_size == 32
