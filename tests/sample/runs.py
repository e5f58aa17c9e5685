"""A run on the scripted engine, for the tests of the loop; as a program, one that waits to be killed.

python runs.py FOLDER NUM_PROBLEMS N
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path

from tamis.engines.base import Engine
from tamis.engines.scripted import Answer, ScriptedEngine
from tamis.records import Draw, Failure, Message, Pool, Problem, Prompt, Request, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder


def run_async(scenario: Coroutine[object, object, None]) -> None:
    """Run a scenario that must not hang."""

    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(main())


def problems(count: int, start: int = 0) -> Iterator[Problem]:
    for number in range(start, start + count):
        yield Problem(f"p{number}", f"问题 {number}: what is {number} + {number}?", answer=str(2 * number))


def prompt(problem: Problem) -> Prompt:
    return Prompt((Message("user", problem.prompt),))


def answer(request: Request, draw: Draw) -> str:
    """A text of the seed and the prompt alone."""
    rng = random.Random(f"{draw.seed} {request.prompt.text}")
    return "".join(rng.choice('abc答案是\n{}"\\') for _ in range(rng.randrange(40)))


def flaky(request: Request, draw: Draw) -> Answer:
    return Failure("engine", "busy") if draw.seed % 5 == 0 else answer(request, draw)


def config(sampling: Sampling) -> dict[str, object]:
    return {"engine": "scripted", **sampling.to_json()}


def draw(
    folder: Path,
    source: Iterable[Problem],
    sampling: Sampling,
    *,
    engine: Engine | None = None,
    on_pool: Callable[[Pool], None] = lambda _: None,
    stop_after: int | None = None,
    max_problems_in_flight: int = 8,
) -> Progress:
    """Run the loop to its end, or abandon it after some pools."""
    progress = Progress()

    async def main() -> None:
        with RunFolder.open(folder, config(sampling)) as run:
            stream = sample(
                source,
                engine or ScriptedEngine(answer, token_stats=True),
                sampling,
                run,
                prompt=prompt,
                progress=progress,
                max_problems_in_flight=max_problems_in_flight,
            )
            num_pools = 0
            async with aclosing(stream):
                async for pool in stream:
                    on_pool(pool)
                    num_pools += 1
                    if num_pools == stop_after:
                        break

    asyncio.run(main())
    return progress


def contents(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that must not depend on how a run went: key -> what was drawn."""
    found = {}
    with RunFolder.read(folder) as run:
        assert run.warnings == []
        for item in run.samples():
            assert item.key not in found
            stats = item.stats
            digest = hashlib.sha256(stats.values.tobytes() + stats.ids.tobytes() + stats.starts.tobytes()) if stats else None
            row = item.to_json()
            del row["seconds"]
            found[item.key] = (repr(row), digest and digest.hexdigest())
    return found


if __name__ == "__main__":
    draw(
        Path(sys.argv[1]),
        problems(int(sys.argv[2])),
        Sampling(n=int(sys.argv[3])),
        engine=ScriptedEngine(answer, token_stats=True, delay=0.003),
    )
