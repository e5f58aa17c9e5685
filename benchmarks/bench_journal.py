"""How many samples a second one journal takes: the limit of a run that many workers draw for.

    python benchmarks/bench_journal.py [--samples 20000] [--tokens 256] [--repeats 3] [--workers 2]

`RunFolder.append` of samples that are there already, as the sampling loop does it, the sync once a second included: without
token statistics, and with those of `--tokens` tokens a sample (44 bytes each). Best of the repeats, each in a fresh folder.
With `--workers`, the whole way besides: that many workers on a Ray cluster of this machine say a text of so many characters at
once, eight samples a problem, and the sampling loop keeps them, without statistics.
Figures: benchmarks/results/journal.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path

from tamis.engines.scripted import ScriptedEngine, random_stats
from tamis.identity import sample_keys
from tamis.prompts import PromptTemplate
from tamis.records import Message, Problem, Prompt, Sample, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder


def measure(folder: Path, drawn: Sample, keys: list[str]) -> tuple[float, float, float]:
    """Wall and processor seconds of all appends, and the bytes that they wrote."""
    samples = [replace(drawn, key=key, index=index) for index, key in enumerate(keys)]
    with RunFolder.open(folder, {}) as run:
        began, busy = time.perf_counter(), time.process_time()
        for one in samples:
            run.append(one)
        run.sync()
        wall, cpu = time.perf_counter() - began, time.process_time() - busy
    return wall, cpu, sum(path.stat().st_size for path in folder.iterdir())


def say(text: str) -> ScriptedEngine:
    """The engine of a worker."""
    return ScriptedEngine([text], max_draws_in_flight=256)


def draw(folder: Path, text: str, num_samples: int, num_workers: int) -> float:
    """Wall seconds of drawing with workers that are there already."""
    from tamis.engines.ray import RayEngine

    sampling, progress = Sampling(n=8, max_tokens=len(text) + 1), Progress()
    problems = [Problem(f"p{number}", f"{number} + 1?") for number in range(num_samples // 8)]

    async def all_of(engine: RayEngine, run: RunFolder, problems: list[Problem]) -> None:
        ask = PromptTemplate()
        walk = sample(problems, engine, sampling, run, prompt=ask, progress=progress, max_problems_in_flight=256)
        async with aclosing(walk):
            async for _ in walk:
                pass

    engine = RayEngine(partial(say, text), num_workers)
    with RunFolder.open(folder, {}) as run:
        asyncio.run(all_of(engine, run, [Problem(f"q{number}", "?") for number in range(64)]))  # until all have loaded
        began = time.perf_counter()
        asyncio.run(all_of(engine, run, problems))
        wall = time.perf_counter() - began
    engine.close()
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
          f"CPython {platform.python_version()}, {time.strftime('%Y-%m-%d')}")  # fmt: skip
    text = ("Step 1: 17 + 25 = 42. So the answer is \\boxed{42}.\n" * (options.tokens // 12 + 1))[: options.tokens * 4]
    stats = random_stats(text[: options.tokens], 0)  # a token a character, the text being longer makes no difference
    keys = sample_keys("p", Prompt((Message("user", "17 + 25?"),)), Sampling(), range(options.samples))
    plain = Sample(keys[0], "p", 0, 0, Sampling(), (text,), prompt_tokens=30, completion_tokens=options.tokens)
    for name, drawn in (
        ("without statistics", plain),
        (f"with those of {options.tokens} tokens", replace(plain, stats=stats)),
    ):
        found = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(Path(folder), drawn, keys))
        wall, cpu, num_bytes = min(found)
        print(
            f"  {name:26} {options.samples / wall:8,.0f} samples a second  {options.samples / cpu:8,.0f} a processor second  "
            f"{num_bytes / options.samples / 1000:.1f} kB each  {num_bytes / wall / 1e6:.0f} MB/s"
        )
    if options.workers:
        walls = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                walls.append(draw(Path(folder), text, options.samples, options.workers))
        print(f"  through {options.workers} workers on Ray    {options.samples / min(walls):8,.0f} samples a second")


if __name__ == "__main__":
    main()
