"""The HTTP engine and the command line over real vLLM servers: exact statistics from ours, partial ones from others."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.commands import PROBLEMS
from on_vllm.conftest import KEY
from on_vllm.reference import assert_same, statistics
from on_vllm.seeing import PATCH

from tamis.cli import main
from tamis.demo import MODEL_FOLDER
from tamis.engines.http import HTTPEngine
from tamis.engines.http.logprobs import UNKNOWN_VOCABULARY
from tamis.errors import EngineError
from tamis.records import Draw, Message, Prompt, Request, Sample, Sampling

COMPARED = "baseline,deepconf,mean-self-certainty,neg-entropy"


def request(text: str, n: int = 1, *, raw: bool = False, images=(), schema=None, **sampling) -> Request:
    draws = tuple(Draw(f"{text}-{i}", i, 7919 * (len(text) + 1) + i) for i in range(n))
    prompt = Prompt((Message("user", text),), images=tuple(map(str, images)), raw=raw, schema=schema)
    return Request(text, prompt, Sampling(**{"max_tokens": 48, **sampling}), draws)


def draw(server, *requests: Request, model: str = "small", **options) -> list[Sample]:
    async def feed():
        for item in requests:
            yield item

    async def collect():
        engine = HTTPEngine(model, base_urls=[server.base_url], **{"api_key": KEY, **options})
        return [sample async for sample in engine.stream(feed())]

    found = sorted(asyncio.run(collect()), key=lambda sample: sample.key)
    assert len({sample.key for sample in found}) == sum(len(item.draws) for item in requests)
    return found


@pytest.fixture(scope="module")
def embedded():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL_FOLDER)
    return model, tokenizer


def prompt_ids(tokenizer, item: Request) -> list[int]:
    if item.prompt.raw:
        return tokenizer(item.prompt.text).input_ids
    turns = [{"role": m.role, "content": m.content} for m in item.prompt.messages]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)


def assert_exact(model, tokenizer, item: Request, sample: Sample) -> None:
    """Statistics are those of the model for the very tokens of the text."""
    stats = sample.stats
    assert sample.error is None
    assert stats is not None
    assert stats.vocab_size == model.config.vocab_size
    assert len(stats) == sample.completion_tokens
    ids = stats.ids.tolist()
    assert tokenizer.decode(ids, skip_special_tokens=True).startswith(sample.text)
    pieces = [tokenizer.decode(ids[: i + 1], skip_special_tokens=True) for i in range(len(ids) - 1)]
    assert stats.starts.tolist() == [0, *map(len, pieces)][: len(ids)]
    assert_same(stats.values, statistics(model, prompt_ids(tokenizer, item), ids))


def metric(server, name: str) -> float:
    with urllib.request.urlopen(server.base_url.removesuffix("/v1") + "/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_statistics_are_exact_with_64_at_once_preempted_and_in_pieces(server, embedded):
    settings = [
        {"temperature": 0.0},
        {"temperature": 1.0},
        {"temperature": 1.5, "top_k": 5},
        {"temperature": 0.7, "top_p": 0.9, "min_p": 0.05},
    ]
    before = metric(server, "vllm:num_preemptions_total")
    texts = [f"What is {i} + {i + 1}? " * (1 + 3 * (i % 3)) for i in range(16)]
    items = [request(text, 8, **{"max_tokens": 96, **settings[i % 4]}) for i, text in enumerate(texts)]
    found = draw(server, *items, concurrency=64)
    by_problem = {item.problem_id: item for item in items}
    for sample in found[::2]:
        assert_exact(*embedded, by_problem[sample.problem_id], sample)
    assert {sample.finish_reason for sample in found} <= {"stop", "length"}
    assert metric(server, "vllm:num_preemptions_total") > before


def test_a_seed_gives_the_same_sample_again_and_greedy_its_likeliest(server):
    item = request("What is 17 + 25?", 2, temperature=1.0)
    first, second = draw(server, item), draw(server, item)
    assert [s.text for s in first] == [s.text for s in second]
    assert all(np.array_equal(a.stats.values, b.stats.values) for a, b in zip(first, second, strict=True))
    assert len({s.text for s in draw(server, request("What is 17 + 25?", 8, temperature=1.5))}) > 1
    greedy = draw(server, request("What is 17 + 25?", temperature=0.0))[0]
    assert (greedy.stats.column("rank") == 1).all()


@pytest.mark.parametrize("raw", [False, True])
def test_end_tokens_and_stop_strings_are_left_out(server, embedded, raw):
    ended = request("1 + 1 = ", 4, raw=raw, temperature=0.8)
    stopped = request("2 + 2 = ", 4, raw=raw, temperature=0.8, stop=("4", "e"))
    cut = request("3 + 3 = ", 4, raw=raw, temperature=0.8, max_tokens=2)
    for item in (ended, stopped, cut):
        for sample in draw(server, item):
            assert_exact(*embedded, item, sample)
            assert embedded[0].config.eos_token_id not in sample.stats.ids
            if item is stopped:
                assert not {"4", "e"} & set(sample.text)


def test_streams_and_several_at_once_change_nothing(server):
    item = request("What is 3 + 4?", 3, temperature=0.9)
    whole = draw(server, item)
    for other in (draw(server, item, stream_from=1), draw(server, item, several=True)):
        assert [s.text for s in other] == [s.text for s in whole]
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_allclose(a.stats.values, b.stats.values, atol=1e-4)


def test_a_schema_is_kept_and_its_statistics_are_of_what_it_allows(server):
    schema = {"type": "string", "enum": ["right", "wrong"]}
    for sample in draw(server, request("Is 1 + 1 = 2?", 4, schema=schema, temperature=1.0)):
        assert sample.text in ('"right"', '"wrong"')
        assert len(sample.stats) == sample.completion_tokens > 0
        assert np.isfinite(sample.stats.values[0]).all() or sample.stats.values[0, 6] == -np.inf  # one token is allowed
        assert sample.stats.column("logp")[0] == 0.0


def test_requests_that_do_not_ask_get_nothing(server):
    body = {"model": "small", "prompt": "1 + 1 =", "max_tokens": 3}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    url = f"{server.base_url}/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60) as answer:
        assert "tamis" not in json.load(answer)


def test_a_wrong_key_and_an_unknown_model_are_one_line(server):
    with pytest.raises(EngineError, match="does not accept the API key"):
        draw(server, request("x"), api_key="another")
    with pytest.raises(EngineError, match="has no model other") as raised:
        draw(server, request("x"), model="other")
    assert "small" in raised.value.advice


def test_a_plain_server_gives_partial_statistics_and_the_run_says_so(plain_server, caplog):
    with caplog.at_level(logging.WARNING, logger="tamis"):
        samples = draw(plain_server, request("What is 1 + 1?", 16), model="random")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "likeliest tokens only" in said[0]
    assert not any(sample.error for sample in samples)
    found = [sample.stats for sample in samples if sample.stats is not None]
    assert len(found) > 12  # a random model says bytes of no character, and vLLM does not tell where those are
    for stats in found:
        assert stats.vocab_size == UNKNOWN_VOCABULARY
        assert np.isfinite(stats.column("sum_top5")).all()
        assert np.isnan(stats.column("entropy")).all()


def test_commands_over_our_server(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    Path("problems.jsonl").write_text("\n".join(map(json.dumps, PROBLEMS)) + "\n")
    over = ["--engine", "http", "--model-path", "small", "--base-url", server.base_url, "--dataset", "problems.jsonl"]
    over += ["-n", "4", "--max-tokens", "96"]
    assert main(["infer", *over, "--method", "mean-self-certainty", "--run", "one"]) == 0, capsys.readouterr().err
    assert main(["compare", *over, "--method", COMPARED, "--run", "two"]) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    assert "mean-self-certainty" in shown.out
    assert "tamis vllm" not in shown.err
    rows = [json.loads(line) for line in Path("two/samples.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert {row["stats"]["vocab_size"] for row in rows} == {754}
    assert KEY not in "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())


def test_pictures_are_seen(vision_server, vision_model, tmp_path):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    paths = []
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (84, 112, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(noise).save(paths[-1])
    items = [request(f"What is this? {i}", 4, images=[path], temperature=1.0) for i, path in enumerate(paths)]
    found = draw(vision_server, *items, model="eyes")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(vision_model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(vision_model)
    processor = AutoImageProcessor.from_pretrained(vision_model)
    eye = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    for i, (item, path) in enumerate(zip(items, paths, strict=True)):
        with Image.open(path) as opened:
            seen = processor(images=[opened], return_tensors="pt")
        picture = f"<|vision_start|>{'<|image_pad|>' * (84 * 112 // PATCH**2)}<|vision_end|>"
        text = f"<|im_start|>user\n{picture}{item.prompt.text}<|im_end|>\n<|im_start|>assistant\n"
        prompt = tokenizer(text).input_ids
        for sample in found[4 * i : 4 * i + 4]:
            assert sample.error is None
            assert sample.prompt_tokens == len(prompt)
            ids = sample.stats.ids.tolist()
            kinds = torch.tensor([[int(token == eye) for token in [*prompt, *ids]]])
            assert_same(sample.stats.values, statistics(model, prompt, ids, **seen, mm_token_type_ids=kinds))
