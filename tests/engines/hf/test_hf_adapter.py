"""LoRA adapters: what PEFT makes of them is what is drawn from, and what does not fit is said in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from engines.hf.tiny_models import draw, model_folder, request
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

pytest.importorskip("peft")

from engines.hf.adapters import configure, logits, peft_logits, rewrite, save_adapter

from tamis.engines.folders import check_lora
from tamis.engines.hf import HFEngine
from tamis.engines.hf.load import Loaded, load
from tamis.errors import EngineError, TamisError, UsageError

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "adapter", model_folder())


def loaded(folder: Path, dtype: str = "auto", **options: object) -> Loaded:
    return load(str(folder), "cpu", dtype, trust_remote_code=False, **options)


def refused(folder: Path, kind: type[TamisError] = EngineError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        loaded(folder, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.advice
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("qwen2", {}),
        ("llama", {"target_modules": ALL, "bias": "all"}),
        ("llama", {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}),
        ("llama", {"target_modules": r".*layers\.1\..*proj", "use_dora": True}),
        ("qwen2", {"target_modules": ["q_proj", "embed_tokens"]}),  # tied embeddings: the output's must not change
        ("qwen2", {"modules_to_save": ["lm_head"]}),  # nor the input's here
        ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    ],
)
def test_merging_gives_what_peft_computes(tmp_path, kind, settings):
    base = model_folder(kind)
    folder = save_adapter(tmp_path / "adapter", base, **settings)
    found = loaded(folder)
    assert found.base == str(base)
    expected = peft_logits(folder, base)
    torch.testing.assert_close(logits(found.model), expected, rtol=1e-4, atol=1e-4)
    plain = logits(AutoModelForCausalLM.from_pretrained(base))
    assert (plain - expected).abs().max() > 0.05  # the adapter says something


def test_what_is_drawn_is_the_adapters_and_does_not_depend_on_the_batch(adapter):
    items = [request(text, n=3, max_tokens=12) for text in ("one", "two", "three and more")]
    few, many, plain = (
        HFEngine(folder, batch_size=size, device="cpu") for folder, size in ((adapter, 16), (adapter, 32), (model_folder(), 16))
    )
    texts = [{key: sample.text for key, sample in draw(engine, items).items()} for engine in (few, many, plain)]
    assert texts[0] == texts[1] != texts[2]
    assert few.describe()["base_model"] == str(model_folder())
    assert "base_model" not in plain.describe()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(tmp_path, adapter, name):
    dtype = getattr(torch, name)
    half = Path(shutil.copytree(model_folder(), tmp_path / "half"))
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32).to(dtype).save_pretrained(half)
    rewrite(adapter, lambda weights: {key: tensor.to(dtype) for key, tensor in weights.items()})
    found = loaded(adapter, base_model=str(half), dtype=name).model
    exact = loaded(adapter, base_model=str(half), dtype="float32").model
    assert found.dtype == dtype
    for (key, mine), other in zip(found.state_dict().items(), exact.state_dict().values(), strict=True):
        assert torch.equal(mine, other.to(dtype)), key
    automatic = loaded(adapter, base_model=str(half)).model.dtype
    assert automatic == (torch.float32 if name == "float16" else torch.bfloat16)


def test_the_adapters_own_tokenizer_comes_first(tmp_path, adapter):
    assert loaded(adapter).tokenizer.chat_template is None
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(model_folder(template=True) / file, adapter)
    assert "<|answer|>" in loaded(adapter).tokenizer.chat_template


def test_the_base_is_found_by_name_beside_the_adapter_or_as_told(tmp_path, adapter, monkeypatch):
    base = Path(shutil.copytree(model_folder(), tmp_path / "base"))
    configure(adapter, base_model_name_or_path="../base")
    assert Path(loaded(adapter).base).resolve() == base
    monkeypatch.chdir(tmp_path)
    configure(adapter, base_model_name_or_path="./base")
    assert Path(loaded(adapter).base).resolve() == base
    configure(adapter, base_model_name_or_path="/models/on/another/machine")
    assert "/models/on/another/machine" in refused(adapter)
    assert loaded(adapter, base_model=str(base)).base == str(base)
    configure(adapter, base_model_name_or_path=None)
    assert "--base-model" in refused(adapter)
    assert "adapter itself" in refused(adapter, base_model=str(save_adapter(tmp_path / "other", base)))


def test_an_adapter_of_another_base(adapter):
    line = refused(adapter, base_model=str(model_folder("gpt2")))
    assert "the base has no q_proj, v_proj" in line
    line = refused(adapter, base_model=str(model_folder("llama")))  # as many key heads as query heads
    assert "v_proj.lora_B.weight is 16 x 4, the base needs 32 x 4" in line
    assert str(model_folder("llama")) in line


def test_rank_and_configuration_disagree(adapter):
    configure(adapter, r=8)
    line = refused(adapter)
    assert "has rank 4 in" in line
    assert "and 8 by its adapter_config.json" in line


def test_tensors_that_are_missing_foreign_or_empty(tmp_path, adapter):
    def changed(change):
        folder = Path(shutil.copytree(adapter, tmp_path / "changed", dirs_exist_ok=True))
        shutil.copy(adapter / "adapter_model.safetensors", folder)
        rewrite(folder, change)
        return refused(folder)

    key = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
    assert f"lacks 1 of the 12 tensors that its adapter_config.json asks for over the base {model_folder()}: {key}" in changed(
        lambda weights: {name: tensor for name, tensor in weights.items() if name != key}
    )
    foreign = key.replace("layers.1", "layers.7")
    assert foreign in changed(lambda weights: weights | {foreign: weights[key].clone()})
    zeros = changed(lambda weights: {n: t * 0 if "lora_B" in n else t for n, t in weights.items()})
    assert "changes nothing: all its lora_B are zero" in zeros
    assert "cannot be merged" in changed(lambda weights: weights | {key: weights[key] * float("nan")})


def test_files_that_are_missing_or_damaged(adapter):
    path = adapter / "adapter_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert "does not load" in refused(adapter)
    path.unlink()
    assert "no adapter_model.safetensors in" in refused(adapter)
    path.write_bytes(whole)
    configure(adapter, peft_type="IA3")
    assert "peft_type: IA3" in refused(adapter)
    (adapter / "adapter_config.json").write_text("{")
    assert "no adapter can be read from" in refused(adapter)


def test_use_lora_says_what_must_be_there(tmp_path, adapter):
    assert "no adapter_config.json" in refused(model_folder(), UsageError, use_lora=True)
    assert "use_lora is false" in refused(adapter, UsageError, use_lora=False)
    assert "no LoRA adapter at" in refused(tmp_path / "nowhere", use_lora=True)
    both = Path(shutil.copytree(model_folder(), tmp_path / "both"))
    shutil.copytree(adapter, both, dirs_exist_ok=True)
    assert "holds both" in refused(both, UsageError)
    plain, merged = logits(AutoModelForCausalLM.from_pretrained(model_folder())), logits(loaded(adapter).model)
    assert torch.equal(logits(loaded(both, use_lora=False).model), plain)
    assert torch.equal(logits(loaded(both, use_lora=True).model), merged)
    assert torch.equal(logits(loaded(both, base_model=str(model_folder())).model), merged)


def test_a_merged_model_that_was_saved_is_the_same(tmp_path, adapter):
    found = loaded(adapter)
    found.model.save_pretrained(tmp_path / "merged")
    found.tokenizer.save_pretrained(tmp_path / "merged")
    assert torch.equal(logits(loaded(tmp_path / "merged", use_lora=False).model), logits(found.model))


def test_a_pickled_adapter_is_read_only_when_allowed(adapter):
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    expected = logits(loaded(adapter).model)
    (adapter / "adapter_model.safetensors").unlink()
    assert "--allow-pickle" in refused(adapter)
    assert torch.equal(logits(loaded(adapter, allow_pickle=True).model), expected)


def test_a_configuration_that_describes_another_adapter(adapter):
    check_lora(adapter, r=4, alpha=8.0)
    check_lora(adapter)
    with pytest.raises(UsageError, match=r"lora\.r is 16, and the adapter in .* was trained with 4"):
        check_lora(adapter, r=16, alpha=8)
    with pytest.raises(UsageError, match=r"lora\.alpha is 32, and .* with 8"):
        check_lora(adapter, alpha=32)
