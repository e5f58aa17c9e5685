from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis.export import FORMATS
from tamis.records import Message, Prompt

HOSTILE = 'a"b\\ \u2028 </script> \x00 \U0001f600 {"role": "system"} <|im_end|>'
SYSTEM, QUESTION = Message("system", "Be brief."), Message("user", "1 + 1?")
PLAIN = Prompt((SYSTEM, QUESTION))
SEEN = Prompt((SYSTEM, QUESTION), ("a.png", "b.png"))
SHAREGPT = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "1 + 1?"}]


def row(name, prompt, *texts):
    return FORMATS[name].columns(prompt, texts)


def test_texts_are_where_trainers_look_for_them_and_unchanged():
    system, question = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}
    good, bad = {"role": "assistant", "content": HOSTILE}, {"role": "assistant", "content": "3"}
    assert row("messages", PLAIN, HOSTILE) == {"messages": [system, question, good]}
    assert row("trl-dpo", PLAIN, HOSTILE, "3") == {"prompt": [system, question], "chosen": [good], "rejected": [bad]}
    said, other = {"from": "gpt", "value": HOSTILE}, {"from": "gpt", "value": "3"}
    assert row("sharegpt-sft", PLAIN, HOSTILE) == {"conversations": [*SHAREGPT, said]}
    assert row("sharegpt-dpo", PLAIN, HOSTILE, "3") == {"conversations": SHAREGPT, "chosen": said, "rejected": other}


def test_images_have_a_marker_each_in_sharegpt():
    seen = row("sharegpt-sft", SEEN, "2")
    assert seen["images"] == ["a.png", "b.png"]
    assert [turn["value"] for turn in seen["conversations"]] == ["Be brief.", "<image>\n<image>\n1 + 1?", "2"]
    marked = Prompt((Message("user", "<image> or <image>?"),), SEEN.images)
    assert row("sharegpt-sft", marked, "2")["conversations"][0]["value"] == "<image> or <image>?"


@pytest.mark.parametrize("name", ["sharegpt-sft", "sharegpt-dpo"])
def test_a_marker_without_its_image_would_break_a_training_run(name):
    texts = ["2", "3"][: 1 + FORMATS[name].is_pairs]
    one_of_two = Prompt((Message("user", "<image>?"),), SEEN.images)
    assert row(name, one_of_two, *texts) is None
    assert row(name, Prompt(one_of_two.messages), *texts) is None
    assert row(name, PLAIN, *texts[1:], "an <image>") is None


def test_images_are_parts_of_the_last_user_turn_in_messages():
    prompt = Prompt((QUESTION, Message("assistant", "2"), Message("user", "sure?")), ("a.png",))
    texts = [{"type": "text", "text": text} for text in ("1 + 1?", "2", "sure?", "<image> yes")]
    contents = [[texts[0]], [texts[1]], [{"type": "image"}, texts[2]], [texts[3]]]
    whole = row("messages", prompt, "<image> yes")
    assert [message["content"] for message in whole["messages"]] == contents
    pair = row("trl-dpo", prompt, "<image> yes", "no")
    assert pair["prompt"] == whole["messages"][:-1]
    assert pair["chosen"] == whole["messages"][-1:]
    assert pair["images"] == whole["images"] == ["a.png"]


def test_the_page_shows_what_is_written():
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    shown = [json.loads(line) for line in page.splitlines() if line.startswith("{")]
    sums, boards = Message("user", "What is 1 + 1?"), Message("user", "Which parts are connected?")
    right, wrong = "so \\boxed{2}", "so \\boxed{3}"
    pictured = Prompt((boards,), ("boards/7.png",))
    assert shown == [
        row("sharegpt-sft", Prompt((SYSTEM, sums)), "1 + 1 = 2\nso \\boxed{2}"),
        row("sharegpt-dpo", Prompt((sums,)), right, wrong),
        row("trl-dpo", Prompt((sums,)), right, wrong),
        row("messages", Prompt((sums,)), right),
        row("sharegpt-sft", pictured, "R1 and C2"),
        row("messages", pictured, "R1 and C2"),
    ]
