"""What the service costs a request: an engine called through HTTP on loopback against the same engine called in process.

    python benchmarks/bench_serve.py [--requests 1600] [--repeats 2] [--latency 0.2 | --engine hf]

Both sides draw one answer a request, from 1 and from 32 clients that each wait for an answer before they ask again. The engine
says a fixed text after the latency (`--engine hf`: the embedded model, at most 64 tokens); in process it is asked through the
desk, over HTTP by a bare aiohttp client in a process of its own. One client sends an eighth of the requests; the first tenth
warms up. The overhead is the difference of the percentiles. With `--latency 0`, 32 clients are more than the service can take,
and the requests a second are its limit. Figures: benchmarks/results/serve.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import numpy as np

from tamis.config import EMBEDDED, Serving
from tamis.engines.base import Engine
from tamis.engines.scripted import ScriptedEngine
from tamis.identity import content_id, sample_seed
from tamis.records import Draw, Message, Prompt, Request, Sampling
from tamis.sample.desk import Desk
from tamis.workflows.models import open_model

TEXT = "Step 1: 17 + 25 = 42\nThe answer is \\boxed{42}.\n" * 8
CLIENTS = (1, 32)


def make_engine(options: argparse.Namespace) -> Engine:
    if options.engine == "scripted":
        return ScriptedEngine([TEXT], token_stats=False, delay=lambda _: options.latency, max_draws_in_flight=256)
    return open_model(Serving(model=EMBEDDED))


async def timed(ask: Callable[[int], Awaitable[None]], num_requests: int, num_clients: int) -> list[float]:
    """Seconds of each request, the first tenth left out."""
    numbers = iter(range(num_requests))
    seconds: list[float] = []

    async def client() -> None:
        for number in numbers:
            started = time.perf_counter()
            await ask(number)
            if number >= num_requests // 10:
                seconds.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(num_clients)))
    return seconds


async def in_process(options: argparse.Namespace, num_clients: int) -> list[float]:
    engine = make_engine(options)
    async with Desk(engine) as desk:

        async def ask(number: int) -> None:
            messages = (Message("user", f"What is {number} + 1?"),)
            problem_id = content_id("", messages)
            draw = Draw(f"{number}", 0, sample_seed(7, problem_id, 0))
            sampling = Sampling(max_tokens=64, seed=7)
            sample = await desk.draw(Request(problem_id, Prompt(messages), sampling, (draw,), on_text=lambda *_: True))
            assert sample.text

        return await timed(ask, options.requests, num_clients)


async def over_http(options: argparse.Namespace, num_clients: int) -> list[float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(number: int) -> None:
            messages = [{"role": "user", "content": f"What is {number} + 1?"}]
            body = {"model": EMBEDDED, "messages": messages, "max_tokens": 64, "seed": 7}
            async with session.post(f"{options.url}/chat/completions", json=body) as response:
                assert (await response.json())["choices"][0]["message"]["content"]

        return await timed(ask, options.requests, num_clients)


def serve(options: argparse.Namespace) -> None:
    """Serve until killed; print where."""
    from tamis.serve.running import listen, run, url_of

    serving = Serving(model=EMBEDDED, port=0)
    port = listen(serving)
    asyncio.run(run(make_engine(options), serving, port, lambda _: print(url_of(port), flush=True)))


def fresh(side: str, url: str, options: argparse.Namespace, num_clients: int) -> list[float]:
    """One run of a side in a process of its own."""
    num_requests = options.requests if num_clients > 1 else options.requests // 8
    command = [sys.executable, __file__, "--side", side, "--url", url, "--requests", str(num_requests)]
    command += ["--engine", options.engine, "--latency", str(options.latency), "--clients", str(num_clients)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1600)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--engine", choices=("scripted", "hf"), default="scripted")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "serve":
        serve(options)
    elif options.side:
        work = {"process": in_process, "http": over_http}[options.side]
        print(json.dumps(asyncio.run(work(options, options.clients))))
    else:
        compare(options)
    return 0


def compare(options: argparse.Namespace) -> None:
    """Both sides in turns."""
    print(
        f"{options.requests:,} requests, {options.repeats} times, engine {options.engine}, {os.cpu_count()} cores, "
        f"CPython {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    server = subprocess.Popen(
        [sys.executable, __file__, "--side", "serve", "--engine", options.engine, "--latency", str(options.latency)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = server.stdout.readline().strip()
        for num_clients in CLIENTS:
            found: dict[str, list[float]] = {"process": [], "http": []}
            for _ in range(options.repeats):
                for side, seconds in found.items():
                    seconds += fresh(side, url, options, num_clients)
            points = {side: 1000 * np.percentile(seconds, [50, 99]) for side, seconds in found.items()}
            for side, (p50, p99) in points.items():
                rps = num_clients / np.mean(found[side])
                print(f"  {num_clients:2} clients, {side:8} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   {rps:6.0f} requests/s")
            p50, p99 = points["http"] - points["process"]
            print(f"  {num_clients:2} clients, overhead p50 {p50:8.2f} ms   p99 {p99:8.2f} ms")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
