"""Whatever fails, every sample comes exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines.http import killed
from engines.http.requests import collect, request

from tamis.engines.http import HTTPEngine
from tamis.engines.scripted_faults import KINDS
from tamis.engines.scripted_server import Faults, ScriptedServer, numbers

SHORT = {"retry_after_s": 0.01, "slow_s": 0.05}


def draw(num_requests: int, faults: Faults, **options):
    """Samples over a server of these faults, what they shall be, and what was asked; every second problem is streamed."""
    requests = [request(f"p{i:03}", 5, max_tokens=100 + i % 2) for i in range(num_requests // 5)]
    random.Random(num_requests).shuffle(requests)

    async def main():
        async with ScriptedServer(faults=faults) as server:
            options_ = {"idle_s": 0.3, "stream_idle_s": 0.3, "concurrency": 128, "token_stats": False, **options}
            engine = HTTPEngine(server.model, base_urls=[server.base_url], retries=1000, stream_from=101, **options_)
            samples = await collect(engine, *requests)
            return [(s.key, s.text, s.error) for s in samples], server.counts

    found, counts = asyncio.run(main())
    owed = sorted((r.problem_id, d.index, (d.key, numbers(r.prompt.text, d.seed), None)) for r in requests for d in r.draws)
    return found, [row for *_, row in owed], counts


@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_requests_with_one_kind_of_fault_at_twenty_percent(kind):
    found, owed, counts = draw(2000, Faults(**{kind: 0.2}, **SHORT))
    assert found == owed
    assert counts.by_fault.keys() == {kind}
    assert counts.by_fault[kind] > 300


def test_all_kinds_at_once():
    """96 % of all answers are faults of one of 15 kinds."""
    found, owed, counts = draw(400, Faults.of_every_kind(0.2, **SHORT))
    assert found == owed
    assert set(counts.by_fault) == set(KINDS)


def test_the_late_answer_of_an_attempt_that_was_given_up_counts_for_nothing():
    found, owed, counts = draw(60, Faults(latency_s=0.1), timeout_s=0.11)
    assert counts.num_requests > 60
    assert found == owed


class Lives:
    """Runs into one folder, one after the other."""

    def __init__(self, parent: subprocess.Popen[str], journal: Path) -> None:
        self._parent, self._journal = parent, journal

    def next(self, until: int | None) -> int:
        """Begin one and kill it when the journal has so many lines; its exit status."""
        self._parent.stdin.write("begin\n")
        self._parent.stdin.flush()
        pid = int(self._parent.stdout.readline())
        if until is not None:
            while not self._journal.exists() or self._journal.read_bytes().count(b"\n") < until:
                time.sleep(0.001)
            os.kill(pid, signal.SIGKILL)
        return int(self._parent.stdout.readline())


@contextmanager
def lives_of(folder: Path, *arguments: object):
    command = [sys.executable, killed.__file__, str(folder), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as parent:
        yield Lives(parent, folder / "samples.jsonl")


def test_a_client_killed_twenty_times(tmp_path):
    """Each life lasts until a random number of new lines is in the journal, and is ended between any two instructions."""
    num_problems, n = 250, 4
    faults = Faults.of_every_kind(0.01, latency_s=0.005, **SHORT)
    with ScriptedServer() as server:
        killed.draw(tmp_path / "unbroken", server.base_url, num_problems, n)
    complete = killed.contents(tmp_path / "unbroken")
    assert len(complete) == num_problems * n
    broken, rng = tmp_path / "broken", random.Random(20)
    kept: dict[str, object] = {}
    with ScriptedServer(faults=faults) as server, lives_of(broken, server.base_url, num_problems, n) as lives:
        for _ in range(20):
            goal = len(kept) + rng.randrange(1, 30)
            assert lives.next(until=goal) == signal.SIGKILL
            found = killed.contents(broken)
            assert len(found) >= goal
            assert kept.items() <= found.items()  # nothing finished was lost
            assert found.items() <= complete.items()
            kept = found
        assert lives.next(until=None) == 0
    assert killed.contents(broken) == complete
    assert (broken / "samples.jsonl").read_bytes().count(b"\n") == len(complete)  # nothing was doubled
