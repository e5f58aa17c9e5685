"""A run over a server; as a program, the parent of such runs, which wait to be killed.

python killed.py FOLDER URL NUM_PROBLEMS N

For each line that it reads, it begins a run, writes its process id, and writes its exit status when it has ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from pathlib import Path

from tamis.engines.http import HTTPEngine, client
from tamis.records import Message, Problem, Prompt, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder


def draw(folder: Path, url: str, num_problems: int, n: int) -> None:
    """Draw what is owed, streamed."""
    sampling = Sampling(n=n)
    problems = (Problem(f"p{number}", f"What is {number} + 1?") for number in range(num_problems))
    engine = HTTPEngine(
        "scripted", base_urls=[url], concurrency=8, retries=1000, idle_s=0.5, stream_from=1, stream_idle_s=0.5, api_key=""
    )

    async def main() -> None:
        with RunFolder.open(folder, sampling.to_json()) as run:
            pools = sample(
                problems, engine, sampling, run, prompt=lambda p: Prompt((Message("user", p.prompt),)), progress=Progress()
            )
            async with aclosing(pools):
                async for _ in pools:
                    pass

    asyncio.run(main())


def contents(folder: Path) -> dict[str, object]:
    """What was drawn, by key."""
    if not (folder / "run.json").exists():
        return {}
    with RunFolder.read(folder) as run:
        rows = [(sample.to_json() | {"seconds": 0}, sample.stats.values.tobytes()) for sample in run.samples()]
    assert len({row["key"] for row, _ in rows}) == len(rows)
    return {row["key"]: (repr(row), stats) for row, stats in rows}


if __name__ == "__main__":
    client._FIRST_PAUSE_S, client._LONGEST_PAUSE_S = 0.002, 0.02
    for _ in sys.stdin:
        pid = os.fork()  # the imports take longer than a life
        if pid == 0:
            try:
                draw(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
                os._exit(0)
            finally:
                os._exit(1)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)
