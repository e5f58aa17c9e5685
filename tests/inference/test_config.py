"""`InferenceConfig`: the documented file as it stands, and every mistake named."""

from __future__ import annotations

import logging

import pytest
from inference.documented import YAML

from tamis.errors import InputError, UsageError
from tamis.inference import InferenceConfig


@pytest.fixture
def mistakes(tmp_path):
    """What is said of a file."""

    def read(text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            InferenceConfig.from_yaml(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(path), "F")

    return read


def test_the_documented_file_sets_every_field(tmp_path):
    (tmp_path / "inference_config.yaml").write_text(YAML, encoding="utf-8")
    config = InferenceConfig.from_yaml(tmp_path / "inference_config.yaml")
    assert (config.model_path, config.base_model, config.use_lora) == (
        "./outputs/grpo_fix_final_model",
        "Qwen/Qwen2-1.5B-Instruct",
        True,
    )
    assert (config.lora_r, config.lora_alpha, config.lora_dropout) == (16, 32, 0.05)
    assert (config.device, config.batch_size, config.fp16, config.save_detailed_log) == ("cuda", 4, True, True)
    defaults = InferenceConfig()
    for name in (
        "max_length",
        "max_new_tokens",
        "temperature",
        "top_p",
        "top_k",
        "num_return_sequences",
        "gradient_checkpointing",
    ):
        assert getattr(config, name) == getattr(defaults, name)
    for name in ("dataset_name", "split", "max_samples", "results_path", "log_path"):
        assert getattr(config, name) == getattr(defaults, name)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "model:\n", "inference: {}\n"])
def test_what_a_file_leaves_out_has_its_default(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    assert InferenceConfig.from_yaml(tmp_path / "c.yaml") == InferenceConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inference:\n  temprature: 1\n", "F:2: unknown key inference.temprature (did you mean temperature?)"),
        ("modle:\n  model_path: x\n", "F:1: unknown key modle (did you mean model?)"),
        ("model:\n  temperature: 1\n", "did you mean inference.temperature?"),
        ("inference:\n  zzz: 1\n", "F:2: unknown key inference.zzz (known are max_length, "),
        ("inference:\n  temperature: hot\n", "F:2: inference.temperature is 'hot', expected a number of 0 (greedy) or more"),
        ("inference:\n  top_p: 1.5\n", "inference.top_p is 1.5, expected a number above 0 and at most 1"),
        ("inference:\n  top_p: .nan\n", "inference.top_p is nan, expected"),
        ("inference:\n  top_k: true\n", "inference.top_k is true, expected a whole number"),
        ("model:\n  use_lora: 1\n", "model.use_lora is 1, expected true or false"),
        ("model:\n  lora:\n    r: [1]\n", "F:3: model.lora.r is a list, expected"),
        ("model:\n  lora: 16\n", "F:2: model.lora holds no keys, expected keys like r, alpha, dropout"),
        (
            "evaluation:\n  max_samples: 0\n",
            "evaluation.max_samples is 0, expected a whole number of 1 or more, or null for all",
        ),
        ("optimization:\n  batch_size: automatic\n", "expected a whole number of 1 or more, or auto"),
        ("inference:\n  seed: 1\n  seed: 2\n", "F:3: inference.seed is given twice"),
        ("- a\n", "F:1: the file holds no keys, expected the sections"),
        ("model: [\n", "F:2: not valid YAML"),
        ("model: &a\n  model_path: *a\n", "F:1: not valid YAML (found unconstructable recursive node)"),
        ("model: !!python/object:os.system {}\n", "F:1: model holds no keys"),
        (
            "model:\n  model_path: !!python/object/apply:os.getcwd []\n",
            "F:2: not valid YAML (could not determine a constructor",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(mistakes, text, said):
    assert said in mistakes(text)


def test_all_mistakes_are_named_in_one_go(mistakes):
    said = mistakes("inference:\n  top_k: -1\n  tempo: 1\noutput:\n  log_path: ''\n")
    assert said.count("F:") == 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such configuration"):
        InferenceConfig.from_yaml(tmp_path / "no.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"model:\n  model_path: caf\xe9\n")
    with pytest.raises(InputError, match="not UTF-8"):
        InferenceConfig.from_yaml(tmp_path / "latin.yaml")


def test_values_from_code_are_checked_too():
    with pytest.raises(UsageError, match=r"temperature is -1.*top_p is 0"):
        InferenceConfig(temperature=-1, top_p=0)
    with pytest.raises(UsageError, match="stop is 'A:', expected a tuple of texts"):  # else each of its letters would stop
        InferenceConfig(stop="A:")


def test_what_has_no_effect_here_is_said(caplog, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING):
        model = InferenceConfig(device="cuda", fp16=True, gradient_checkpointing=True).model_settings()
    assert (model.device, model.dtype) == ("cpu", "float32")
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" ")[0] for line in said] == ["gradient_checkpointing", "device", "fp16:"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model = InferenceConfig(device="cuda", fp16=True).model_settings()
    assert (model.device, model.dtype) == ("cuda", "float16")


def test_a_whole_model_where_an_adapter_is_described(caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        InferenceConfig(model_path=str(tmp_path), lora_r=16, device="cpu").model_settings()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path} is a whole model: use_lora and lora play no part"
    ]


def test_the_api_key_is_not_shown():
    assert "sk-secret" not in repr(InferenceConfig(api_key="sk-secret"))
