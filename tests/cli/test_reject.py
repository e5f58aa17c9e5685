"""`reject`: the command lines of source document s4, against a scripted model and a scripted judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.rejection import FULL, NAMES, OUT, PROMPTS, basic, read, summary
from images import png

from tamis.engines.scripted_server import ScriptedServer


def test_the_full_command_of_the_document_and_its_resume(tamis, images, seer, grader):
    ran = tamis(*basic(seer, grader), *FULL)
    assert ran.code == 0, ran.err
    found = read(OUT)
    assert sorted(name.partition("/")[2] for name in found) == sorted(NAMES)
    for name, row in found.items():
        candidates = row["all_candidates"]
        assert len(candidates) == 4
        assert all(row["prompt_key"] in ("prompt1", "prompt3") for row in candidates)
        best = max(candidates, key=lambda one: one["score"])
        assert row["best_result"]["score"] == best["score"]
        assert row["best_result"]["content"] == best["content"]
        assert row["best_result"]["prompt_text"] == PROMPTS[best["prompt_key"]]
        assert (best["score"] >= 80) == name.startswith("high_quality")
        assert "因为" in row["best_result"]["score_explanation"]
    stats = summary()["stats"]
    assert (stats["total"], stats["processed"], stats["failed"], stats["ungraded"]) == (3, 3, 0, 0)
    assert stats["high_quality_count"] == sum(name.startswith("high") for name in found)
    assert "3 images" in ran.out
    before, config = (seer.counts.num_requests, grader.counts.num_requests), summary()["config"]
    assert before == (12, 12)
    again = tamis(*basic(seer, grader), "--resume")  # as the document has it: without the prompts and the ranges
    assert again.code == 0, again.err
    assert (seer.counts.num_requests, grader.counts.num_requests) == before
    assert read(OUT) == found
    assert summary()["config"] == config
    assert summary()["by_prompt"].keys() == {"prompt1", "prompt3"}


def test_the_summary_is_what_the_files_say(tamis, images, seer, grader):
    Path("prices.json").write_text(json.dumps({"o4-mini": {"input": 2, "output": 10}}))
    ran = tamis(*basic(seer, grader), "--num-candidates", 5, "--temperature-range", "0.3,0.9", "--price-table", "prices.json")
    assert ran.code == 0, ran.err
    candidates = [one for row in read(OUT).values() for one in row["all_candidates"]]
    written = summary()
    stats = written["stats"]
    for key, group in written["by_prompt"].items():
        scores = [one["score"] for one in candidates if one["prompt_key"] == key]
        assert (group["candidates"], group["accepted"]) == (len(scores), sum(score >= 80 for score in scores))
        assert group["mean_score"]["value"] == pytest.approx(sum(scores) / len(scores))
    groups = written["by_params"]["temperature"]
    assert list(groups) == ["0.3", "0.9"]
    assert sum(group["candidates"] for group in groups.values()) == len(candidates) == 15
    for side in ("prompt", "completion"):
        assert stats["tokens"]["generation"][side] == sum(one[f"{side}_tokens"] for one in candidates)
    judged = stats["tokens"]["grading"]
    assert stats["cost"]["by_model"] == {"o4-mini": pytest.approx((judged["prompt"] * 2 + judged["completion"] * 10) / 1e6)}
    assert stats["cost"]["without_price"] == [seer.model]
    times = sorted(one["generation_time"] for one in candidates)
    assert stats["latency"]["generation"]["p50"] == pytest.approx(times[7], abs=1e-3)
    assert stats["total_generation_time"] == pytest.approx(sum(times), abs=1e-2)
    assert "cost: " in ran.out


def test_another_threshold_moves_files_and_calls_nobody(tamis, images, seer, grader):
    tamis(*basic(seer, grader), "--score-threshold", 0)
    assert {name.split("/")[0] for name in read(OUT)} == {"high_quality"}
    before = (seer.counts.num_requests, grader.counts.num_requests)
    assert tamis(*basic(seer, grader), "--score-threshold", 100).code == 0
    assert {name.split("/")[0] for name in read(OUT)} == {"low_quality"}
    assert (seer.counts.num_requests, grader.counts.num_requests) == before


def test_what_the_judge_does_not_grade_is_ungraded_and_in_no_folder(tamis, images, seer):
    with ScriptedServer(["no idea"], model="mute") as mute:
        ran = tamis(*basic(seer, mute), "--num-candidates", 20)
    assert ran.code == 3
    assert read(OUT) == {}
    stats = summary()["stats"]
    assert (stats["processed"], stats["ungraded"], stats["high_quality_percentage"]) == (3, 3, None)
    assert stats["candidates"]["reasons"] == {"judge_failed": 60}
    assert "none of 50 candidates has a score" in ran.err  # while the rest is still being drawn
    assert "has given no candidate a score" in ran.out
    assert "incomplete: " in ran.err
    assert "--retry-failed" in ran.err


def test_an_unreadable_image_is_left_out(tamis, images, seer, grader):
    (images / "bomb.png").write_bytes(png(100_000, 100_000))
    ran = tamis(*basic(seer, grader))
    assert ran.code == 3
    assert "bomb.png: the image has 100000 x 100000 pixels" in ran.err
    assert len(read(OUT)) == 3
    assert summary()["stats"]["unreadable"] == 1


def test_keys_are_nowhere(tamis, images, seer, grader, monkeypatch):
    Path(".env").write_text("OPENAI_API_KEY=sk-model\n")
    ran = tamis(*basic(seer, grader), "--log-level", "debug")
    assert ran.code == 0
    written = b"".join(path.read_bytes() for path in OUT.rglob("*") if path.is_file())
    assert b"sk-" not in written
    assert "sk-" not in ran.out + ran.err
    (log,) = (OUT / "logs").glob("reject_*.log")
    text = log.read_text(encoding="utf-8")
    assert "图.png" in text
    assert "end: " in text


def test_a_wrong_key_and_an_unknown_model_are_one_line(tamis, images, seer, grader):
    arguments = basic(seer, grader)
    arguments[arguments.index("sk-judge")] = "sk-wrong"
    ran = tamis(*arguments)
    assert ran.code == 1
    assert "sk-wrong" not in ran.err
    assert "the judge: the server does not accept the API key (401). Check --grading-key or OPENAI_API_KEY_JUDGE" in ran.err
    arguments = basic(seer, grader)
    arguments[arguments.index(seer.model)] = "nobody"
    ran = tamis(*arguments, "--output-dir", "results/other")
    assert ran.code == 1
    assert seer.model in ran.err  # the one that it has
    assert tamis(*basic(seer, grader), "--output-dir", "results/other").code == 0  # the name put right


def test_the_dry_run_sends_and_writes_nothing(tamis, images, seer, grader):
    (images / "x.png").write_bytes(b"text")
    ran = tamis(*basic(seer, grader), *FULL, "--dry-run")
    assert ran.code == 3
    assert "3 images x 4 candidates of a grid of 120" in ran.out
    assert PROMPTS["prompt1"] in ran.out
    assert "x.png: the file is no image" in ran.err
    assert not OUT.exists()
    assert seer.counts.num_requests == grader.counts.num_requests == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--prompt-keys", "prompt1", "prompt5"], 2, "has no 'prompt5'. There are: prompt1, prompt2, prompt3"),
        (["--temperature-range", "0.3;0.5"], 2, "--temperature-range: '0.3;0.5': it is no list of numbers"),
        (["--temperature-range", "0.3,-1"], 2, "-1 is no temperature"),
        (["--temperature-range", "0.3:0.1:0.1"], 2, "a range rises"),
        (["--top-p-range", "0.5,1.5"], 2, "1.5 is no top-p"),
        (["--top-k-range", "20,40.5"], 2, "40.5 is no top-k"),
        (["--temperature-range", "0:1:0.001"], 2, "1001 values"),
        (["--score-threshold", "101"], 2, "101 does not lie between 0 and 100"),
        (["--score-threshold", "nan"], 2, "nan does not lie between 0 and 100"),
        (["--samples", "0"], 2, "'0' is not a number of images"),
        (["--grading-prompt", "bare.json"], 2, "{generated_answer}"),
        (["--prompts", "nowhere.json"], 1, "no such file of prompts: nowhere.json"),
        (["--price-table", "bare.json"], 1, "bare.json: template: is text, not an object"),
        (["--image-dir", "nowhere"], 1, "no such folder: nowhere"),
        (["--image-dir", "prompts"], 1, "prompts holds no images"),
        (["--vllm-api", "[http://a/v1](http://b/v1)"], 2, "names another URL"),
        (["--output-dir", "bare.json"], 2, "--output-dir is a file"),
        (["--serve", "x"], 2, "--serve starts the server itself"),
        (["--resume"], 1, "nothing to resume"),
        (["--extend-truncated"], 2, "Give a larger --max-tokens"),
        (["--seed", "-1"], 2, "--seed is -1"),
        (["--max-rps", "0"], 2, "--max-rps is 0"),
        (["--num-candidates", "10001"], 2, "10001 candidates an image are too many"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_sent(tamis, images, seer, grader, arguments, code, words):
    Path("bare.json").write_text(json.dumps({"template": "Judge it"}))
    ran = tamis(*basic(seer, grader), *arguments)
    assert ran.code == code
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert seer.counts.num_requests == grader.counts.num_requests == 0
    assert not OUT.exists()


def test_models_must_be_named(tamis, images):
    assert "no model is given" in tamis("reject", "--image-dir", images).err
    assert "no judge is given" in tamis("reject", "--image-dir", images, "--vllm-model", "m").err


def test_grid_takes_every_cell_once(tamis, images, seer, grader):
    ranges = ("--temperature-range", "0.3:0.7:0.2", "--top-p-range", "0.9", "--top-k-range", "0", "--prompt-keys", "prompt2")
    assert tamis(*basic(seer, grader), *ranges, "--strategy", "grid", "--samples", 1).code == 0
    (row,) = read(OUT).values()
    assert sorted(one["params"]["temperature"] for one in row["all_candidates"]) == [0.3, 0.5, 0.7]
    assert summary()["strategy"]["grid_size"] == 3


def test_rejudging_takes_over_the_settings_of_the_run(tamis, images, seer, grader):
    ranges = ("--temperature-range", "0.4", "--num-candidates", 2, "--max-tokens", 77)
    assert tamis(*basic(seer, grader), *ranges).code == 0
    before = seer.counts.num_requests
    with ScriptedServer(["Score: 12.5"], model="kinder") as other:
        ran = tamis(*basic(seer, other), "--rejudge")
    assert ran.code == 0, ran.err
    assert seer.counts.num_requests == before
    assert {row["best_result"]["score"] for row in read(OUT).values()} == {12.5}
    assert summary()["config"]["max_tokens"] == 77


def test_what_was_extended_goes_on_under_the_larger_limit(tamis, images, seer, grader):
    assert tamis(*basic(seer, grader), "--max-tokens", 3).code == 3  # cut off before anything can be graded
    assert tamis(*basic(seer, grader), "--extend-truncated", "--max-tokens", 90).code == 0
    assert summary()["stats"]["candidates"]["truncated"] == 0
    before = seer.counts.num_requests
    assert before == 24
    assert tamis(*basic(seer, grader), "--resume").code == 0
    with ScriptedServer(["Score: 12.5"], model="kinder") as other:
        ran = tamis(*basic(seer, other), "--rejudge")
    assert ran.code == 0, ran.err
    assert seer.counts.num_requests == before
    ran = tamis(*basic(seer, grader), "--resume", "--max-tokens", 100)
    assert "Add --extend-truncated" in ran.err


def test_adaptive_says_what_it_has_learnt(tamis, images, seer, grader):
    ran = tamis(*basic(seer, grader), "--strategy", "adaptive", "--stop-early", "--temperature-range", "0.1,0.9")
    assert ran.code == 0, ran.err
    strategy = summary()["strategy"]
    assert strategy["name"] == "adaptive"
    assert len(strategy["learnt"]) == strategy["grid_size"] == 3 * 2 * 3 * 4
    for row in read(OUT).values():
        reached = [one["score"] >= 80 for one in row["all_candidates"]]
        assert not any(reached[:-1])
