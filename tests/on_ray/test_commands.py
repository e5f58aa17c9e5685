"""`--on ray` on the command line: the same files as without."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.commands import rows
from sample.runs import contents

from tamis.engines.scripted_server import ScriptedServer

RAY = ("--on", "ray", "--workers", 2)


def test_embedded_model_draws_the_same_bits(tamis):
    pytest.importorskip("torch")
    command = ("infer", "--model-path", "embedded", "--dataset", "demo", "--limit", 12, "--temperature", 1, "--max-tokens", 48)
    here = tamis(*command, "--run", "here", "--output-dir", "out/here")
    there = tamis(*command, "--run", "there", "--output-dir", "out/there", *RAY)
    assert (here.code, there.code) == (0, 0), there.err
    assert contents(Path("here")) == contents(Path("there"))
    ran, expected = (rows(next(Path("out", name).glob("*best*.jsonl"))) for name in ("there", "here"))
    assert ran == expected
    again = tamis(*command, "--run", "there", "--output-dir", "out/again")  # the same run folder, wherever it was drawn
    assert again.code == 0
    assert "(48 reused)" not in again.err
    assert len(rows(Path("there/samples.jsonl"))) == 48


def test_a_server_asked_by_two_workers_with_the_key_of_the_driver(tamis):
    problems = [{"problem": f"{n} + 1?", "answer": str(n + 1)} for n in range(9)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    Path(".env").write_text("OPENAI_API_KEY=secret-key\n")
    with ScriptedServer(["\\boxed{2}", "\\boxed{3}"], key="secret-key") as server:
        asked = ("--engine", "http", "--model-path", server.model, "--base-url", server.base_url, "--dataset", "sums.jsonl")
        ran = tamis("generate", *asked, "--run", "run", "-n", 3, *RAY)
        assert ran.code == 0, ran.err
    assert len(contents(Path("run"))) == 27
    written = b"".join(path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".env")
    assert b"secret-key" not in written
    assert "secret-key" not in ran.out + ran.err


def test_one_line_where_it_cannot_work(tamis):
    drawing = ("generate", "--engine", "scripted", "--dataset", "demo")
    assert "--on ray needs --workers" in tamis(*drawing, "--model-path", "x", "--on", "ray").err
    assert "--workers needs --on ray" in tamis(*drawing, "--model-path", "x", "--workers", 2).err
    ran = tamis(*drawing, "--model-path", "none.json", *RAY)
    assert ran.code == 1
    assert ran.err.startswith("tamis generate: cannot read the script")
    assert not Path("runs").exists()
    Path("run").mkdir()
    Path("run/run.json").touch()
    assert "is a run folder" in tamis("summarise", "--input-data-dir", "run", "--on", "ray").err


def test_interrupted_and_resumed(tamis):
    Path("script.json").write_text(json.dumps({"answers": ["\\boxed{1}", "\\boxed{2}"], "delay_s": 0.5}))
    command = ("generate", "--engine", "scripted", "--model-path", "script.json", "--dataset", "demo", "--limit", 40, "-n", 4)
    words = [sys.executable, "-m", "tamis", *map(str, (*command, *RAY, "--run", "run"))]
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as process:
        while not Path("run/samples.jsonl").is_file() or Path("run/samples.jsonl").stat().st_size < 1000:
            time.sleep(0.05)
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C: to the workers too
        err = process.communicate()[1].decode()
    assert process.returncode == 130, err
    assert "samples are kept in run" in err
    assert "Traceback" not in err
    num_kept = len(contents(Path("run")))
    assert 0 < num_kept < 160
    ran = tamis(*command, *RAY, "--run", "run")
    assert ran.code == 0
    assert f"({num_kept} reused)" in ran.err
    assert tamis(*command, "--run", "here").code == 0
    assert contents(Path("run")) == contents(Path("here"))


def test_summaries_are_equal_byte_for_byte(tamis, big):
    Path("in/c.jsonl.gz").write_bytes(gzip.compress(Path("in/a.jsonl").read_bytes()[:100_000]))
    asked = ("summarise", "--input-data-dir", "in", "--model", big, "--majority", "--input-file-pattern", "*.jsonl")
    here = tamis(*asked, "--num-proc", 1, "--output-data-dir", "here")
    there = tamis(*asked, "--on", "ray", "--num-proc", 2, "--output-data-dir", "there")
    assert (here.code, there.code) == (3, 3), there.err
    assert here.out.replace("here/", "there/") == there.out
    assert here.err == there.err
    name = "combined_accuracy_summary.json"
    assert Path("here", name).read_bytes() == Path("there", name).read_bytes()
