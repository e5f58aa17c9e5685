"""Models by name: what tells two of them apart."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tamis.config import ModelSettings
from tamis.demo import ADAPTER_FOLDER, MODEL_FOLDER
from tamis.engines import open_engine
from tamis.errors import UsageError
from tamis.workflows.models import from_anywhere, model_digest, model_identity


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL_FOLDER, tmp_path / "base"))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ADAPTER_FOLDER, tmp_path / "adapter"))


def test_an_adapter_is_told_apart_by_its_weights_and_by_its_base(adapter, base):
    found = [model_identity(ModelSettings("embedded-remainders"))["model"]]
    assert found[0] == f"{model_digest(ADAPTER_FOLDER)}+{model_digest(MODEL_FOLDER)}"
    assert model_identity(ModelSettings(str(adapter), base_model=str(base)))["model"] == found[0]  # wherever they lie
    (base / "config.json").write_text((base / "config.json").read_text() + " ")
    found.append(model_identity(ModelSettings(str(adapter), base_model=str(base)))["model"])
    weights = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    found.append(model_identity(ModelSettings(str(adapter)))["model"])
    found += [model_identity(ModelSettings(name))["model"] for name in ("embedded", str(base))]
    assert len(set(found)) == len(found)


def test_a_limit_of_prompts_is_part_of_the_identity_where_there_is_one():
    plain = ModelSettings("embedded")
    assert model_identity(plain).keys() == {"engine", "model", "dtype"}
    limited = replace(plain, max_prompt_tokens=100)
    assert model_identity(limited) == {**model_identity(plain), "max_prompt_tokens": 100, "truncate": False}


def test_paths_hold_from_anywhere(adapter, base, tmp_path, monkeypatch):
    config = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": "base"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    found = from_anywhere(ModelSettings("adapter"))
    assert (found.model, found.base_model) == (str(adapter), str(base))
    assert from_anywhere(ModelSettings("embedded-remainders")) == ModelSettings("embedded-remainders")


@pytest.mark.parametrize("engine", ["http", "scripted"])
def test_engines_without_a_model_of_their_own_refuse_what_is_said_of_one(engine):
    for given in ({"base_model": "b"}, {"use_lora": True}, {"allow_pickle": True}, {"max_prompt_tokens": 9}):
        with pytest.raises(UsageError, match=f"the {engine} engine takes no {next(iter(given))}"):
            open_engine(engine, "model", **given)
