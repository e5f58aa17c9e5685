"""Rewards against transformers' own reading of each text alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from engines.hf.tiny_models import CHAT_TEMPLATE, CONTEXT, PAD, SIZES, byte_tokenizer, model_folder, stream
from transformers import AutoConfig, AutoModelForSequenceClassification

from tamis.engines.hf import rewarder
from tamis.engines.hf.forward import Body
from tamis.engines.hf.reward import RewardModel
from tamis.errors import EngineError, UsageError
from tamis.records import Question, Verdict

QUESTION = "小明有3个苹果，又得到4个。现在有多少个？"
PARTS = ("第一步：3 + 4 = 7\n\n", "Step two: the apples are 7\n\n", "the answer 是 \\boxed{7} 🙂")
TEMPLATES = {
    "none": None,
    "open": CHAT_TEMPLATE,
    "closed": CHAT_TEMPLATE.replace("{% endfor %}", "<|end|>\n{% endfor %}"),
    "padding": CHAT_TEMPLATE + PAD,  # the last token is the one that pads: the reward is read before it
}
BERT = {"num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": CONTEXT}


def reward_folder(folder: Path, kind: str, *, template: str = "none", labels: int = 1, padding: int | None = 0) -> Path:
    """A random reward model; larger weights than an initialisation gives, so that rewards differ."""
    config = AutoConfig.from_pretrained(model_folder(kind)) if kind in SIZES else None
    if config is None:
        config = AutoConfig.for_model(kind, vocab_size=272, hidden_size=32, num_hidden_layers=2, **BERT)
    config.num_labels, config.pad_token_id = labels, padding
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(4.0)
    model.save_pretrained(folder)
    byte_tokenizer(TEMPLATES[template]).save_pretrained(folder)
    return folder


def alone(folder: Path, parts: Sequence[str], template: str) -> list[float]:
    """What transformers itself gives for each text so far as one whole text."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    return [_alone(model, "".join(parts[:k]), template) for k in range(1, 1 + len(parts))]


def _alone(model: Any, text: str, template: str) -> float:
    tokenizer = byte_tokenizer(TEMPLATES[template])
    ids = tokenizer(f"{QUESTION}\n{text}").input_ids
    if template != "none":
        turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    return float(logits[1] - logits[0]) if len(logits) == 2 else float(logits[0])


def group() -> list[Question]:
    texts = {"a": PARTS, "b": ("th",), "c": PARTS[:2], "d": ("中文" * 20, " the end"), "e": (PARTS[2],)}
    return [Question(key, QUESTION, parts, "", ("", "")) for key, parts in texts.items()]


def score(model: RewardModel, *groups: list[Question]) -> dict[str, Verdict]:
    async def collect() -> dict[str, Verdict]:
        return {verdict.key: verdict async for verdict in model.score(stream(groups))}

    return asyncio.run(collect())


@pytest.mark.parametrize("padding", [0, None])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "gemma2", "bloom", "bert"])
def test_every_part_has_the_reward_of_the_text_up_to_it(tmp_path, kind, template, padding):
    folder = reward_folder(tmp_path, kind, template=template, padding=padding)
    model = RewardModel(folder, device="cpu")
    assert model._rewarder.reads == {"bloom": "rows", "bert": "texts"}.get(kind, "tree")
    found = score(model, group())
    for question in group():
        assert found[question.key].error is None
        assert found[question.key].values == pytest.approx(alone(folder, question.parts, template), abs=2e-5)
    assert len({round(verdict.values[-1], 4) for verdict in found.values()}) == len(found)
    assert model.rewards(QUESTION, ["".join(PARTS)]) == pytest.approx(found["a"].values[-1:], abs=2e-5)


def test_two_labels_are_log_odds(tmp_path):
    folder = reward_folder(tmp_path, "llama", labels=2)
    rewards = RewardModel(folder, device="cpu").rewards(QUESTION, PARTS)
    assert rewards == pytest.approx(alone(folder, PARTS, "none"), abs=2e-5)


