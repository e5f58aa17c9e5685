"""`GRPOInference`: the documented calls and fields, from scripts and from within an event loop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from cli.commands import ANSWERS, PROBLEMS

from tamis.errors import EngineError, InputError, TamisError, UsageError
from tamis.inference import GRPOInference, InferenceConfig


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row, ensure_ascii=False) for row in PROBLEMS]
    Path("math500.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("script.json").write_text(json.dumps({"answers": ANSWERS}, ensure_ascii=False), encoding="utf-8")
    Path("same.json").write_text(json.dumps({"answers": ["答案是 \\boxed{7}", "\\boxed{8}", "\\boxed{7.0}"]}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def inference(place):
    """Says 7 first, to all."""
    with GRPOInference(InferenceConfig(engine="scripted", model_path="same.json")) as opened:
        yield opened


def test_one_question(inference):
    prompt = inference.preprocess_prompt("小明有3个苹果")
    assert "小明有3个苹果" in prompt
    result = inference.generate_response(prompt)
    assert result["prompt"] == prompt
    assert result["response"] == "答案是 \\boxed{7}"
    assert result["answer"] == "7"
    assert result["full_output"] == prompt + result["response"]
    assert result["truncated"] is False


def test_a_batch_keeps_its_order_and_a_bad_problem_is_a_row(inference):
    results = inference.batch_inference(["一", "", "二", 3, "一"], batch_size=2)
    assert [row["index"] for row in results] == [0, 1, 2, 3, 4]
    assert [row["problem"] for row in results] == ["一", "", "二", 3, "一"]
    assert [row["answer"] for row in results] == ["7", None, "7", None, "7"]
    assert results[1]["error"] == "input: the question is empty"
    assert results[3]["error"] == "input: the question is a number, not text"
    assert list(results[0])[:4] == ["problem", "prompt", "response", "answer"]
    assert inference.batch_inference([]) == []


def test_all_returned_sequences_are_held_and_vote(place):
    config = InferenceConfig(engine="scripted", model_path="same.json", num_return_sequences=3)
    with GRPOInference(config) as inference:
        row = inference.batch_inference(["3 + 4?"])[0]
    assert row["responses"] == ["答案是 \\boxed{7}", "\\boxed{8}", "\\boxed{7.0}"]
    assert row["answers"] == ["7", "8", "7.0"]
    assert (row["response"], row["answer"], row["vote"]) == (row["responses"][0], "7", "7")
    assert row["votes"] == {"7": 2.0, "8": 1.0}


def test_an_evaluation_has_the_documented_fields(place):
    with GRPOInference(InferenceConfig(engine="scripted", model_path="script.json")) as inference:
        found = inference.evaluate_on_dataset(dataset_name="math500.jsonl", split="test", max_samples=2, batch_size=4)
        again = inference.evaluate_on_dataset("math500.jsonl", max_samples=None, metric=lambda _, response, __: len(response))
    assert (found["accuracy"], found["correct"], found["total"]) == (1.0, 2, 2)
    assert found["eval_time"] >= 0
    assert (
        found["results"][1].items()
        >= {
            "index": 1,
            "problem": PROBLEMS[1]["problem"],
            "reference_answer": "7",
            "model_answer": "7",
            "is_correct": True,
            "model_response": ANSWERS["p2"][0],
        }.items()
    )
    assert again["reused_samples"] == 2
    assert again["metric"]["mean"] == sum(len(ANSWERS[name][0]) for name in ANSWERS) / 3


def test_it_works_inside_a_running_event_loop(inference):
    async def notebook() -> str:
        return inference.generate_response("3 + 4?")["answer"]

    assert asyncio.run(notebook()) == "7"


def test_prompts_are_remembered(inference):
    first = inference.preprocess_prompt("one {problem} more")
    assert "one {problem} more" in first
    assert inference.preprocess_prompt("one {problem} more") is first


def test_mistakes_are_one_line(inference, place):
    for wrong in ("", "  \n"):
        with pytest.raises(InputError, match="the question is empty"):
            inference.preprocess_prompt(wrong)
    with pytest.raises(UsageError, match="takes a list of problems"):
        inference.batch_inference("3 + 4?")
    with pytest.raises(UsageError, match="batch_size is 0"):
        inference.batch_inference(["3 + 4?"], batch_size=0)
    with pytest.raises(TamisError, match="max_samples is 0, expected a whole number"):
        inference.evaluate_on_dataset("math500.jsonl", max_samples=0)
    inference.close()
    with pytest.raises(UsageError, match="closed"):
        inference.generate_response("3 + 4?")
    with GRPOInference(InferenceConfig(engine="scripted", model_path="script.json")) as other, pytest.raises(EngineError):
        other.generate_response("a question that the script does not know")


def test_the_log_holds_every_prompt_and_response(place):
    config = InferenceConfig(engine="scripted", model_path="same.json", save_detailed_log=True, log_path="logs/log.txt")
    with GRPOInference(config) as inference:
        inference.batch_inference(["苹果", "pears"])
        inference.generate_response("plums")
    text = Path("logs/log.txt").read_text(encoding="utf-8")
    assert text.count("答案是 \\boxed{7}") == 3
    assert all(word in text for word in ("苹果", "pears", "plums"))


def test_alone_and_in_a_batch_the_same_prompt_has_the_same_answer(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    questions = ["What is 5 + 6?", "解方程：3x + 22 = x + 56。", "What is 23 + 10?"]
    with GRPOInference(InferenceConfig(max_new_tokens=64, temperature=1.0)) as inference:
        batch = [row["response"] for row in inference.batch_inference(questions)]
        single = [inference.generate_response(inference.preprocess_prompt(question))["response"] for question in questions]
    assert single == batch
