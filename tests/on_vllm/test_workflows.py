"""The vllm engine under the command line, interrupted runs, and pictures."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import numpy as np
import torch
from cli.commands import PROBLEMS
from on_vllm.reference import assert_same, statistics
from on_vllm.requests import draw, request
from on_vllm.seeing import PATCH

from tamis.cli import main
from tamis.demo import MODEL_FOLDER
from tamis.engines.hf import HFEngine
from tamis.engines.vllm.engine import VLLMEngine
from tamis.records import Message, Problem, Prompt, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder

COMPARED = "baseline,self-consistency,infer,deepconf,coe-r"


def test_infer_and_compare_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS), encoding="utf-8")
    drawing = ["--dataset", str(problems), "--engine", "vllm", "--model", "embedded", "-n", "4", "--temperature", "0.7"]
    assert main(["infer", *drawing, "--run", "r"]) == 0, capsys.readouterr().err
    lines = [json.loads(line) for line in Path("r/samples.jsonl").read_text().splitlines()]
    assert len(lines) == 4 * len(PROBLEMS)
    assert all(line["stats"]["vocab_size"] for line in lines if line["completion_tokens"])
    assert json.loads(Path("r/run.json").read_text())["facts"]["engine"]["engine"] == "vllm"
    assert main(["compare", *drawing, "--method", COMPARED, "--run", "c"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert all(method in said for method in COMPARED.split(","))


def test_an_interrupted_run_ends_as_one_that_was_not(text_model, tmp_path):
    problems = [Problem(str(i), prompt=f"Problem {i}: what is {i} + {i}?") for i in range(12)]
    sampling = Sampling(n=3, max_tokens=40)

    async def run(folder: Path, num_pools: int) -> None:
        engine = VLLMEngine(text_model, batch_size=8)
        with RunFolder.open(folder, {"of": "the test"}) as kept:
            drawn = sample(problems, engine, sampling, kept, prompt=prompt_of, progress=Progress())
            async with aclosing(drawn):
                for _ in range(num_pools):
                    await anext(drawn, None)
        engine.close()

    asyncio.run(run(tmp_path / "whole", 12))
    for num_pools in (2, 6, 12):
        asyncio.run(run(tmp_path / "parts", num_pools))
    with RunFolder.read(tmp_path / "whole") as whole, RunFolder.read(tmp_path / "parts") as parts:
        a, b = ({found.key: found for found in folder.samples()} for folder in (whole, parts))
    assert len(a) == 36
    assert a.keys() == b.keys()
    for key, found in a.items():
        assert found.text == b[key].text
        assert np.array_equal(found.stats.ids, b[key].stats.ids)


def prompt_of(problem: Problem) -> Prompt:
    return Prompt((Message("user", problem.prompt),), raw=True)


def test_pictures_are_seen(vision_model, tmp_path):
    from PIL import Image
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    paths = [tmp_path / "red.png", tmp_path / "blue.png"]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (4 * PATCH, 2 * PATCH), colour).save(path)
    torn = tmp_path / "torn.png"
    torn.write_bytes(paths[0].read_bytes()[:60])
    engine = VLLMEngine(vision_model, batch_size=4)
    try:
        found = {}
        for path in (*paths, torn):
            found[path] = list(draw(engine, [request("What is it?", raw=False, images=[str(path)], n=2)]).values())
    finally:
        engine.close()
    assert [s.error.boundary for s in found[torn]] == ["input", "input"]
    red, blue = found[paths[0]][0], found[paths[1]][0]
    assert not np.allclose(red.stats.values[0], blue.stats.values[0], atol=1e-3)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(vision_model, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(vision_model)
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    for path in paths:
        seen = processor(text=[text], images=[Image.open(path)], return_tensors="pt")
        prompt = seen.input_ids[0].tolist()
        for got in found[path]:
            assert got.prompt_tokens == len(prompt)
            ids = got.stats.ids.tolist()
            kinds = torch.nn.functional.pad(seen.mm_token_type_ids, (0, len(ids)))  # what is said is text
            grid = seen.image_grid_thw
            looks = {"pixel_values": seen.pixel_values, "image_grid_thw": grid, "mm_token_type_ids": kinds}
            expected = statistics(model, prompt, ids, **looks)
            assert_same(got.stats.values, expected)


def test_the_embedded_model_answers_as_under_hf():
    """Greedy, in fp32: the two engines choose the same tokens."""
    ours, theirs = VLLMEngine(MODEL_FOLDER, dtype="float32", batch_size=8), HFEngine(MODEL_FOLDER, dtype="float32")
    requests = [request(f"What is {i} + {i + 7}?", raw=False, temperature=0.0, max_tokens=64) for i in range(8)]
    a, b = draw(ours, requests), draw(theirs, requests)
    ours.close()
    theirs.close()
    same = [a[key].text == b[key].text for key in a]
    assert sum(same) >= 7  # a tie in the last bit may go either way
    for key in a:
        if a[key].text == b[key].text:
            np.testing.assert_allclose(a[key].stats.values, b[key].stats.values, atol=1e-4, rtol=1e-3)
