"""The pool: lazily started, replaced when it dies, gone when closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tamis.errors import TamisError
from tamis.grade import Grader, workers
from tamis.grade.workers import WorkerPool

NEEDS_ALGEBRA = ("\\sin^2 x", "1-\\cos^2 x")


def test_the_caller_never_loads_sympy_and_cheap_pairs_start_nothing():
    program = """
import sys, threading
from tamis.grade import Grader
with Grader(num_workers=1) as grader:
    assert grader.verify_many([("1/2", "0.5"), ("x+1", "1+x")]) and threading.active_count() == 1
    assert grader.verify_many([(r"\\sin^2 x", r"1-\\cos^2 x")])[0].equal
loaded = {"sympy", "math_verify", "latex2sympy2_extended", "multiprocessing"} & set(sys.modules)
sys.exit(f"loaded: {loaded}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_killed_worker_is_replaced_and_the_pair_compared_again():
    with Grader(num_workers=1) as grader:
        assert grader.verify_many([NEEDS_ALGEBRA])[0].equal
        (process,) = grader._pool._processes
        os.kill(process._process.pid, signal.SIGKILL)
        verdict = grader.verify_many([("\\tan x", "\\frac{\\sin x}{\\cos x}")])[0]
        assert (verdict.equal, verdict.decided_by) == (True, "symbolic")


def test_closing_ends_processes_and_threads_even_in_the_middle_of_a_pair():
    pool = WorkerPool(num_workers=1, limit_s=60)
    first = pool.submit("\\sin 1", "\\cos 1")
    first.result()
    hanging = pool.submit("((((9!)!)!)!)", "\\cos 1")
    waiting = pool.submit("\\sin 2", "\\cos 2")
    (process,), (thread,) = pool._processes, pool._threads
    pool.close()
    assert process._process.poll() is not None
    assert hanging.cancelled()
    assert waiting.cancelled()
    assert not thread.is_alive()
    with pytest.raises(RuntimeError):
        pool.submit("1", "2")


def test_a_worker_that_cannot_start_is_one_clear_line(monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text('import json; print(json.dumps({"failed": "ModuleNotFoundError: No module named math_verify"}))', "utf-8")
    monkeypatch.setattr(workers, "_PROGRAM", broken)
    with Grader(num_workers=1) as grader, pytest.raises(TamisError, match="No module named math_verify") as caught:
        grader.verify_many([NEEDS_ALGEBRA])
    assert "math-verify" in caught.value.advice


def test_a_worker_that_dies_on_a_pair_twice_is_a_string_verdict(monkeypatch, tmp_path):
    deadly = tmp_path / "deadly.py"
    deadly.write_text("import sys; print('{\"ready\": true}', flush=True); sys.stdin.readline(); sys.exit(9)", "utf-8")
    monkeypatch.setattr(workers, "_PROGRAM", deadly)
    with Grader(num_workers=1) as grader:
        verdict = grader.verify_many([NEEDS_ALGEBRA])[0]
    assert (verdict.equal, verdict.decided_by) == (False, "string")


def test_what_libraries_print_is_not_taken_for_a_reply():
    done = subprocess.run(
        [sys.executable, "-P", str(workers._PROGRAM), str(2**31), "5"], input="", capture_output=True, text=True, check=True
    )
    assert done.stdout == '{"ready": true}\n'
