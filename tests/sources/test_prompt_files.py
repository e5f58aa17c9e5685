"""Prompt files of rejection sampling, and price tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis.errors import InputError, UsageError
from tamis.sources.prices import read_prices
from tamis.sources.prompt_files import read_generation_prompts, read_grading_template

CHINESE = {
    "prompt1": "请分析这张系统框图，识别所有组件及其连接关系，以网表形式输出。",
    "prompt2": "详细描述这张系统框图中的所有元件和连接路径。",
    "prompt3": "这张图显示了一个系统框图。",
}


def file(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "prompts.json"
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode("utf-8-sig"))  # as editors on Windows write
    return path


def test_prompts_are_picked_in_the_order_asked_for(tmp_path):
    path = file(tmp_path, CHINESE)
    assert read_generation_prompts(path) == CHINESE
    assert list(read_generation_prompts(path, ["prompt3", "prompt1"]).items()) == [
        ("prompt3", CHINESE["prompt3"]), ("prompt1", CHINESE["prompt1"])
    ]  # fmt: skip


def test_there_are_prompts_without_a_file():
    assert len(read_generation_prompts()) > 1
    assert "{generated_answer}" in read_grading_template()


def test_keys_that_are_not_there_are_told_with_those_that_are(tmp_path):
    with pytest.raises(UsageError, match=r"has no 'prompt5', 'prompt6'\. There are: prompt1, prompt2, prompt3"):
        read_generation_prompts(file(tmp_path, CHINESE), ["prompt1", "prompt5", "prompt6"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"prompts\.json:1: torn or invalid JSON"),
        ('{"a": "x",\n"a": "y"}', "'a' is there twice"),
        (["a"], "a list, not an object"),
        ({"a": 3}, "a: is a number, not text"),
        ({"a": " "}, "a: is empty"),
        ({}, "there are no prompts"),
        ("[" * 100_000, "nested|recursion"),
    ],
)
def test_files_that_hold_no_prompts(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        read_generation_prompts(file(tmp_path, content))


def test_a_template_is_a_field_of_its_file(tmp_path):
    assert read_grading_template(file(tmp_path, {"template": "评分 {generated_answer}"})) == "评分 {generated_answer}"
    with pytest.raises(InputError, match="no field template"):
        read_grading_template(file(tmp_path, {"prompt": "Judge {generated_answer}"}))
    with pytest.raises(InputError, match="no such file of grading prompt"):
        read_grading_template(tmp_path / "nowhere.json")


def test_prices_are_of_a_million_tokens(tmp_path):
    prices = read_prices(file(tmp_path, {"o4-mini": {"input": 1.1, "output": 4.4}, "ours": {"input": 0, "output": 0}}))
    assert prices["o4-mini"].cost(2_000_000, 500_000) == pytest.approx(2 * 1.1 + 0.5 * 4.4)
    assert prices["ours"].cost(5, 5) == 0
    for row, words in (
        ({"input": 1}, "output: is missing"),
        ({"input": -1, "output": 1}, "input: is -1"),
        (3, "not an object"),
    ):
        with pytest.raises(InputError, match=words):
            read_prices(file(tmp_path, {"m": row}))
