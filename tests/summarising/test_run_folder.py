"""A run folder is summarised without a tokenizer: its tokens were counted while they were drawn."""

from __future__ import annotations

import json
from pathlib import Path

from cli.commands import ANSWERS, DRAWING, PROBLEMS


def test_a_run_of_tamis(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("math500.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS), encoding="utf-8")
    Path("script.json").write_text(json.dumps({"answers": ANSWERS}), encoding="utf-8")
    assert tamis("generate", *DRAWING, "-n", 4, "--run", "run").code == 0
    ran = tamis("summarise", "--input-data-dir", "run", "--report", "r.html")
    assert ran.code == 0, ran.err
    found = json.loads(Path("summary/combined_accuracy_summary.json").read_text(encoding="utf-8"))
    assert [row["prompt"] for row in found] == [row["problem"] for row in PROBLEMS]
    assert [row["total_accuracy_count"] for row in found] == [2.0, 2.0, 3.0]
    lines = Path("run/samples.jsonl").read_text(encoding="utf-8").splitlines()
    drawn = sorted(json.loads(line)["completion_tokens"] for line in lines)
    assert sorted(length for row in found for length in row["gen_lengths"]) == drawn
    assert "maj@4" in ran.out


def test_what_is_not_graded_is_named_and_not_zero(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problems = [{**PROBLEMS[0]}, {key: value for key, value in PROBLEMS[1].items() if key != "answer"}]
    Path("math500.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems), encoding="utf-8")
    Path("script.json").write_text(json.dumps({"answers": ANSWERS}), encoding="utf-8")
    tamis("generate", *DRAWING, "-n", 2, "--run", "run")
    ran = tamis("summarise", "--input-data-dir", "run")
    assert ran.code == 3
    assert "1 prompts, 2 rows" in ran.out
    assert ran.err.count("is not graded (no_reference)") == 2
