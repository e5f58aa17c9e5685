"""`reject` with a server of its own, and stopped half-way."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cli.rejection import OUT, basic, model, read, summary
from images import png

from tamis.engines.scripted_server import Faults, ScriptedServer

SERVE = """
import os, sys, threading
from tamis.engines.scripted_server import ScriptedServer
server = ScriptedServer({script}, model="seer")
server.port = int(sys.argv[1])
with server:
    threading.Event().wait()
"""


def served(grader: ScriptedServer, monkeypatch, program: str) -> tuple[list[object], list[tuple[str, ...]]]:
    """A command that starts its own server, which is this program; and what it is asked to start."""
    from tamis.engines.vllm import serving

    asked = []

    def command(model: str, port: int, extra: list[str]) -> list[str]:
        asked.append((model, *extra))
        return [sys.executable, "-c", program, str(port)]

    monkeypatch.setattr(serving, "serve_command", command)
    arguments = basic(grader, grader)
    del arguments[5:9]  # no --vllm-api and no --vllm-model
    return [*arguments, "--serve", "/models/big", "--vllm-model", "seer"], asked


def test_a_server_of_its_own_is_there_for_the_run_alone(tamis, images, grader, monkeypatch):
    command, asked = served(grader, monkeypatch, SERVE.replace("{script}", '["A -> B 0", "A -> B 3"]'))
    ran = tamis(*command, "--serve-args", "--dtype bfloat16 --seed 3")
    assert ran.code == 0, ran.err
    assert asked == [("/models/big", "--dtype", "bfloat16", "--seed", "3", "--served-model-name", "seer")]
    assert len(read(OUT)) == 3
    assert (OUT / "logs" / "server.log").exists()
    before = grader.counts.num_requests
    again = tamis(*command, "--score-threshold", 90)  # nothing is owed: no server is started
    assert again.code == 0, again.err
    assert "waiting for the server" in ran.err
    assert "waiting for the server" not in again.err
    assert grader.counts.num_requests == before
    (url,) = summary()["config"]["generator"]["base_urls"]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/models")


def test_a_judge_without_a_server_is_on_that_of_the_model(tamis, images, grader, monkeypatch):
    command, _ = served(grader, monkeypatch, SERVE.replace("{script}", '["A -> B. Score: 85"]'))
    del command[5:11]  # no --grading-api, no key and no --grading-model
    command += ["--grading-model", "seer"]
    dry = tamis(*command, "--dry-run")
    assert dry.code == 0, dry.err
    ran = tamis(*command)
    assert ran.code == 0, ran.err
    assert {row["best_result"]["score"] for row in read(OUT).values()} == {85}


@pytest.mark.parametrize("program", ["raise SystemExit('no GPU here')", SERVE.replace("{script}", "lambda *_: os._exit(7)")])
def test_a_server_that_ends_ends_the_run_in_one_line(tamis, images, grader, monkeypatch, program):
    command, _ = served(grader, monkeypatch, program)
    ran = tamis(*command)
    assert ran.code == 1
    last = ran.err.strip().splitlines()[-1]
    assert re.search(r"the server has ended \(exit code (1\): no GPU here|7\))\. See .*server\.log$", last)
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_files(tamis, images, seer, grader, stop):
    for number in range(12):
        (images / f"more{number}.png").write_bytes(png(20 + number))
    arguments = [str(one) for one in basic(seer, grader)]
    with ScriptedServer(model, model=seer.model, faults=Faults(latency_s=0.3)) as slow:
        command = [one.replace(seer.base_url, slow.base_url) for one in arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", "tamis", *command, "--gen-workers", "4"], stderr=subprocess.PIPE, text=True
        )
        for _ in range(600):
            if len(read(OUT)) >= 2:
                break
            time.sleep(0.05)
        process.send_signal(stop)
        _, err = process.communicate(timeout=30)
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on from there" in err.strip().splitlines()[-1]
        assert summary()["stats"]["processed"] >= 2
    num_done = (OUT / "samples.jsonl").read_bytes().count(b"\n")
    assert 8 <= num_done < 60
    assert tamis(*arguments).code == 0
    assert seer.counts.num_requests == 60 - num_done
    assert tamis(*arguments, "--output-dir", "results/unbroken").code == 0
    timeless = ("generation_time", "grading_time")
    whole, broken = read(Path("results/unbroken")), read(OUT)
    for row in [*whole.values(), *broken.values()]:
        for one in [row["best_result"], *row["all_candidates"]]:
            assert all(one.pop(name) >= 0 for name in timeless)
    assert len(whole) == 15
    assert broken == whole
    for part in ("by_prompt", "by_params", "strategy"):
        assert summary()[part] == summary(Path("results/unbroken"))[part]
