"""The vllm engine over real, tiny, random models."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from on_vllm import checkpoints
from on_vllm.reference import assert_same, statistics
from on_vllm.requests import EIGHT, draw, request
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.engines.hf import HFEngine
from tamis.engines.token_stats import token_stats
from tamis.engines.vllm import check
from tamis.engines.vllm.engine import VLLMEngine
from tamis.engines.vllm.store import STORE
from tamis.engines.watch import tokens_until_cut
from tamis.errors import EngineError, UsageError
from tamis.records import Sample, Watch

WAYS = {
    "plain": {"temperature": 1.0},
    "greedy": {"temperature": 0.0},
    "filtered": {"temperature": 0.6, "top_k": 40, "top_p": 0.9, "min_p": 0.01},
    "stopped": {"temperature": 1.0, "stop": ("w1", " w2")},
}


@cache
def loaded(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def forward(folder: Path, sample: Sample) -> np.ndarray:
    """The nine statistics (T, 9) of a sample's tokens by a forward of transformers; its problem's id is its raw prompt."""
    model, tokenizer = loaded(folder)
    return statistics(model, tokenizer(sample.problem_id).input_ids, sample.stats.ids.tolist())


def assert_exact(folder: Path, samples: list[Sample]) -> None:
    for sample in samples:
        assert sample.error is None, sample.error
        assert len(sample.stats) == sample.completion_tokens
    assert_same(*(np.concatenate(side) for side in zip(*((s.stats.values, forward(folder, s)) for s in samples), strict=True)))


@pytest.mark.parametrize("way", WAYS)
def test_statistics_are_those_of_a_forward_pass(engine, text_model, way):
    requests = [request(text, n=2, **WAYS[way]) for text in EIGHT]
    samples = list(draw(engine, requests).values())
    assert len(samples) == 16
    assert sum(s.completion_tokens for s in samples) > 10
    assert_exact(text_model, samples)
    assert len(STORE) == 0


def test_a_large_vocabulary(large_vocabulary, tmp_path):
    engine = VLLMEngine(large_vocabulary, dtype="float32", batch_size=4)
    try:
        assert engine.fault == ""
        found = draw(engine, [request(text, n=2, max_tokens=8) for text in EIGHT])
        assert_exact(large_vocabulary, list(found.values()))
        assert {s.stats.vocab_size for s in found.values()} == {20_000}
    finally:
        engine.close()


def test_samples_are_what_hf_makes_of_the_same_tokens(engine, text_model):
    """Texts, starts, steps and chains, from the tokens that vLLM drew."""
    hf = HFEngine(text_model, hidden_states=True, batch_size=4)
    requests = [request(text, n=2, max_tokens=60, stop=("w11",)) for text in EIGHT]
    found = draw(engine, requests)

    async def read():
        from tamis.records import Reading

        async def readings():
            for item in requests:
                yield Reading(item.prompt, tuple(found[d.key] for d in item.draws))

        return [sample async for sample in hf.read(readings())]

    for read_again in asyncio.run(read()):
        drawn = found[read_again.key]
        assert drawn.text == read_again.text
        assert drawn.stats.starts.tolist() == read_again.stats.starts.tolist()
        np.testing.assert_allclose(drawn.stats.values, read_again.stats.values, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(drawn.chain.values, read_again.chain.values, atol=1e-4, rtol=1e-4)
    hf.close()


def test_greedy_draws_are_those_of_hf(engine, text_model):
    requests = [request(text, raw=False, temperature=0.0, max_tokens=40) for text in EIGHT]
    hf = HFEngine(text_model, batch_size=8)
    ours, theirs = draw(engine, requests), draw(hf, requests)
    hf.close()
    for key, sample in theirs.items():
        got = ours[key]
        assert (got.text, got.finish_reason, got.prompt_tokens, got.completion_tokens) == (
            sample.text, sample.finish_reason, sample.prompt_tokens, sample.completion_tokens,
        )  # fmt: skip


def test_a_draw_alone_and_in_a_crowd_is_the_same(engine):
    crowd = draw(engine, [request(text, n=4) for text in EIGHT])
    for text in EIGHT[:3]:
        (alone,) = draw(engine, [request(text, n=4, only=2)]).values()
        assert alone.stats.ids.tolist() == crowd[alone.key].stats.ids.tolist()


def test_ends(engine):
    found = list(draw(engine, [request(text, n=4, max_tokens=60) for text in EIGHT]).values())
    assert {s.finish_reason for s in found} == {"stop", "length"}
    for sample in found:
        assert checkpoints.END_ID not in sample.stats.ids
        assert (sample.completion_tokens == 60) == (sample.finish_reason == "length")
        assert len(sample.stats) == sample.completion_tokens


def test_what_cannot_be_drawn_fails_alone(engine):
    requests = [request("a" * 2000), request("b", max_tokens=0), request("c", images=["x.png"]), request("d")]
    found = {s.problem_id[0]: s for s in draw(engine, requests).values()}
    assert found["d"].error is None
    assert found["a"].error.boundary == "input"
    assert found["a"].error.message == "the prompt has 2000 tokens, the model's context holds 1024"
    assert found["b"].error.message == "max_tokens is 0"
    assert found["c"].error.message == "the model takes no images"


def test_a_stream_that_is_left_leaves_nothing_behind(engine):
    async def take_one():
        pulled = 0

        async def endless():
            nonlocal pulled
            while True:
                pulled += 1
                yield request(f"prompt {pulled}", n=2, max_tokens=200)

        stream = engine.stream(endless())
        first = await anext(stream)
        await stream.aclose()
        return first, pulled

    first, pulled = asyncio.run(take_one())
    assert first.error is None
    assert pulled < 40  # of two draws each: the batch twice, those that wait before it, and those that finished
    assert len(STORE) == 0
    assert draw(engine, [request("after")])


def test_a_watch_cuts_where_it_should(engine):
    free = draw(engine, [request(text, max_tokens=200) for text in EIGHT])
    lengths = sorted(-s.stats.column("sum_top20")[:4].mean() / 20 for s in free.values())
    watch = Watch(window=4, least=float(lengths[len(lengths) // 2]))
    watched = draw(engine, [request(text, max_tokens=200, watch=watch) for text in EIGHT])
    cuts = {key: tokens_until_cut(sample.stats, watch) for key, sample in free.items()}
    assert any(cuts.values())
    for key, sample in watched.items():
        assert sample.completion_tokens == (cuts[key] or free[key].completion_tokens)
        assert (sample.finish_reason == "cut") == bool(cuts[key])


def test_without_statistics_the_draws_are_the_same(engine, text_model):
    plain = VLLMEngine(text_model, batch_size=8, token_stats=False)
    requests = [request(text, n=2) for text in EIGHT]
    with_stats, without = draw(engine, requests), draw(plain, requests)
    plain.close()
    assert {k: s.text for k, s in with_stats.items()} == {k: s.text for k, s in without.items()}
    assert all(s.stats is None for s in without.values())


def test_wrong_statistics_are_found_out_and_not_used(text_model, monkeypatch, caplog):
    from tamis.engines.vllm import worker

    right = worker.line_states
    monkeypatch.setattr(worker, "line_states", lambda logits, ids: right(logits * 1.1, ids))
    engine = VLLMEngine(text_model, batch_size=8)
    try:
        assert "is off by" in engine.fault
        assert "cannot be trusted" in caplog.text
        assert engine.describe()["token_stats"] == "top-20"
        requests = [request(text, temperature=0.7) for text in EIGHT]
        for sample in draw(engine, requests).values():
            expected = forward(text_model, sample)
            known = [0, 5, 6, 7, 8]
            np.testing.assert_allclose(sample.stats.values[:, known], expected[:, known], atol=1e-4, rtol=1e-4)
            assert np.isnan(sample.stats.values[:, [2, 3, 4]]).all()
    finally:
        engine.close()


def test_the_check_compares_all_nine():
    logits = np.random.default_rng(0).normal(size=34) * 3
    ours = token_stats(torch.tensor(logits)[None], torch.tensor([2])).numpy()[0]
    np.testing.assert_allclose(check._expected(logits, 2), ours, rtol=1e-5, atol=1e-5)


def test_an_adapter_is_drawn_over_its_base(engine, text_model, tmp_path):
    folder = checkpoints.adapter(tmp_path / "adapter", text_model)
    adapted = VLLMEngine(folder, batch_size=8, max_prompt_tokens=60)
    requests = [request(text, temperature=0.0) for text in EIGHT]
    try:
        assert adapted.describe()["base_model"] == str(text_model)
        assert adapted.fault == ""
        base, other = draw(engine, requests), draw(adapted, requests)
        assert [s.text for s in base.values()] != [s.text for s in other.values()]
        long = request("word " * 40)
        (refused,), (drawn,) = (draw(model, [long]).values() for model in (adapted, engine))
        assert refused.error.message == f"the prompt has {drawn.prompt_tokens} tokens, at most 60 are allowed"
    finally:
        adapted.close()


def test_an_adapter_that_is_not_whole_is_refused_before_anything_starts(text_model, tmp_path):
    folder = checkpoints.adapter(tmp_path / "adapter", text_model)
    path, about = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    weights = load_file(path)
    config = json.loads(about.read_text())
    with pytest.raises(UsageError, match="use_lora is false"):
        VLLMEngine(folder, use_lora=False)
    for settings, line in (
        ({"r": 8}, "has rank 4 in .*, and 8 by its"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "lacks all tensors of the modules o_proj"),
        ({"base_model_name_or_path": "/nowhere/at/all"}, "is not there"),
    ):
        about.write_text(json.dumps(config | settings))
        with pytest.raises(EngineError, match=line):
            VLLMEngine(folder)
    about.write_text(json.dumps(config))
    save_file(dict(list(weights.items())[1:]), path)
    with pytest.raises(EngineError, match=r"lacks the lora_[AB] of"):
        VLLMEngine(folder)
    torch.save(weights, folder / "adapter_model.bin")
    path.unlink()
    with pytest.raises(EngineError, match="--allow-pickle"):
        VLLMEngine(folder)


def test_what_does_not_load_says_so_in_one_line(text_model, tmp_path):
    with pytest.raises(EngineError, match="no model folder at"):
        VLLMEngine(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="device: this vLLM runs on"):
        VLLMEngine(text_model, device="tpu")
    broken = tmp_path / "adapter"
    broken.mkdir()
    (broken / "adapter_config.json").write_text("{}")
    with pytest.raises(EngineError, match="no adapter can be read from"):
        VLLMEngine(broken)
    with pytest.raises(UsageError, match="no hidden states of a model that is spread"):
        VLLMEngine(text_model, hidden_states=True, tensor_parallel=2)
