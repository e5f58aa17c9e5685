"""Resuming a run of a million finished samples: time to the first new sample, and memory.

    python benchmarks/bench_resume.py [--rows 1000000]

Writes a run folder of finished samples (a text of 400 characters and the statistics of 8 tokens each) through the ordinary
`RunFolder.append`, then starts a fresh process that opens it with one problem more and draws on the scripted engine. The time
counts from the start of that process, imports and walking through all finished problems included; the memory is its peak
resident set.

Results of 2026-11-21, 2 cores, 24 GB, CPython 3.11, otherwise idle:

    62,500 problems x 16: written in 12 s, 1,122 MB
      folder open after 1.4 s, first new sample after 3.3 s (3.4 s of CPU), peak 141 MB: ok
    1,000,000 problems x 1: written in 15 s, 1,122 MB
      folder open after 1.3 s, first new sample after 7.1 s (7.2 s of CPU), peak 120 MB: ok

The second is bound by naming a million prompts (`records.sample_keys`), not by the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

from tamis.engines.scripted import ScriptedEngine, random_stats
from tamis.identity import sample_keys, sample_seed
from tamis.records import Message, Problem, Prompt, Sample, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder

TARGET_SECONDS, TARGET_MB = 10.0, 300.0
TEXT = ("Step 1: 17 + 25 = 42\n" * 20)[:400]


def problems(count: int) -> Iterator[Problem]:
    for number in range(count):
        yield Problem(f"problem-{number}", f"A shelf holds {number} books and {number % 97} are lent. How many are left?")


def prompt(problem: Problem) -> Prompt:
    return Prompt((Message("user", f"{problem.prompt}\nLet's think step by step."),))


def build(folder: Path, num_problems: int, sampling: Sampling) -> float:
    """Fill the folder; seconds taken."""
    stats = random_stats(TEXT[:8], 0)
    started = time.perf_counter()
    with RunFolder.open(folder, sampling.to_json()) as run:
        for problem in problems(num_problems):
            for index, key in enumerate(sample_keys(problem.id, prompt(problem), sampling, range(sampling.n))):
                seed = sample_seed(sampling.seed, problem.id, index)
                run.append(Sample(key, problem.id, index, seed, sampling, (TEXT,), completion_tokens=len(TEXT), stats=stats))
    return time.perf_counter() - started


async def resume(folder: Path, num_problems: int, sampling: Sampling, started: float) -> None:
    progress = Progress()
    with RunFolder.open(folder, sampling.to_json()) as run:
        opened = time.time() - started
        engine = ScriptedEngine([TEXT], token_stats=True)
        stream = sample(problems(num_problems + 1), engine, sampling, run, prompt=prompt, progress=progress)
        async with aclosing(stream):
            await anext(stream)
    seconds = time.time() - started
    assert (progress.samples_reused, progress.samples_done) == (num_problems * sampling.n, sampling.n)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    megabytes = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024
    verdict = "ok" if seconds < TARGET_SECONDS and megabytes < TARGET_MB else "MISSED"
    print(f"  folder open after {opened:.1f} s, first new sample after {seconds:.1f} s", end=" ")
    print(f"({time.process_time():.1f} s of CPU), peak {megabytes:.0f} MB: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a resume.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--resume", nargs=4, metavar=("FOLDER", "PROBLEMS", "N", "STARTED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume:
        folder, num_problems, n, started = options.resume
        asyncio.run(resume(Path(folder), int(num_problems), Sampling(n=int(n)), float(started)))
        return
    for n in (16, 1):
        num_problems = options.rows // n
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "run"
            seconds = build(folder, num_problems, Sampling(n=n))
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            print(f"{num_problems:,} problems x {n}: written in {seconds:.0f} s, {size:,.0f} MB", flush=True)
            arguments = [str(folder), str(num_problems), str(n), str(time.time())]
            subprocess.run([sys.executable, __file__, "--resume", *arguments], check=True)


if __name__ == "__main__":
    main()
