"""An engine of your own: anything that turns a request into samples. Run: python examples/own_engine.py"""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from tamis import Problem, RunFolder, Sample, Sampling
from tamis.prompts import PromptTemplate
from tamis.records import Request
from tamis.sample import Progress, sample


class Abacus:
    """Adds the numbers of the problem, and slips now and then."""

    def describe(self) -> Mapping[str, Any]:
        return {"engine": "abacus"}

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        async for request in requests:
            numbers = [int(number) for number in re.findall(r"\d+", request.prompt.text)]
            for draw in request.draws:
                slip = Random(draw.seed).choice((0, 0, 0, 1))  # the draw's seed alone decides
                text = f"The answer is \\boxed{{{sum(numbers) + slip}}}"
                yield Sample(draw.key, request.problem_id, draw.index, draw.seed, request.sampling, parts=(text,))

    def close(self) -> None:
        pass


async def main() -> None:
    problems = [Problem("a", "What is 17 + 25?", answer="42"), Problem("b", "3 加 4 等于多少？", answer="7")]
    sampling = Sampling(n=5)
    template = PromptTemplate("{problem}")
    with tempfile.TemporaryDirectory() as place, RunFolder.open(Path(place) / "run", sampling.to_json()) as run:
        async for pool in sample(problems, Abacus(), sampling, run, prompt=template, progress=Progress()):
            print(pool.problem.prompt, [drawn.text for drawn in pool.samples])


if __name__ == "__main__":
    asyncio.run(main())
