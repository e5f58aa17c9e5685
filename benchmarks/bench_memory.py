"""Memory of comparing every free method on 10,000 problems x 16 samples, from the first draw to the table.

    python benchmarks/bench_memory.py [--problems 10000]

A fresh process draws from the scripted engine (answers of 50 to 200 characters, a token a character, with token statistics)
into a run folder, grades, clusters, scores and compares as `tamis compare` does. Done with a tenth of the problems, then with
all; shown is the peak resident set once the last sample is scored, and at the end. Targets: under 600 MB, and no growth with
the number of problems but for the numbers that each method needs of each sample.

2026-11-21, 2 cores, 24 GB, CPython 3.11, other jobs running:

              peak, MB                       seconds
     problems   imports    scored       end    scored       end
        1,000        42        61        80        14        19   ok
       10,000        42       154       240       108       156   ok

No text is kept. What grows is about 11 KB a problem while drawing (tracemalloc: 17 scores of 16 samples 4 KB, what 26
methods took 4 KB, the run folder's index and the journal's places 2 KB), and another 8 KB a problem while the table is made.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random

from tamis.engines.scripted import ScriptedEngine
from tamis.prompts import PromptTemplate
from tamis.records import Draw, Pool, Problem, Request, Sampling
from tamis.sample import Progress, sample_in_order
from tamis.score import ScoreSettings
from tamis.store import RunFolder
from tamis.workflows.comparing import compare_pools, methods_named

TARGET_MB = 600.0
SAMPLING = Sampling(temperature=0.7, n=16)
SUBJECTS = ("Algebra", "Geometry", "Number Theory")


def problems(count: int) -> Iterator[Problem]:
    for number in range(count):
        held, lent = 1000 + number, number % 97
        metadata = {"subject": SUBJECTS[number % 3], "level": 1 + number % 5}
        text = f"A shelf holds {held} books and {lent} are lent. How many are left?"
        yield Problem(f"problem-{number}", text, answer=str(held - lent), metadata=metadata)


def answer(request: Request, draw: Draw) -> str:
    """Half of them right, the others spread over a few wrong numbers, one in thirty without any."""
    number = int(request.problem_id.rpartition("-")[2])
    rng = Random(f"{number} {draw.index}")
    held, lent = 1000 + number, number % 97
    left = held - lent + (0 if rng.random() < 0.5 else rng.randint(1, 6))
    steps = "".join(f"Step {k}: {held} - {lent} = {left}\n" for k in range(1, rng.randint(2, 6)))
    return f"{steps}That many books are left: " + (f"\\boxed{{{left}}}" if rng.random() < 29 / 30 else "I do not know")


def peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


async def compare(folder: Path, num_problems: int) -> None:
    """One line: problems, seconds, and the peaks."""
    started, stages = time.perf_counter(), []

    async def drawn() -> AsyncGenerator[Pool, None]:
        engine = ScriptedEngine(answer, token_stats=True)
        with RunFolder.open(folder, SAMPLING.to_json()) as run:
            walk = sample_in_order(
                lambda: problems(num_problems), engine, SAMPLING, run, prompt=PromptTemplate(), progress=Progress()
            )
            async with aclosing(walk):
                async for pool in walk:
                    yield pool
        stages.append((time.perf_counter() - started, peak_mb()))

    before = peak_mb()
    compared = await compare_pools(drawn(), methods_named("free"), ScoreSettings())
    assert compared.comparison.num_problems == num_problems
    stages.append((time.perf_counter() - started, peak_mb()))
    (seconds, scored), (total, end) = stages
    verdict = "ok" if end < TARGET_MB else "MISSED"
    print(f"{num_problems:>9,} {before:>9.0f} {scored:>9.0f} {end:>9.0f} {seconds:>9.0f} {total:>9.0f}   {verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--compare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compare:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(compare(Path(name) / "run", options.compare))
        return
    print(f"{'':>9} {'peak, MB':>9} {'':>9} {'':>9} {'seconds':>9}")
    print(f"{'problems':>9} {'imports':>9} {'scored':>9} {'end':>9} {'scored':>9} {'end':>9}", flush=True)
    for count in (options.problems // 10, options.problems):
        subprocess.run([sys.executable, __file__, "--compare", str(count)], check=True)


if __name__ == "__main__":
    main()
