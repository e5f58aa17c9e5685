"""The ways in which other tools lose, double or mix samples when a run goes on after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import runs

from tamis.engines.scripted import ScriptedEngine
from tamis.errors import RunFolderError
from tamis.records import Sampling
from tamis.store import RunFolder

SAMPLING = Sampling(n=3, temperature=0.7)


def test_killed_at_every_byte_of_the_last_three_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a killed process has no need of it, and a thousand take long
    runs.draw(tmp_path, runs.problems(3), SAMPLING)
    journal, tokens = (tmp_path / "samples.jsonl").read_bytes(), (tmp_path / "tokens.bin").read_bytes()
    complete = runs.contents(tmp_path)
    lines = journal.splitlines(keepends=True)
    for cut in range(len(journal) - sum(map(len, lines[-3:])), len(journal) + 1):
        (tmp_path / "samples.jsonl").write_bytes(journal[:cut])
        (tmp_path / "tokens.bin").write_bytes(tokens)
        progress = runs.draw(tmp_path, runs.problems(3), SAMPLING)
        assert progress.samples_done == len(lines) - journal[:cut].count(b"\n")
        assert runs.contents(tmp_path) == complete
        assert (tmp_path / "samples.jsonl").read_bytes().count(b"\n") == len(lines)
        assert (tmp_path / "tokens.bin").stat().st_size == len(tokens)


def test_another_temperature_is_refused_and_can_fork(tmp_path):
    runs.draw(tmp_path / "run", runs.problems(2), SAMPLING)
    other = replace(SAMPLING, temperature=0.1)
    with pytest.raises(RunFolderError, match=r"another configuration: temperature: 0\.7 -> 0\.1\. Add --fork"):
        runs.draw(tmp_path / "run", runs.problems(2), other)
    with RunFolder.open(tmp_path / "run", runs.config(other), fork=True) as run:
        assert run.num_finished == 0
    before = runs.contents(tmp_path / "run")
    assert runs.draw(tmp_path / "run-2", runs.problems(2), other).samples_done == 6
    assert before.keys().isdisjoint(runs.contents(tmp_path / "run-2"))
    assert runs.contents(tmp_path / "run") == before


def test_reordered_input_draws_nothing(tmp_path):
    runs.draw(tmp_path, runs.problems(20), SAMPLING)
    shuffled = list(runs.problems(20))
    random.Random(1).shuffle(shuffled)
    engine = ScriptedEngine([])
    progress = runs.draw(tmp_path, shuffled, SAMPLING, engine=engine)
    assert (engine.num_requests, progress.samples_reused, progress.problems_skipped) == (0, 60, 20)


def test_extended_input_draws_only_what_is_new(tmp_path):
    runs.draw(tmp_path, runs.problems(10, start=5), SAMPLING)
    before = runs.contents(tmp_path)
    seen = []
    progress = runs.draw(tmp_path, runs.problems(20), SAMPLING, on_pool=lambda pool: seen.append(pool.problem.id))
    assert (progress.samples_done, progress.samples_reused) == (30, 30)
    assert set(seen) == {f"p{number}" for number in range(20)} - {f"p{number}" for number in range(5, 15)}
    assert before.items() <= runs.contents(tmp_path).items()


def test_more_samples_a_problem_keep_those_that_are_there(tmp_path):
    runs.draw(tmp_path / "grown", runs.problems(10), SAMPLING)
    seen = []
    progress = runs.draw(tmp_path / "grown", runs.problems(10), replace(SAMPLING, n=5), on_pool=seen.append)
    assert (progress.samples_done, progress.samples_reused) == (20, 30)
    assert all([s.index for s in pool.samples] == [0, 1, 2, 3, 4] for pool in seen)
    assert all(s.stats is not None for pool in seen for s in pool.samples)
    runs.draw(tmp_path / "at-once", runs.problems(10), replace(SAMPLING, n=5))
    assert runs.contents(tmp_path / "grown") == runs.contents(tmp_path / "at-once")


def test_fewer_samples_a_problem_draw_nothing(tmp_path):
    runs.draw(tmp_path, runs.problems(4), SAMPLING)
    assert runs.draw(tmp_path, runs.problems(4), replace(SAMPLING, n=1)).samples_done == 0


def test_two_writers(tmp_path):
    with (
        RunFolder.open(tmp_path, runs.config(SAMPLING)),
        pytest.raises(RunFolderError, match=r"^\S+ is being written by process \d+\. Let it end, or name another folder$"),
    ):
        runs.draw(tmp_path, runs.problems(1), SAMPLING)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_killed_again_and_again(tmp_path, how):
    """Each life lasts until a random number of new lines is in the journal, and is ended between any two instructions."""
    num_problems, n = 60, 4
    runs.draw(tmp_path / "unbroken", runs.problems(num_problems), Sampling(n=n))
    complete = runs.contents(tmp_path / "unbroken")
    broken, rng = tmp_path / "broken", random.Random(how)
    command = [sys.executable, str(Path(runs.__file__)), str(broken), str(num_problems), str(n)]
    kept: dict[str, tuple[object, ...]] = {}
    for _ in range(4):
        goal = len(kept) + rng.randrange(1, 50)
        life = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        journal = broken / "samples.jsonl"
        while life.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < goal):
            time.sleep(0.001)
        life.send_signal(how)
        assert life.wait(20) != 0
        found = runs.contents(broken)
        assert kept.items() <= found.items()  # nothing finished was lost
        assert len(found) >= goal
        assert found.items() <= complete.items()
        kept = found
    assert len(kept) < len(complete)
    subprocess.run(command, check=True)
    assert runs.contents(broken) == complete
    lines = (broken / "samples.jsonl").read_bytes().splitlines()
    assert len(lines) == len(complete)  # nothing was doubled
    assert (broken / "tokens.bin").stat().st_size == (tmp_path / "unbroken" / "tokens.bin").stat().st_size


@settings(max_examples=40)
@given(data=st.data())
def test_what_is_drawn_never_depends_on_how_the_run_went(tmp_path_factory, data):
    """Order, concurrency, delays, faults, early ends and torn files change neither texts nor seeds nor statistics."""
    folder = tmp_path_factory.mktemp("run")
    source = list(runs.problems(data.draw(st.integers(1, 6), "problems")))
    sampling = replace(SAMPLING, n=data.draw(st.integers(1, 4), "n"))
    runs.draw(folder / "calm", source, sampling)
    for _ in range(data.draw(st.integers(0, 3), "lives")):
        RunFolder.open(folder / "rough", runs.config(sampling)).close()
        repaired = (folder / "rough" / "samples.jsonl").stat().st_size  # has reached the disk: no crash takes it back
        jitter = random.Random(data.draw(st.integers(0, 99), "jitter"))
        delays = {problem.id: jitter.random() / 1000 for problem in source}
        engine = ScriptedEngine(
            data.draw(st.sampled_from([runs.answer, runs.flaky]), "script"),
            token_stats=True,
            delay=lambda draw, delays=delays: delays[f"p{draw.seed % len(delays)}"],
            max_draws_in_flight=data.draw(st.integers(1, 9), "draws in flight"),
        )
        runs.draw(
            folder / "rough",
            data.draw(st.permutations(source), "order"),
            sampling,
            engine=engine,
            stop_after=data.draw(st.integers(1, 6), "pools"),
            max_problems_in_flight=data.draw(st.integers(1, 4), "problems in flight"),
        )
        for name, start in (("samples.jsonl", repaired), ("tokens.bin", 0)):
            path = folder / "rough" / name
            size = path.stat().st_size
            os.truncate(path, max(start, size - data.draw(st.integers(0, 2000), name)))
    runs.draw(folder / "rough", source, sampling)
    assert runs.contents(folder / "rough") == runs.contents(folder / "calm")