def test_batches_halve_when_memory_runs_out(tmp_path, monkeypatch):
    model = RewardModel(reward_folder(tmp_path, "qwen2"), device="cpu")
    model._rewarder._body.token_limit = 4096
    expected = score(model, group())
    sizes = []
    states = Body.states

    def scarce(self, cache, rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return states(self, cache, rows)

    monkeypatch.setattr(Body, "states", scarce)
    found = score(model, group())
    assert sizes[0] == 5
    assert sizes[-1] <= 2
    assert {k: v.values for k, v in found.items()} == {k: pytest.approx(v.values, abs=1e-4) for k, v in expected.items()}
    monkeypatch.setattr(Body, "states", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    assert {verdict.error.message for verdict in score(model, group()).values()} == {rewarder.OUT_OF_MEMORY}


def test_the_batch_size_is_kept(tmp_path, monkeypatch):
    model = RewardModel(reward_folder(tmp_path, "qwen2"), device="cpu", batch_size=2)
    sizes = []
    states = Body.states
    monkeypatch.setattr(Body, "states", lambda self, cache, rows: (sizes.append(len(rows)), states(self, cache, rows))[1])
    assert len(score(model, group(), group()[:1])) == 5
    assert sizes == [2, 2, 1, 1]


def test_what_cannot_be_read_is_told_of_and_the_others_are(tmp_path):
    model = RewardModel(reward_folder(tmp_path, "qwen2", template="closed"), device="cpu")
    long = Question("long", QUESTION, ("很长" * CONTEXT,), "", ("", ""))
    found = score(model, [*group(), long, Question("empty", QUESTION, (), "", ("", ""))])
    assert (found["long"].error.boundary, found["long"].values) == ("input", ())
    assert f"the model's context holds {CONTEXT}" in found["long"].error.message
    assert found["empty"].values == ()
    assert all(verdict.error is None for key, verdict in found.items() if key != "long")
    with pytest.raises(EngineError, match="context holds"):
        model.rewards(QUESTION, long.parts)


def test_a_model_without_numbers(tmp_path):
    model = RewardModel(reward_folder(tmp_path, "qwen2"), device="cpu")
    model._rewarder._loaded.model.score.weight.data.fill_(torch.nan)
    assert {verdict.error.message for verdict in score(model, group()).values()} == {rewarder.NOT_NUMBERS}


def test_models_that_give_no_reward(tmp_path):
    with pytest.raises(EngineError, match=r"lacks weights of a Qwen2ForSequenceClassification: score\.weight"):
        RewardModel(model_folder(), device="cpu")  # a language model: its head would be random
    with pytest.raises(EngineError, match="5 labels"):
        RewardModel(reward_folder(tmp_path / "five", "qwen2", labels=5), device="cpu")
    with pytest.raises(EngineError, match="no model folder"):
        RewardModel(tmp_path / "none", device="cpu")
    folder = reward_folder(tmp_path / "pickled", "qwen2")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match=r"no \*\.safetensors"):
        RewardModel(folder, device="cpu")
    with pytest.raises(UsageError, match="batch_size: 0"):
        RewardModel(folder, device="cpu", batch_size=0)


def test_closed(tmp_path):
    model = RewardModel(reward_folder(tmp_path, "gpt2"), device="cpu")
    model.close()
    model.close()
    with pytest.raises(EngineError, match="closed"):
        score(model, group())


def test_a_mask_that_is_not_causal_is_found_out(tmp_path):
    """A decoder turned into an encoder (as some reward models are) is read text by text."""
    folder = reward_folder(tmp_path, "qwen2")
    model = RewardModel(folder, device="cpu")
    inner = model._rewarder._loaded.model
    forward = inner.model.forward

    def looks_ahead(input_ids=None, **options):
        out = forward(input_ids=input_ids, **options)
        out.last_hidden_state = out.last_hidden_state + out.last_hidden_state.mean(1, keepdim=True)
        return out

    inner.model.forward = looks_ahead
    with torch.inference_mode():
        assert model._rewarder._way() == "texts"
