"""`tamis interleave-evaluate` on trees made here."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from traces import picture, problem_row, result_row, write_results

from tamis.likeness.texts import rouge
from tamis.workflows import trace_gallery

pytest.importorskip("skimage")
pytest.importorskip("sacrebleu")

DATA_FIELDS = [
    "sample_id", "question", "ground_truth_reasoning", "ground_truth_answer", "ground_truth_images", "output_reasoning",
    "output_images", "num_reasoning_steps", "num_generated_images",
]  # fmt: skip
STATISTICS_FIELDS = [
    "total_samples", "successful", "failed", "avg_reasoning_steps", "avg_generated_images", "reasoning_steps_distribution",
    "image_count_distribution",
]  # fmt: skip


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def evaluate(tamis, tmp_path, monkeypatch):
    """Evaluate rows; the run, and where its files are."""
    monkeypatch.chdir(tmp_path)

    def run(rows: list[dict], *options: object):
        path = write_results(tmp_path, rows)
        ran = tamis("interleave-evaluate", "--results_jsonl", path, *options)
        return ran, path.parent

    return run


def test_the_documented_files(evaluate, tmp_path):
    failed = problem_row(tmp_path, 2) | {"sample_id": 2, "error": "engine: out of memory"}
    ran, folder = evaluate([result_row(tmp_path, 1, shifts=(10,)), failed, result_row(tmp_path, 0)])
    statistics = read(folder / "statistics.json")
    assert list(statistics) == STATISTICS_FIELDS
    assert statistics == {
        "total_samples": 3, "successful": 2, "failed": 1, "avg_reasoning_steps": 3.0, "avg_generated_images": 1.5,
        "reasoning_steps_distribution": {"3": 2}, "image_count_distribution": {"1": 1, "2": 1},
    }  # fmt: skip
    data = read(folder / "evaluation_data.json")
    assert [list(row) for row in data] == [DATA_FIELDS] * 2
    assert [row["sample_id"] for row in data] == [0, 1]
    row = problem_row(tmp_path, 0)
    assert data[0]["ground_truth_images"] == [row["reasoning_image_1"], row["reasoning_image_2"]]
    assert (data[0]["question"], data[0]["ground_truth_answer"]) == (row["Question"], "4")
    assert ran.code == 3
    assert "failed: sample 2: engine: out of memory" in ran.out
    assert "3, 1 failed" in ran.out


def test_the_metrics(evaluate, tmp_path):
    rows = [result_row(tmp_path, number) for number in range(4)]
    rows[1] |= {"output_reasoning": "<think>Mark.</think><answer>Final Answer: 5</answer>"}
    rows[2] |= {"output_images": rows[2]["output_images"][:1], "num_generated_images": 1}
    rows[3] |= {
        "output_reasoning": "I cannot tell",
        "Text Reasoning Trace": None,
        "reasoning_image_1": "",
        "reasoning_image_2": None,
    }
    ran, folder = evaluate(rows)
    found = read(folder / "metrics.json")
    metrics = found["metrics"]
    answers = metrics["answer_accuracy"]
    assert (answers["correct"], answers["total"], answers["no_answer"]) == (2, 4, 1)
    steps = metrics["step_count_accuracy"]
    assert (steps["correct"], steps["total"], steps["unscored"]) == (2, 3, {"no_reference": 1})
    assert metrics["step_count_difference"]["value"] == pytest.approx(-1 / 3)
    assert found["pictures"] == {"drawn": 7, "wanted": 6, "pairs": 5, "resized": 0, "identical": 0}
    # every pixel of picture 1 is 10 brighter and of picture 2 is 20: means over samples of means over pairs
    both = (20 * math.log10(255 / 10) + 20 * math.log10(255 / 20)) / 2
    assert metrics["psnr"]["value"] == pytest.approx((2 * both + 20 * math.log10(255 / 10)) / 3)
    assert (metrics["psnr"]["scored"], metrics["psnr"]["unscored"]) == (3, {"no_reference": 1})
    wanted = "Mark them. Count them. There are 4."
    texts = [
        rouge(text, wanted)["rougeL"]
        for text in ("Mark them. Count them. There are 4. Final Answer: 4", "Mark. Final Answer: 5")
    ]
    assert metrics["rougeL"]["value"] == pytest.approx((2 * texts[0] + texts[1]) / 3)
    assert 0 < metrics["bleu"]["interval"][0] < metrics["bleu"]["value"] < metrics["bleu"]["interval"][1] < 100
    assert ran.code == 0
    scores = [json.loads(line) for line in (folder / "sample_scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["is_correct"] for row in scores] == [True, False, True, False]
    assert [row["answer"] for row in scores] == ["4", "5", "4", None]
    assert scores[3]["unscored"]["bleu"] == "no_reference"
    assert scores[3]["psnr"] is None
    for name in ("lpips", "fid", "kid"):
        if metrics[name]["value"] is None:
            assert metrics[name]["reason"] in ran.out


def test_other_sizes_are_resized_and_identical_pictures_have_no_psnr(evaluate, tmp_path):
    rows = [result_row(tmp_path, number, shifts=(0, 0)) for number in range(2)]
    picture(Path(rows[1]["output_images"][0]), 101, size=(64, 48))
    _, folder = evaluate(rows)
    found = read(folder / "metrics.json")
    assert (found["pictures"]["identical"], found["pictures"]["resized"]) == (3, 1)
    psnr = found["metrics"]["psnr"]
    assert (psnr["scored"], psnr["unscored"], psnr["interval"]) == (1, {"identical": 1}, None)
    assert psnr["value"] > 30
    assert found["metrics"]["ssim"]["scored"] == 2


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(evaluate, tmp_path):
    rows = [result_row(tmp_path, number) for number in range(4)]
    Path(rows[0]["output_images"][0]).unlink()
    Path(rows[1]["reasoning_image_2"]).write_bytes(b"<html>")
    rows[2]["output_images"][0] = "/etc/passwd"
    rows[3] |= {"reasoning_image_1": 7, "num_generated_images": 9}
    ran, folder = evaluate(rows)
    assert ran.code == 3
    for words in (
        "sample 0: output_image_1.png: cannot read",
        "sample 1: reasoning_image_2: ",
        "sample 2: passwd: .* lies outside of",
        "sample 3: reasoning_image_1: is a number",
        f"sample 3: num_generated_images: is 9, and {len(rows[3]['output_images'])} are listed",
    ):
        assert len(re.findall(f"not compared: .*{words}", ran.err)) == 1
    found = read(folder / "metrics.json")
    assert found["pictures"]["pairs"] == 3
    assert found["metrics"]["psnr"]["unscored"] == {"no_reference": 1}
    assert found["metrics"]["answer_accuracy"]["total"] == 4
    assert len(found["bad_rows"]) == 5
    assert read(folder / "evaluation_data.json")[3]["num_generated_images"] == len(rows[3]["output_images"])


def test_a_torn_line_and_a_second_attempt(evaluate, tmp_path):
    path = write_results(tmp_path, [])
    rows = [
        problem_row(tmp_path, 0) | {"sample_id": 0, "error": "interrupted"},
        result_row(tmp_path, 0),
        result_row(tmp_path, 1),
    ]
    write_results(tmp_path, rows)
    torn = path.read_bytes()[:-300]
    path.write_bytes(torn)
    from tamis.cli import main

    assert main(["interleave-evaluate", "--results-jsonl", str(path.parent), "--output-eval-json", "out/data.json"]) == 3
    assert [row["sample_id"] for row in read(Path("out/data.json"))] == [0]
    found = read(Path("out/metrics.json"))
    assert (found["total_samples"], found["failed"], found["superseded_rows"]) == (1, 0, 1)
    assert "results.jsonl:3: torn or invalid JSON" in found["bad_rows"][0]
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "data.json", "metrics.json", "sample_scores.jsonl", "statistics.json"
    ]  # fmt: skip


@pytest.mark.parametrize("errors", [0, 2])
def test_nothing_to_measure(evaluate, tmp_path, errors):
    rows = [problem_row(tmp_path, number) | {"sample_id": number, "error": "engine: gone"} for number in range(errors)]
    ran, folder = evaluate(rows, "--report", "page.html")
    assert ran.code == 3
    assert read(folder / "evaluation_data.json") == []
    statistics = read(folder / "statistics.json")
    assert (statistics["total_samples"], statistics["failed"]) == (errors, errors)
    assert statistics["avg_reasoning_steps"] is None
    metrics = read(folder / "metrics.json")["metrics"]
    assert {name: each["value"] for name, each in metrics.items()} == dict.fromkeys(metrics)
    assert ("holds no samples" in ran.err) == (not errors)
    assert Path("page.html").is_file()


def test_the_page(evaluate, tmp_path, monkeypatch):
    rows = [result_row(tmp_path, number) for number in range(3)]
    rows[0] |= {"output_reasoning": "<script>alert(1)</script> 先数一数"}
    rows[1] |= {"output_images": [], "num_generated_images": 0}
    parts = [{"text": "Mark them."}, {"image": rows[2]["output_images"][0]}, {"text": "There are 4."}]
    rows[2] |= {"output_parts": parts, "output_images": rows[2]["output_images"][:1]}
    evaluate(rows, "--report", "pages/gallery.html")
    page = Path("pages/gallery.html").read_text(encoding="utf-8")
    assert "先数一数" in page
    assert "<script>alert" not in page
    assert "no PSNR (dB), SSIM: nothing was drawn" in page
    assert "<dt>BLEU (0-100)</dt>" in page
    third = page[page.rindex("<details") :]
    assert third.index("Mark them.") < third.index('alt="output_image_1.png"') < third.index("There are 4.")
    assert page.count("do not say where the pictures belong") == 1
    assert page.count("<img") == 3 * 3 + 2 + 1
    assert not re.search(r"<a href", page)
    monkeypatch.setattr(trace_gallery, "ROOM", 1)
    evaluate(rows, "--report", "pages/gallery.html")
    page = Path("pages/gallery.html").read_text(encoding="utf-8")
    assert page.count("<img") == 0
    links = re.findall(r'<a href="([^"]+)"', page)
    assert len(links) == 12
    assert all(Path("pages", link).is_file() for link in links)
    assert "12 pictures had no room" in page


def test_the_page_makes_pictures_smaller_before_it_leaves_them_out(evaluate, tmp_path, monkeypatch):
    rows = [result_row(tmp_path, number) for number in range(4)]
    noise = np.random.default_rng(0).integers(0, 256, (500, 400, 3), dtype=np.uint8)
    for row in rows[:3]:
        for path in row["output_images"]:
            Image.fromarray(noise).save(path)
    monkeypatch.setattr(trace_gallery, "ROOM", 4 * 60_000)
    evaluate(rows, "--report", "pages/gallery.html")
    page = Path("pages/gallery.html").read_text(encoding="utf-8")
    embedded = re.findall(r'<img src="([^"]+)" alt="output_image_[12].png" width="([0-9]+)" height="([0-9]+)"', page)
    assert len(embedded) == 2 * 4
    heights = [int(height) for _, _, height in embedded]
    assert heights[::2] == heights[1::2]
    assert all(96 <= height < 448 for height in heights[:6])
    assert heights[6:] == [24 * 5] * 2
    assert sum(map(len, re.findall(r'data:image/[^"]+', page))) <= 4 * 60_000
    links = re.findall(r'<a href="([^"]+)">output_image_[12].png</a>', page)
    assert [Path("pages", link).resolve() for link in links] == [
        Path(path) for row in rows[:3] for path in row["output_images"]
    ]
    assert "no room" not in page


def test_the_page_says_what_it_leaves_out(evaluate, tmp_path, monkeypatch):
    rows = [result_row(tmp_path, number) for number in range(5)]
    rows[2] |= {"output_reasoning": "Final Answer: 5", "truncated": True}
    rows[3] |= {"error": "engine: gone"}
    rows[4] |= {"output_reasoning": "Final Answer: 5"}
    monkeypatch.setattr(trace_gallery, "MOST_SAMPLES", 1)
    evaluate(rows, "--report", "gallery.html")
    page = Path("gallery.html").read_text(encoding="utf-8")
    assert page.count('<details class="candidate trace"') == 1
    assert "first 1 samples are shown; 4 more are not (1 right, 1 wrong, 1 no answer, 1 failed; 1 truncated)" in page


def test_the_page_shows_candidates_that_were_not_chosen(evaluate, tmp_path):
    folder = tmp_path / "output/batch_inference_20250104_120000"
    path = picture(folder / "candidates/images/0/1_1.png")
    other = {"index": 1, "chosen": False, "score": -0.5, "ending": "length"}
    parts = [{"text": "<b>Or so.</b>"}, {"image": f"elsewhere/run/{path[len(str(folder)) + 1 :]}"}, {"image": "/etc/passwd"}]
    listed = [{**other, "index": 0, "chosen": True}, {**other, "output_parts": parts}, {**other, "output_parts": 7}, "x"]
    score = {"chosen": 0, "score": 0.25, "score_method": "<i>margin</i>"}
    evaluate(
        [result_row(tmp_path, 0, candidates=listed, **score), result_row(tmp_path, 1, candidates=3)],
        "--report",
        "pages/gallery.html",
    )
    page = Path("pages/gallery.html").read_text(encoding="utf-8")
    assert page.count("chosen of") == 1
    assert "candidate 0, chosen of 4 by &lt;i&gt;margin&lt;/i&gt;: score 0.25" in page
    assert page.count('<details class="other">') == 1
    shown = page[page.index('<details class="other">') :]
    assert "Candidate 1: score −0.5, cut off: too many tokens" in shown
    assert "&lt;b&gt;Or so." in shown
    assert "/etc/passwd lies outside" in shown
    assert 'alt="1_1.png"' in shown


def test_pictures_outside_are_not_read_where_paths_are_restricted(evaluate, tmp_path, monkeypatch):
    rows = [result_row(tmp_path, 0)]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ran, folder = evaluate(rows, "--restrict-paths")
    assert "lies outside" in ran.err
    assert read(folder / "metrics.json")["metrics"]["psnr"]["unscored"] == {"unreadable": 1}
    (folder / "summary.json").write_text(json.dumps({"input_jsonl": "/rows.jsonl"}), encoding="utf-8")
    assert "lies outside" in evaluate(rows, "--restrict-paths")[0].err
    assert evaluate(rows)[0].code == 0


def test_references_beside_the_input_are_found(evaluate, tmp_path):
    rows = [result_row(tmp_path, 0)]
    rows[0] |= {f"reasoning_image_{k}": f"0/step{k}.png" for k in (1, 2)}
    assert evaluate(rows)[0].code == 3
    summary = tmp_path / "output/batch_inference_20250104_120000/summary.json"
    summary.write_text(json.dumps({"input_jsonl": str(tmp_path / "data/rows.jsonl")}), encoding="utf-8")
    assert evaluate(rows)[0].code == 0


def test_misuse(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_results(tmp_path, [])
    assert tamis("interleave-evaluate", "--results-jsonl", "gone.jsonl").code == 1
    before = path.read_bytes()
    for options in (
        ("--report", tmp_path), ("--output-eval-json", "statistics.json"), ("--bert-model", tmp_path),
        ("--output-eval-json", path), ("--report", path),
    ):  # fmt: skip
        ran = tamis("interleave-evaluate", "--results-jsonl", path, *options)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert path.read_bytes() == before


def test_a_package_that_is_missing_is_named(evaluate, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu.metrics.bleu", None)
    ran, folder = evaluate([result_row(tmp_path, 0)])
    metrics = read(folder / "metrics.json")["metrics"]
    assert metrics["bleu"] == {"value": None, "reason": metrics["bleu"]["reason"]}
    assert "pip install 'tamis[metrics]'" in metrics["bleu"]["reason"]
    assert metrics["rouge1"]["value"] > 0.5
    assert ran.code == 0
