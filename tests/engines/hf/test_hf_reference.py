"""The engine against transformers itself: `generate`, and a plain forward of the whole text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines.hf.tiny_models import EOS_ID, PROMPTS, SIZES, draw, model_folder, request, samples_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.engines.chains import chain_row
from tamis.engines.hf import HFEngine
from tamis.records import STATISTICS
from tamis.steps import split_steps, step_ids


def plain_statistics(logits: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
    """The nine statistics of methods.md in fp64, straight from their definitions."""
    logp = logits.double().log_softmax(-1)
    p = logp.exp()
    top = logp.sort(descending=True).values
    chosen = logp.gather(1, ids[:, None])[:, 0]
    rank = 1 + (logits > logits.gather(1, ids[:, None])).sum(-1)
    columns = {
        "logp": chosen, "rank": rank, "entropy": -(p * logp).sum(-1), "mean_logp": logp.mean(-1), "sum_p2": (p * p).sum(-1),
        "lp1": top[:, 0], "lp2": top[:, 1], "sum_top5": top[:, :5].sum(-1), "sum_top20": top[:, :20].sum(-1),
    }  # fmt: skip
    return torch.stack([columns[name].double() for name in STATISTICS], -1).numpy()


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_greedy_statistics_and_chains_equal_the_models_own(kind: str) -> None:
    folder = model_folder(kind)
    engine = HFEngine(folder, batch_size=3, device="cpu", hidden_states=True)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    requests = [request(text, temperature=0.0, max_tokens=30) for text in PROMPTS]
    found = draw(engine, requests)
    for item in requests:
        (sample,) = samples_of(found, item)
        prompt = tokenizer(item.problem_id, return_tensors="pt").input_ids
        expected = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=30,
            eos_token_id=EOS_ID,
            pad_token_id=0,
        )[0, prompt.shape[1] :].tolist()
        reason = "length"
        if expected[-1] == EOS_ID:
            expected, reason = expected[:-1], "stop"
        assert sample.stats is not None
        assert sample.stats.ids.tolist() == expected
        assert (sample.finish_reason, sample.completion_tokens, sample.prompt_tokens) == (
            reason,
            len(expected),
            prompt.shape[1],
        )
        assert sample.text == tokenizer.decode(expected, skip_special_tokens=True, clean_up_tokenization_spaces=False)

        whole = torch.cat([prompt[0], torch.tensor(expected, dtype=torch.long)])
        with torch.inference_mode():
            out = model(whole[None], output_hidden_states=True)
        produced = slice(prompt.shape[1] - 1, len(whole) - 1)
        reference = plain_statistics(out.logits[0, produced], whole[prompt.shape[1] :])
        error = np.abs(sample.stats.values - reference) / (1 + np.abs(reference))
        assert error.max() < 2e-5
        states = torch.stack([state[0, produced] for state in out.hidden_states], 1).numpy()  # (T, L + 1, d)
        of_token = step_ids(sample.stats.starts, split_steps(sample.text))
        steps = [states[of_token == number] for number in range(len(split_steps(sample.text)))]
        rows = [chain_row(inside.mean(0)) if len(inside) else np.full(8, np.nan) for inside in (states, *steps)]
        assert sample.chain is not None
        np.testing.assert_allclose(sample.chain.values, np.stack(rows), rtol=2e-5, atol=2e-5)
        assert sample.stats.vocab_size == out.logits.shape[-1]


def test_bf16_runs_and_stays_near_fp32() -> None:
    folder = model_folder("qwen2", scale=1.0)
    half, full = (HFEngine(folder, batch_size=4, device="cpu", dtype=name) for name in ("bfloat16", "float32"))
    assert half.describe()["dtype"] == "bfloat16"
    item = request(PROMPTS[0], temperature=0.0, max_tokens=4)
    (a,), (b,) = samples_of(draw(half, [item]), item), samples_of(draw(full, [item]), item)
    assert a.stats is not None
    assert b.stats is not None
    np.testing.assert_allclose(a.stats.column("entropy")[0], b.stats.column("entropy")[0], rtol=0.02)


def test_chat_template_is_used_when_there_is_one_unless_raw() -> None:
    folder = model_folder(template=True)
    engine = HFEngine(folder, batch_size=4, device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat, raw = request("1 + 1", max_tokens=2), request("1 + 1", max_tokens=2, raw=True)
    found = draw(engine, [chat, raw])
    assert found[chat.draws[0].key].prompt_tokens == 2 + len(tokenizer("1 + 1").input_ids)
    assert found[raw.draws[0].key].prompt_tokens == len(tokenizer("1 + 1").input_ids)


def test_without_statistics_the_same_texts_come() -> None:
    plain = HFEngine(model_folder(), batch_size=16, device="cpu", token_stats=False)
    full = HFEngine(model_folder(), batch_size=16, device="cpu")
    items = [request(text, n=3) for text in PROMPTS]
    a, b = draw(plain, items), draw(full, items)
    assert all(sample.stats is None for sample in a.values())
    assert {key: sample.text for key, sample in a.items()} == {key: sample.text for key, sample in b.items()}
