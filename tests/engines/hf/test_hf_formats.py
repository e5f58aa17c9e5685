"""How a model may lie on disk, and how long a prompt may be."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from engines.hf.adapters import logits
from engines.hf.tiny_models import CONTEXT, PROMPTS, draw, model_folder, request, samples_of
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tamis.engines.hf import HFEngine
from tamis.engines.hf.load import Loaded, load
from tamis.engines.prompt_limit import PromptLimit
from tamis.errors import EngineError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder(), tmp_path / "model"))


def loaded(folder: Path, dtype: str = "auto", **options: object) -> Loaded:
    return load(str(folder), "cpu", dtype, trust_remote_code=False, **options)


def whole() -> torch.Tensor:
    return logits(AutoModelForCausalLM.from_pretrained(model_folder()))


def test_shards_are_one_model_and_a_missing_one_is_named(folder):
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="40KB")
    (folder / "model.safetensors").unlink()
    shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert torch.equal(logits(loaded(folder).model), whole())
    (folder / shards[1]).unlink()
    with pytest.raises(EngineError, match=rf"1 of {len(shards)} parts .*: {shards[1]} \(named by model.safetensors.index.json"):
        loaded(folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(EngineError, match="the index cannot be read"):
        loaded(folder)


@pytest.mark.parametrize(("stored", "found"), [("float16", "float32"), ("bfloat16", "bfloat16")])
def test_half_precision(folder, stored, found):
    half = AutoModelForCausalLM.from_pretrained(folder).to(getattr(torch, stored))
    half.save_pretrained(folder)
    model = loaded(folder).model
    assert model.dtype == getattr(torch, found)
    for name, weights in half.state_dict().items():
        assert torch.equal(model.state_dict()[name], weights.to(model.dtype)), name
    assert loaded(folder, "float32").model.dtype == torch.float32


def test_tied_embeddings_need_no_output_weights_and_untied_ones_do(tmp_path):
    model = loaded(model_folder()).model
    assert "lm_head.weight" not in load_file(model_folder() / "model.safetensors")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    untied = Path(shutil.copytree(model_folder("llama"), tmp_path / "untied"))
    weights = load_file(untied / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, untied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"lacks weights .*lm_head\.weight"):
        loaded(untied)


def test_pickles_are_read_only_when_allowed(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EngineError, match=r"no \*\.safetensors .*pytorch_model\.bin.*--allow-pickle"):
        loaded(folder)
    assert torch.equal(logits(loaded(folder, allow_pickle=True).model), whole())


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_runs_code_is_refused_even_then(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": _Touch(mark)}))
    with pytest.raises(EngineError, match="does not load") as caught:
        loaded(folder, allow_pickle=True)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_longer_prompt_is_a_failed_sample_or_loses_its_beginning(folder):
    items = [request(text, max_tokens=4) for text in PROMPTS]
    plain = draw(HFEngine(folder, batch_size=16, device="cpu"), items)
    refusing = draw(HFEngine(folder, batch_size=16, device="cpu", max_prompt_tokens=20), items)
    cutting = draw(HFEngine(folder, batch_size=16, device="cpu", max_prompt_tokens=20, truncate=True), items)
    for item in items:
        (before,), (refused,), (cut,) = (samples_of(found, item) for found in (plain, refusing, cutting))
        if before.prompt_tokens <= 20:
            assert before.text == refused.text == cut.text
            continue
        assert refused.error.boundary == "input"
        assert refused.error.message == f"the prompt has {before.prompt_tokens} tokens, at most 20 are allowed"
        assert cut.error is None
        assert cut.prompt_tokens == 20


def test_a_cut_prompt_is_its_end(folder):
    text = "a question in plain letters, one byte each"
    engine = HFEngine(folder, batch_size=16, device="cpu", max_prompt_tokens=20, truncate=True)
    long, short = request(text, temperature=0.0), request(text[-20:], temperature=0.0)
    found = draw(engine, [long, short])
    assert samples_of(found, long)[0].text == samples_of(found, short)[0].text
    assert samples_of(found, short)[0].prompt_tokens == 20


def test_what_is_cut():
    ids = list(range(30))
    keep = {"context": CONTEXT, "first": 0, "has_images": False}
    assert PromptLimit(10, truncate=True)(ids, **keep) == [0, *range(21, 30)]  # the token that begins every text stays
    assert PromptLimit(10, truncate=True)(ids, **keep | {"first": None}) == list(range(20, 30))
    assert PromptLimit(30)(ids, **keep) == ids
    assert (
        PromptLimit(10, truncate=True)(ids, **keep | {"has_images": True}) == "the prompt has 30 tokens, at most 10 are allowed"
    )
    assert PromptLimit(99)(ids, **keep | {"context": 30}) == "the prompt has 30 tokens, the model's context holds 30"
    assert PromptLimit()(ids, **keep | {"context": 31}) == ids
    for wrong in ({"most": 0}, {"truncate": True}):
        with pytest.raises(UsageError):
            PromptLimit(**wrong)
