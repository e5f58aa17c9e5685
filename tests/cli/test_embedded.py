"""The commands on the embedded model: real weights, real text, the whole way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli.commands import rows

from tamis.store import RunFolder

pytest.importorskip("torch")

INFER = (
    "infer",
    "--model_path",
    "embedded",
    "--dataset",
    "demo",
    "--limit",
    "16",
    "--temperature",
    "0.7",
    "--max_tokens",
    "128",
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_demo_prints_the_table_and_writes_the_page(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = tamis("demo", "--problems", 12, "--n", 4)
    assert ran.code == 0, ran.err
    lines = {line.split("  ")[0].strip(): line for line in ran.out.splitlines()}
    assert {"one sample", "self-consistency", "mean-self-certainty", "oracle"} <= lines.keys()
    numbers = json.loads(Path("runs/demo/summary.json").read_text())
    accuracy = {line["method"]: line["accuracy"]["value"] for line in numbers["methods"]}
    assert 0.25 < accuracy["one sample"] < 0.95
    assert accuracy["oracle"] >= accuracy["self-consistency"]
    assert Path("runs/demo/report.html").stat().st_size > 50_000
    again = tamis("demo", "--problems", 12, "--n", 4)
    assert again.out == ran.out  # nothing is drawn twice, and nothing comes out otherwise


def _samples(folder: Path) -> dict:
    with RunFolder.read(folder) as run:
        return {
            s.key: (s.text, s.finish_reason, s.seed, s.stats.values.tobytes(), s.stats.starts.tobytes()) for s in run.samples()
        }


def test_killed_and_resumed_gives_the_same_bits(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = tmp_path / "runs/demo-embedded/samples.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "tamis", *INFER], cwd=tmp_path, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    for _ in range(6000):
        if process.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\n") >= 9):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 9 <= journal.read_bytes().count(b"\n") < 96
    assert tamis(*INFER, "--resume").code == 0
    assert tamis(*INFER, "--run", "runs/unbroken", "--output-dir", "unbroken").code == 0
    assert _samples(tmp_path / "runs/demo-embedded") == _samples(tmp_path / "runs/unbroken")
    best = [rows(next(Path(folder).glob("*_best_*"))) for folder in ("results", "unbroken")]
    assert best[0] == best[1]


def test_english_and_chinese_are_both_answered(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tamis(*INFER, "--num_return_sequences", 2).code == 0
    best = rows(next(Path("results").glob("*_best_*")))
    answered = {any("\u4e00" <= c <= "\u9fff" for c in row["question"]): row["answer"] for row in best if row["final_answer"]}
    assert "答案是" in answered[True]
    assert "The answer is" in answered[False]


def test_statistics_of_a_run_obey_their_laws(tamis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tamis(*INFER, "--num_return_sequences", 1).code == 0
    with RunFolder.read("runs/demo-embedded") as run:
        for sample in run.samples():
            stats = sample.stats
            assert len(stats) == sample.completion_tokens
            assert (stats.column("logp") <= stats.column("lp1") + 1e-6).all()
            assert (np.diff(stats.starts) >= 0).all()
            assert (stats.column("entropy") <= np.log(stats.vocab_size) + 1e-5).all()
