"""Generation and grading at the same time: `tamis reject` against its slower half alone.

    python benchmarks/bench_overlap.py [--images 100] [--candidates 4] [--workers 8] [--repeats 5]

Two servers in processes of their own answer after 50 ms (the model) and 80 ms (the judge), and are given `--workers` requests
at a time each. The slower half alone is the judge on candidates that were drawn before. Both halves write their journals. In
turns, the median of each; at most 1.1x is wanted. Figures: benchmarks/results/overlap.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from bench_http import serve

from tamis.config import Arm, ModelSettings, Rejecting
from tamis.records import Problem
from tamis.workflows.rejecting import Rejection

GENERATOR_S, JUDGE_S, TARGET = 0.05, 0.08, 1.1
ARMS = tuple(Arm("describe", temperature, 0.9, 0) for temperature in (0.3, 0.5, 0.7, 0.9))


def png() -> bytes:
    """A picture of one pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(4))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


async def seconds(config: Rejecting, picture: Path, num_images: int) -> float:
    """How long a run takes from its first request to its last result."""

    def problems() -> Iterator[Problem]:
        for number in range(num_images):
            yield Problem(f"{number}.png", images=(str(picture),))

    rejection = Rejection(config, problems)
    try:
        started = time.perf_counter()
        async with aclosing(rejection.results()) as results:
            async for result in results:
                assert result.best, rejection.bad_rows
                assert len(result.candidates) == config.num_candidates
        return time.perf_counter() - started
    finally:
        rejection.close()


def compare(urls: dict[str, str], options: argparse.Namespace) -> int:
    both: list[float] = []
    judge_alone: list[float] = []
    models = {
        name: ModelSettings("m", "http", base_urls=(url,), batch_size=options.workers, api_key="") for name, url in urls.items()
    }
    with tempfile.TemporaryDirectory() as home:
        picture = Path(home) / "one.png"
        picture.write_bytes(png())
        for repeat in range(options.repeats):
            config = Rejecting(
                generator=models["model"],
                judge=models["judge"],
                prompts={"describe": "Describe the image."},
                grading_template="Compare with the image: {generated_answer}",
                arms=ARMS,
                num_candidates=options.candidates,
                output_dir=Path(home) / str(repeat),
            )
            both.append(asyncio.run(seconds(config, picture, options.images)))
            other = replace(config, grading_template=f"Once more: {config.grading_template}", rejudge=True)
            judge_alone.append(asyncio.run(seconds(other, picture, options.images)))
    num = options.images * options.candidates
    print(f"{num} candidates, {options.workers} requests at once to each server, {os.cpu_count()} cores, {platform.machine()}")
    for name, rows in (("both", both), ("judge alone", judge_alone)):
        print(f"  {name:12}{statistics.median(rows):6.2f} s   ({', '.join(f'{row:.2f}' for row in sorted(rows))})")
    floor = num * JUDGE_S / options.workers
    ratio = statistics.median(both) / statistics.median(judge_alone)
    one_by_one = num * (GENERATOR_S + JUDGE_S) / options.workers
    print(f"  latency alone: {floor:.2f} s for the judge, {one_by_one:.2f} s for both in turn")
    print(f"  {ratio:.2f}x of the slower alone (target {TARGET}): {'ok' if ratio <= TARGET else 'MISSED'}")
    return 0 if ratio <= TARGET else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve", choices=("model", "judge"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        latency_s, text = (GENERATOR_S, "A -> B") if options.serve == "model" else (JUDGE_S, "Nearly.\nScore: 87")
        asyncio.run(serve(0.0, latency_s, text))
    servers = {}
    try:
        for name in ("model", "judge"):
            servers[name] = subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True)
        urls = {name: f"http://127.0.0.1:{server.stdout.readline().strip()}/v1" for name, server in servers.items()}
        return compare(urls, options)
    finally:
        for server in servers.values():
            server.kill()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
