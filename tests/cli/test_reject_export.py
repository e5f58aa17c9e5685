"""Training data of what `reject` has kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.commands import rows
from cli.rejection import NAMES, OUT, PROMPTS, basic, read


def exported(tamis, form: str, *arguments: object) -> tuple[int, list[dict], str]:
    ran = tamis("export", OUT, "--format", form, "--output", f"{form}.jsonl", *arguments)
    return ran.code, rows(Path(f"{form}.jsonl")), ran.out + ran.err


def test_accepted_bests_become_conversations_with_their_image(tamis, images, seer, grader):
    assert tamis(*basic(seer, grader), "--score-threshold", 85, "--num-candidates", 6).code == 0
    accepted = {name.partition("/")[2]: row for name, row in read(OUT).items() if name.startswith("high")}
    code, found, out = exported(tamis, "sharegpt-sft")
    assert (code, [row["id"] for row in found]) == (0, sorted(accepted, key=lambda name: name.encode())), out
    for row in found:
        best = accepted[row["id"]]["best_result"]
        question, answer = row["conversations"]
        assert question == {"from": "human", "value": f"<image>\n{best['prompt_text']}"}
        assert answer == {"from": "gpt", "value": best["content"]}
        assert row["images"] == [str((images / row["id"]).resolve())]
        assert row["score"] == pytest.approx(best["score"] / 100)
        assert {**best["params"], "max_tokens": 1024}.items() <= row["sampling"].items()


def test_pairs_are_of_one_prompt_and_apart(tamis, images, seer, grader):
    assert tamis(*basic(seer, grader), "--num-candidates", 12).code == 0
    for form in ("sharegpt-dpo", "trl-dpo"):
        code, found, out = exported(tamis, form, "--margin", 0.3)
        assert code == 0, out
        for row in found:
            assert row["chosen_score"] - row["rejected_score"] >= 0.3
        if form == "trl-dpo":
            asked = [
                (row["id"], row["prompt"][0]["content"][1]["text"], row["chosen_index"], row["rejected_index"]) for row in found
            ]
    candidates = {row["image_info"]["filename"]: row["all_candidates"] for row in read(OUT).values()}
    expected = set()
    for name, those in candidates.items():
        for prompt in PROMPTS.values():
            of_prompt = [one for one in those if one["prompt_text"] == prompt]
            scores = [one["score"] for one in of_prompt]
            if scores and max(scores) - min(scores) >= 30:
                expected.add((name, prompt))
    assert {(name, prompt) for name, prompt, *_ in asked} == expected
    for name, prompt, *indices in asked:
        assert {candidates[name][index]["prompt_text"] for index in indices} == {prompt}


def test_what_was_deleted_by_hand_is_not_learnt_from(tamis, images, seer, grader):
    assert tamis(*basic(seer, grader), "--score-threshold", 0).code == 0
    (OUT / "high_quality" / "a.png.json").unlink()
    (OUT / "high_quality" / "broken.json").write_text("{")
    code, found, out = exported(tamis, "messages")
    assert (code, {row["id"] for row in found}) == (3, set(NAMES) - {"a.png"})
    assert "broken.json: is no result" in out
    code, found, out = exported(tamis, "messages", "--min-score", 2)
    assert (code, found) == (3, [])
    assert "below_the_least" in out
