"""The embedded adapter through the commands: it answers what its base cannot, and a run belongs to one adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli.commands import rows

from tamis.demo import ADAPTER_FOLDER

pytest.importorskip("peft")

INFER = ("infer", "--dataset", "remainders", "--limit", 16, "-n", 1, "--temperature", 0, "--max-tokens", 128, "--run", "run")


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def right(folder: str) -> int:
    return sum(row["correct"] is True for row in rows(next(Path(folder).glob("*_best_*"))))


def test_the_adapter_answers_what_its_base_cannot(tamis):
    assert tamis(*INFER, "--model-path", "embedded-remainders", "--output-dir", "adapted").code == 0
    other = tamis(*INFER, "--model-path", "embedded", "--output-dir", "plain")
    assert other.code == 1  # the run folder holds another model's samples
    assert "model" in other.err
    assert tamis(*INFER, "--model-path", "embedded", "--output-dir", "plain", "--fork").code == 0
    assert right("adapted") > right("plain") + 4
    engine = json.loads(Path("run/run.json").read_text())["facts"]["engine"]
    assert engine["base_model"].endswith("embedded")


def test_samples_of_an_adapter_are_read_again_by_that_adapter(tamis):
    shutil.copytree(ADAPTER_FOLDER, "adapter")
    config = json.loads(Path("adapter/adapter_config.json").read_text()) | {"base_model_name_or_path": "elsewhere/model"}
    Path("adapter/adapter_config.json").write_text(json.dumps(config))
    drawn = tamis(*INFER, "--model-path", "adapter", "--base-model", "embedded", "--limit", 4, "--token-stats", "none",
                  "--method", "self-consistency")  # fmt: skip
    assert drawn.code == 0, drawn.err
    read = tamis("score", "run", "--method", "logprob")
    assert read.code == 0, read.err


def test_what_is_wrong_is_one_line(tamis):
    shutil.copytree(ADAPTER_FOLDER, "adapter")
    assert "use_lora is false" in tamis(*INFER, "--model-path", "adapter", "--no-lora").err
    line = tamis(*INFER, "--model-path", "adapter", "--base-model", "./nowhere").err
    assert "the base model of the adapter in adapter is not there" in line
    assert not Path("run").exists()
