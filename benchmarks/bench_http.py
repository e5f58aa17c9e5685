"""The HTTP engine against a bare aiohttp loop and the `openai` client: 1,000 requests, 0.1 s server latency, 256 at once.

    pip install openai  # no dependency of this project; left out of the comparison where it is missing
    python benchmarks/bench_http.py [--requests 1000] [--concurrency 256] [--repeats 5] [--faults | --stream]

The server is a raw asyncio protocol in a process of its own, so that it is not what is measured; all clients run in fresh
processes, in turns. The bare loop posts the same bodies and reads the JSON; `openai` does with its AsyncOpenAI what its guide
shows, under a semaphore; the engine draws through the sampling loop into a run folder. Time counts from the first request to
the last answer, processor time likewise. With `--faults`, one answer in five is a 429 with Retry-After 1 s and 32 are asked at
once, against the engine's own time without them. With `--stream`, each answer comes as 120 events, one a token, spread over
the latency, against the engine's own time for whole answers. Figures: benchmarks/results/http.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import orjson

from tamis.engines.http import HTTPEngine
from tamis.records import Message, Problem, Prompt, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder

LATENCY_S = 0.1
TARGET_SHARE, TARGET_CPU_S, TARGET_SLOWDOWN, TARGET_OVER_SDK = 0.65, 1.0, 2.5, 3.0
NUM_EVENTS = 120
TEXT = "Step 1: 17 + 25 = 42\nThe answer is \\boxed{42}.\n" * 8


def streamed() -> list[bytes]:
    """The answer as chunks of a stream: `NUM_EVENTS` pieces of text, the counts of tokens, the end."""
    size = -(-len(TEXT) // NUM_EVENTS)
    pieces = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    head = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
    rows = [head | {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    rows[-1]["choices"][0]["finish_reason"] = "stop"
    rows.append(head | {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 120, "total_tokens": 150}})
    events = [b"data: %b\n\n" % event for event in (*map(orjson.dumps, rows), b"[DONE]")]
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in events] + [b"0\r\n\r\n"]


async def serve(rate_429: float, latency_s: float, text: str) -> None:
    """Answer everything after the latency; print the port."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 30, "completion_tokens": 120, "total_tokens": 150}
    body = orjson.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})
    good = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    models = b'{"object":"list","data":[{"id":"m","owned_by":"x"}]}'
    listing = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(models), models)
    limited = b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    events = streamed()
    begin = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    loop, count = asyncio.get_running_loop(), 0

    async def stream(transport: asyncio.WriteTransport) -> None:
        transport.write(begin)
        started = loop.time()
        for number, event in enumerate(events):
            await asyncio.sleep(max(0.0, started + LATENCY_S * number / len(events) - loop.time()))
            transport.write(event)

    streams = set()

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
                if b'"stream":true' in rest:
                    streams.add(task := loop.create_task(stream(self.transport)))
                    task.add_done_callback(streams.discard)
                    return
                is_limited = int(count * rate_429) > int((count - 1) * rate_429)
                loop.call_later(latency_s, self.transport.write, limited if is_limited else good)

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


async def sdk(url: str, num_requests: int, concurrency: int) -> int:
    """The same with the `openai` package."""
    from openai import AsyncOpenAI

    slots = asyncio.Semaphore(concurrency)

    async def work(client: AsyncOpenAI, number: int) -> bool:
        async with slots:
            messages = [{"role": "user", "content": f"What is {number} + 1?"}]
            answer = await client.chat.completions.create(
                model="m", messages=messages, temperature=1.0, max_tokens=1024, seed=number
            )
            return bool(answer.choices)

    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        return sum(await asyncio.gather(*(work(client, number) for number in range(num_requests))))


async def engine(url: str, num_requests: int, concurrency: int, stream_from: int | None = None) -> int:
    """Draw into a run folder."""
    problems = (Problem(f"p{number}", f"What is {number} + 1?") for number in range(num_requests))
    drawer = HTTPEngine("m", base_urls=[url], concurrency=concurrency, token_stats=False, stream_from=stream_from)
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
    work = {"bare": bare, "openai": sdk, "engine": engine, "streamed": partial(engine, stream_from=1)}[client]
    cpu, started = time.process_time(), time.perf_counter()
    num_done = asyncio.run(work(url, num_requests, concurrency))
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
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--faults", action="store_true")
    kinds.add_argument("--stream", action="store_true")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--latency", type=float, default=LATENCY_S, help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve, options.latency, "42" if options.short else TEXT))
    if options.client:
        measure(options.client, options.url, options.requests, options.concurrency)
        return 0
    return compare(options)


CLIENTS = {"without": "engine", "with 429s": "engine", "whole": "engine"}


def compare(options: argparse.Namespace) -> int:
    """All sides in turns; the median of each."""
    if options.faults:
        names, concurrency = ["without", "with 429s"], 32
    elif options.stream:
        names, concurrency = ["whole", "streamed"], options.concurrency
    else:
        names, concurrency = ["bare", "engine", *(["openai"] if find_spec("openai") else [])], options.concurrency
    servers = {}
    try:
        for name in names:
            command = [sys.executable, __file__, "--serve", "0.2" if name == "with 429s" else "0"]
            servers[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        urls = {name: f"http://127.0.0.1:{server.stdout.readline().strip()}/v1" for name, server in servers.items()}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                runs[name].append(fresh(CLIENTS.get(name, name), urls[name], options, concurrency))
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    print(
        f"{options.requests:,} requests, {concurrency} at once, {LATENCY_S} s latency, {os.cpu_count()} cores, "
        f"CPython {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    middle = {}
    for name, rows in runs.items():
        assert all(row["done"] == options.requests for row in rows), name
        middle[name] = row = sorted(rows, key=lambda row: row["seconds"])[len(rows) // 2]
        cpu_s = row["cpu_s"] * 1000 / options.requests
        print(
            f"  {name:10}{row['rps']:8,.0f} requests/s {row['seconds']:7.2f} s {cpu_s:6.2f} CPU-s per 1,000 {row['mb']:5.0f} MB"
        )
    return report(middle, options)


def report(middle: dict[str, dict[str, float]], options: argparse.Namespace) -> int:
    """Print the ratios beside their targets; 1 where one is missed."""
    if options.stream:
        per_event = (middle["streamed"]["cpu_s"] - middle["whole"]["cpu_s"]) / options.requests / NUM_EVENTS
        print(f"  {1e6 * per_event:.1f} microseconds of processor time an event more than whole answers")
        return 0
    if options.faults:
        ratio = middle["with 429s"]["seconds"] / middle["without"]["seconds"]
        checks = [(f"{ratio:.2f}x the time without (target {TARGET_SLOWDOWN})", ratio <= TARGET_SLOWDOWN)]
    else:
        rps = {name: row["rps"] for name, row in middle.items()}
        cpu_s = middle["engine"]["cpu_s"] * 1000 / options.requests
        share = rps["engine"] / rps["bare"]
        checks = [
            (f"{share:.2f} of the bare loop (target {TARGET_SHARE})", share >= TARGET_SHARE),
            (f"{cpu_s:.2f} CPU-s per 1,000 requests (target {TARGET_CPU_S})", cpu_s <= TARGET_CPU_S),
        ]
        if "openai" in rps:
            over = rps["engine"] / rps["openai"]
            checks.append((f"{over:.1f}x the openai client (target {TARGET_OVER_SDK})", over >= TARGET_OVER_SDK))
    for line, is_met in checks:
        print(f"  {line}: {'ok' if is_met else 'MISSED'}")
    return 0 if all(is_met for _, is_met in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
