"""`export`: training data of samples that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.commands import ANSWERS, DRAWING, PROBLEMS, rows

RUN = Path("runs/math500-script.json")
OUTPUT = Path("out/train.jsonl")


def export(tamis, form, *arguments, samples=RUN):
    ran = tamis("export", samples, "--format", form, "--output", OUTPUT, *arguments)
    lines = OUTPUT.read_bytes().split(b"\n") if OUTPUT.is_file() else None
    return ran, lines and [json.loads(line) for line in lines[:-1]]


def test_right_samples_become_conversations(tamis, place):
    tamis("generate", *DRAWING, "-n", 4, "--prompt-template", "Solve: {problem}", "--seed", 3)
    ran, found = export(tamis, "messages", "--per-prompt", 9)
    assert ran.code == 0, ran.err
    right = {"p1": {0, 2}, "p2": {0, 3}, "p3": {0, 1, 2}}
    assert {(row["id"], row["index"]) for row in found} == {(name, i) for name, all_ in right.items() for i in all_}
    for row in found:
        problem = next(problem for problem in PROBLEMS if problem["unique_id"] == row["id"])
        question, answer = row["messages"]
        assert question == {"role": "user", "content": f"Solve: {problem['problem']}"}
        assert answer == {"role": "assistant", "content": ANSWERS[row["id"]][row["index"]]}
        assert (row["run"], row["method"], row["score"], row["correct"]) == (RUN.name, "correct", 1.0, True)
        assert row["sampling"]["seed"] == 3
        assert row["graded_by"]
    assert "7 rows of 3 of 3 problems" in ran.out
    assert "samples in no row: 4 wrong, 1 repeated" in ran.out


def test_pairs_are_right_against_wrong(tamis, place):
    tamis("generate", *DRAWING, "-n", 4)
    ran, found = export(tamis, "trl-dpo")
    assert ran.code == 0, ran.err
    assert [(row["id"], row["chosen_index"], row["rejected_index"]) for row in found] == [
        ("p1", 0, 3), ("p2", 0, 1), ("p3", 0, 3)
    ]  # fmt: skip
    assert all((row["chosen_correct"], row["rejected_correct"]) == (True, False) for row in found)


def test_pairs_by_a_score_are_as_far_apart_as_told(tamis, place):
    tamis("generate", *DRAWING, "-n", 4)
    tamis("score", RUN, "--method", "p-true")
    scores = {(row["id"], row["index"]): row["scores"]["p-true"] for row in rows(RUN / "scores" / "scores.jsonl")}
    ran, found = export(tamis, "sharegpt-dpo", "--method", "p-true", "--margin", 0.1, "--per-prompt", 2)
    assert ran.code == 0, ran.err
    assert found
    for row in found:
        chosen, rejected = row["chosen_index"], row["rejected_index"]
        assert row["chosen"] == {"from": "gpt", "value": ANSWERS[row["id"]][chosen]}
        assert row["chosen_score"] == pytest.approx(scores[row["id"], chosen])
        assert row["chosen_score"] - row["rejected_score"] >= 0.1
        assert (row["id"], rejected) in scores
    _, few = export(tamis, "sharegpt-dpo", "--method", "p-true", "--margin", 2)
    assert few == []


def test_samples_made_elsewhere_with_images_and_hostile_texts(tamis, place):
    hostile = 'so "\\boxed{2}" \u2028</script>\x00\U0001f600 '
    row = {"question": "What is shown?", "gold": "2", "images": ["a.png"], "responses": [hostile, hostile, "\\boxed{2}"]}
    other = {**row, "responses": [*row["responses"], "\\boxed{2} <image>"], "id": "again"}
    Path("elsewhere.jsonl").write_text("\n".join(json.dumps(line) for line in ({**row, "id": "once"}, other)), encoding="utf-8")
    ran, found = export(tamis, "sharegpt-sft", "--per-prompt", 9, samples="elsewhere.jsonl")
    assert ran.code == 0, ran.err
    assert [line["conversations"][1]["value"] for line in found] == [hostile, "\\boxed{2}"]
    assert {line["conversations"][0]["value"] for line in found} == {"<image>\nWhat is shown?"}
    assert {(line["id"], line["run"], *line["images"]) for line in found} == {("once", "elsewhere.jsonl", "a.png")}
    assert "4 repeated, 1 image_marker" in ran.out


def test_nothing_to_learn_from_is_said(tamis, place):
    tamis("generate", *DRAWING, "-n", 2)
    ran, found = export(tamis, "messages", "--method", "judge")
    assert (ran.code, found) == (3, [])
    assert "6 not_asked" in ran.out
    assert "tamis score" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("messages", "--margin", 0.5), "--margin has no effect"),
        (("trl-dpo", "--margin", -1), "the margin is -1"),
        (("trl-dpo", "--method", "self-consistency"), "no score"),
        (("messages", "--method", "coin"), "no method"),
        (("csv",), "invalid choice"),
        (("messages", "--per-prompt", 0), "is not 1 or more"),
        (("messages", "--output", RUN), "--output is the file"),
    ],
)
def test_misuse_is_refused_before_anything_is_read(tamis, place, arguments, words):
    ran, found = export(tamis, *arguments)
    assert (ran.code, found) == (2, None)
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
