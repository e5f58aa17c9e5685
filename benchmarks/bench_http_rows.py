"""Memory of the HTTP engine over a file of 1,000,000 problems: the whole path, from the lines of the file to the journal.

    python benchmarks/bench_http_rows.py [--rows 1000000] [--finished 0] [--concurrency 64] [--marks 10]

A JSONL file of that many problems is written, each is asked once of a server in a process of its own that answers at once and
in a few words, and the samples go into a run folder; with `--finished`, so many of the first are there already. Then the same
is asked again, when all is finished. The resident memory of the client is read at each tenth of the rows. Figures:
benchmarks/results/http_rows.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from bench_http import prompt

from tamis.engines.http import HTTPEngine
from tamis.identity import sample_keys, sample_seed
from tamis.records import Problem, Sample, Sampling
from tamis.sample import Progress, sample_in_order
from tamis.sources import Ids, read_problems
from tamis.store import RunFolder

TARGET_MB = 80.0


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def draw(file: Path, folder: Path, url: str, options: argparse.Namespace) -> tuple[float, int]:
    """Draw what is owed and read every pool; print what it takes at the marks: the most, and how many samples are missing."""
    engine = HTTPEngine("m", base_urls=[url], concurrency=options.concurrency, token_stats=False)
    progress, sampling = Progress(), Sampling()
    step, num_pools, started, cpu = options.rows // options.marks, 0, time.perf_counter(), time.process_time()
    ids, most_mb = Ids(), 0.0
    for _ in read_problems(str(file), bad_rows=[], ids=ids):  # as `workflows.drawing` does before it draws
        pass
    with RunFolder.open(folder, sampling.to_json(), token_stats="none") as run:
        print(f"  {'':>9}  {resident_mb():6.1f} MB", flush=True)
        pools = sample_in_order(
            lambda: read_problems(str(file), bad_rows=[], ids=ids),
            engine,
            sampling,
            run,
            prompt=prompt,
            progress=progress,
            max_problems_in_flight=1024,
        )
        async with aclosing(pools):
            async for pool in pools:
                num_pools += len(pool.samples)
                if num_pools % step == 0:
                    seconds, most_mb = time.perf_counter() - started, max(most_mb, resident_mb())
                    print(f"  {num_pools:>9,}  {resident_mb():6.1f} MB  {seconds:7.1f} s", flush=True)
    print(f"  {1000 * (time.process_time() - cpu) / num_pools:.2f} CPU-s per 1,000 rows")
    return most_mb, progress.samples_failed + options.rows - num_pools


def finish(folder: Path, number: int) -> None:
    """Put the first samples into the run folder, as drawing them would have."""
    sampling = Sampling()
    with RunFolder.open(folder, sampling.to_json(), token_stats="none") as run:
        for i in range(number):
            name, text = f"row-{i}", f"What is {i} + 1?"
            (key,) = sample_keys(name, prompt(Problem(name, text)), sampling, [0])
            seed = sample_seed(sampling.seed, name, 0)
            run.append(Sample(key, name, 0, seed, sampling, ("42",), prompt_tokens=30, completion_tokens=120, seconds=0.01))


def client(options: argparse.Namespace) -> int:
    """Draw all in this process."""
    most_mb, num_missing = asyncio.run(draw(options.file, options.folder, options.url, options))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"  at most {most_mb:.1f} MB (target {TARGET_MB:.0f}): {'ok' if most_mb <= TARGET_MB else 'MISSED'}; ", end="")
    print(f"for a moment, when the folder was opened, {peak_mb:.1f} MB; {num_missing} missing")
    return int(most_mb > TARGET_MB or num_missing > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--finished", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--marks", type=int, default=10)
    for name in ("--file", "--folder"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        return client(options)
    server_command = [
        sys.executable,
        str(Path(__file__).with_name("bench_http.py")),
        "--serve",
        "0",
        "--latency",
        "0",
        "--short",
    ]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(server_command, stdout=subprocess.PIPE, text=True) as server:
        try:
            file = Path(folder) / "problems.jsonl"
            with file.open("w") as out:
                out.writelines(f'{{"id": "row-{i}", "problem": "What is {i} + 1?"}}\n' for i in range(options.rows))
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            machine = f"{os.cpu_count()} cores, CPython {platform.python_version()}"
            there = f", {options.finished:,} finished before" if options.finished else ""
            print(f"{options.rows:,} rows{there}, {options.concurrency} at once, {machine}", flush=True)
            finish(Path(folder) / "run", options.finished)
            command = [sys.executable, *sys.argv, "--file", str(file), "--folder", f"{folder}/run", "--url", url]
            codes = []
            for title in ("drawing", "again, when all is finished"):
                print(f" {title}", flush=True)
                codes.append(subprocess.run(command, check=False).returncode)
            return max(codes)
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
