"""The command lines of source document s2 with only the program's name changed, on models; and runs that are stopped.

What the document takes from the hub stands in folders of that name in the working directory.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from cli.commands import ANSWERS
from inference.documented import YAML

from tamis.demo import MODEL_FOLDER, PROBLEMS_FILE

MODEL, DATASET = "outputs/grpo_fix_final_model", "HuggingFaceH4/MATH-500"


def read(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A working directory as the document has it: a trained model, its configuration, and problems laid out as on the hub."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the library's own imports warn of
        pytest.importorskip("datasets")
    shutil.copytree(MODEL_FOLDER, MODEL)
    Path("configs").mkdir()
    Path("configs/inference_config.yaml").write_text(YAML, encoding="utf-8")
    (Path(DATASET) / "data").mkdir(parents=True)
    lines = PROBLEMS_FILE.read_text(encoding="utf-8").splitlines()[:6]
    (Path(DATASET) / "data" / "test-00000-of-00001.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_the_documented_commands(tamis, trained, monkeypatch):
    assert "答案是 \\boxed{17}\nanswer: 17\n" in tamis("solve").out
    ran = tamis("solve", "--config", "configs/inference_config.yaml")
    assert ran.code == 0, ran.err
    assert "answer: " in ran.out
    assert "解方程：3x + 22 = x + 56。" in Path("inference_log.txt").read_text(encoding="utf-8")
    ran = tamis("solve", "--model-path", f"./{MODEL}", "--question", "求解方程: x^2 - 5x + 6 = 0")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("question: 求解方程: x^2 - 5x + 6 = 0\n")
    Path("input.txt").write_text("计算 1+2+3+...+100 的和\n求圆的面积，半径为5\n解方程: 2x + 3 = 7\n", encoding="utf-8")
    ran = tamis("solve", "--batch-input", "input.txt", "--output", "results.json")
    assert ran.code == 0, ran.err
    assert [row["index"] for row in read("results.json")] == [0, 1, 2]
    monkeypatch.setattr("sys.stdin", io.StringIO("3 + 4?\n/quit\n"))
    ran = tamis("solve", "--interactive")
    assert ran.code == 0, ran.err
    assert "\\boxed{" in ran.out


def test_the_documented_evaluation(tamis, trained):
    ran = tamis("solve", "--config", "configs/inference_config.yaml", "--evaluate", "--max-samples", 5)
    assert ran.code == 0, ran.err
    found = read("inference_results.json")
    assert (found["total"], found["dataset"], len(found["results"])) == (5, DATASET, 5)
    assert found["correct"] == sum(row["is_correct"] for row in found["results"])
    assert found["results"][0]["reference_solution"]
    ran = tamis("solve", "--evaluate", "--split", "dev")
    assert ran.code == 1
    assert "Choose another with --split" in ran.err


def test_all_of_math_500_from_its_file_and_through_datasets(tamis, trained, shared_data):
    """The reference solutions in place of a model's: all are read and found right, and both ways agree."""
    source = shared_data / "math500" / "math500.jsonl"
    problems = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    answers = {row["unique_id"]: [row["solution"]] for row in problems}
    Path("script.json").write_text(json.dumps({"answers": answers}), encoding="utf-8")
    shutil.copy(source, Path(DATASET) / "data" / "test-00000-of-00001.jsonl")
    command = ("solve", "--engine", "scripted", "--model-path", "script.json", "--evaluate", "--max-samples", "all")
    command += ("--max-new-tokens", 20000)
    assert tamis(*command, "--dataset", source, "--output", "file.json").code == 0
    assert tamis(*command, "--output", "hub.json").code == 0
    of_file, of_hub = read("file.json"), read("hub.json")
    assert (of_file["total"], of_file["extraction_failures"], of_file["errors"]) == (500, 0, 0)
    assert of_file["correct"] == 500
    assert sum(group["total"] for group in of_file["by_level"].values()) == 500
    assert len(of_file["by_subject"]) == 7
    assert [row["is_correct"] for row in of_hub["results"]] == [row["is_correct"] for row in of_file["results"]]
    assert of_hub["by_subject"] == of_file["by_subject"]


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_evaluation_goes_on_to_the_same_results(tamis, place, stop):
    script = {"answers": ANSWERS, "delay_s": 2.0}
    Path("script.json").write_text(json.dumps(script, ensure_ascii=False), encoding="utf-8")
    command = (
        "solve",
        "--engine",
        "scripted",
        "--model-path",
        "script.json",
        "--evaluate",
        "--dataset",
        "math500.jsonl",
        "-n",
        "4",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tamis", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
    )
    journal = Path("runs/math500-script.json/samples.jsonl")
    for _ in range(600):
        if journal.exists() and journal.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.05)
    process.send_signal(stop)
    _, err = process.communicate(timeout=30)
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "goes on from there" in err
    assert not Path("inference_results.json").exists()
    assert 2 <= journal.read_bytes().count(b"\n") < 12
    assert tamis(*command, "--output", "broken.json").code == 0
    assert tamis(*command, "--run", "runs/unbroken", "--output", "whole.json").code == 0
    assert read("broken.json")["reused_samples"] >= 2
    assert read("broken.json")["results"] == read("whole.json")["results"]
