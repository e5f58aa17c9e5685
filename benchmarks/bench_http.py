"""The HTTP engine against a bare aiohttp loop: 1,000 requests, 0.1 s server latency, 256 at once, journal included.

    python benchmarks/bench_http.py [--requests 1000] [--concurrency 256] [--repeats 5] [--faults]

The server is a raw asyncio protocol in a process of its own, so that it is not what is measured; both clients run in fresh
processes, in turns. The bare loop posts the same bodies and reads the JSON; the engine draws through the sampling loop into a
run folder. Time counts from the first request to the last answer, processor time likewise. With `--faults`, one answer in five
is a 429 with Retry-After 1 s and 32 are asked at once, against the engine's own time without them.

Results of 2026-11-21, 2 cores, CPython 3.11, other jobs on the machine:

    1,000 requests, 256 at once, 0.1 s latency, 2 cores
      bare         1,730 requests/s    0.58 s   0.18 CPU-s per 1,000    53 MB
      engine       1,599 requests/s    0.63 s   0.27 CPU-s per 1,000    57 MB
      0.92 of the bare loop (target 0.65): ok
    20,000 requests, 256 at once, 0.1 s latency, 2 cores
      bare         2,421 requests/s    8.26 s   0.17 CPU-s per 1,000    53 MB
      engine       2,192 requests/s    9.12 s   0.29 CPU-s per 1,000    60 MB
      0.91 of the bare loop (target 0.65): ok
    1,000 requests, 32 at once, 0.1 s latency, 2 cores
      without        297 requests/s    3.37 s   0.40 CPU-s per 1,000    50 MB
      with 429s      136 requests/s    7.33 s   0.54 CPU-s per 1,000    50 MB
      2.18x the time without (target 2.5): ok
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import aiohttp
import orjson

from tamis.engines.http import HTTPEngine
from tamis.records import Message, Problem, Prompt, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder

LATENCY_S = 0.1
TARGET_SHARE, TARGET_CPU_S, TARGET_SLOWDOWN = 0.65, 1.0, 2.5
TEXT = "Step 1: 17 + 25 = 42\nThe answer is \\boxed{42}.\n" * 8


async def serve(rate_429: float) -> None:
    """Answer everything after the latency; print the port."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}
    usage = {"prompt_tokens": 30, "completion_tokens": 120, "total_tokens": 150}
    body = orjson.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})
    good = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    models = b'{"object":"list","data":[{"id":"m","owned_by":"x"}]}'
    listing = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(models), models)
    limited = b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    loop, count = asyncio.get_running_loop(), 0

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.data = transport, b""

        def data_received(self, data: bytes) -> None:
            nonlocal count
            self.data += data
            head, found, rest = self.data.partition(b"\r\n\r\n")
            if not found:
                return
            if head.startswith(b"GET"):
                self.data = b""
                self.transport.write(listing)
                return
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(rest) >= length:
                self.data = b""
                count += 1
                is_limited = int(count * rate_429) > int((count - 1) * rate_429)
                loop.call_later(LATENCY_S, self.transport.write, limited if is_limited else good)

    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def prompt(problem: Problem) -> Prompt:
    return Prompt((Message("user", problem.prompt),))


async def bare(url: str, num_requests: int, concurrency: int) -> int:
    """Post and read, nothing more."""
    bodies = iter(range(num_requests))
    num_read = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal num_read
        for number in bodies:
            messages = [{"role": "user", "content": f"What is {number} + 1?"}]
            row = {"model": "m", "messages": messages, "temperature": 1.0, "max_tokens": 1024, "seed": number}
            async with session.post(f"{url}/chat/completions", data=orjson.dumps(row)) as response:
                num_read += bool(orjson.loads(await response.read())["choices"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
    return num_read


async def engine(url: str, num_requests: int, concurrency: int) -> int:
    """Draw into a run folder."""
    problems = (Problem(f"p{number}", f"What is {number} + 1?") for number in range(num_requests))
    drawer = HTTPEngine("m", base_urls=[url], concurrency=concurrency, token_stats=False)
    progress, sampling = Progress(), Sampling()
    with tempfile.TemporaryDirectory() as folder, RunFolder.open(Path(folder), sampling.to_json()) as run:
        pools = sample(
            problems, drawer, sampling, run, prompt=prompt, progress=progress, max_problems_in_flight=4 * concurrency
        )
        async with aclosing(pools):
            async for _ in pools:
                pass
    return progress.samples_done


def measure(client: str, url: str, num_requests: int, concurrency: int) -> None:
    """Run one client; print what it took."""
    cpu, started = time.process_time(), time.perf_counter()
    num_done = asyncio.run((bare if client == "bare" else engine)(url, num_requests, concurrency))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"done": num_done, "rps": num_requests / seconds, "cpu_s": cpu, "seconds": seconds, "mb": peak_mb}))


def fresh(client: str, url: str, options: argparse.Namespace, concurrency: int) -> dict[str, float]:
    """One run of a client in a process of its own."""
    command = [sys.executable, __file__, "--client", client, "--url", url, "--requests", str(options.requests)]
    out = subprocess.run([*command, "--concurrency", str(concurrency)], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
    if options.client:
        measure(options.client, options.url, options.requests, options.concurrency)
        return 0
    return compare(options)


def compare(options: argparse.Namespace) -> int:
    """Both sides in turns; the median of each."""
    names = ("without", "with 429s") if options.faults else ("bare", "engine")
    concurrency = 32 if options.faults else options.concurrency
    servers = {}
    try:
        for name in names:
            command = [sys.executable, __file__, "--serve", "0.2" if name == "with 429s" else "0"]
            servers[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        urls = {name: f"http://127.0.0.1:{server.stdout.readline().strip()}/v1" for name, server in servers.items()}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                runs[name].append(fresh("bare" if name == "bare" else "engine", urls[name], options, concurrency))
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    print(f"{options.requests:,} requests, {concurrency} at once, {LATENCY_S} s latency, {os.cpu_count()} cores")
    middle = {}
    for name, rows in runs.items():
        assert all(row["done"] == options.requests for row in rows), name
        middle[name] = row = sorted(rows, key=lambda row: row["seconds"])[len(rows) // 2]
        cpu_s = row["cpu_s"] * 1000 / options.requests
        print(
            f"  {name:10}{row['rps']:8,.0f} requests/s {row['seconds']:7.2f} s {cpu_s:6.2f} CPU-s per 1,000 {row['mb']:5.0f} MB"
        )
    first, second = (middle[name] for name in names)
    if options.faults:
        ratio, is_met = second["seconds"] / first["seconds"], second["seconds"] <= TARGET_SLOWDOWN * first["seconds"]
        print(f"  {ratio:.2f}x the time without (target {TARGET_SLOWDOWN}): {'ok' if is_met else 'MISSED'}")
    else:
        cpu_s = second["cpu_s"] * 1000 / options.requests
        is_met = second["rps"] >= TARGET_SHARE * first["rps"] and cpu_s <= TARGET_CPU_S
        print(f"  {second['rps'] / first['rps']:.2f} of the bare loop (target {TARGET_SHARE}): {'ok' if is_met else 'MISSED'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
