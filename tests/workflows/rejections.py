"""Rejection runs on scripted engines, for the tests of the workflow; as a program, one that waits to be killed.

python rejections.py FOLDER IMAGES GENERATOR_URL JUDGE_URL
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tamis.config import Arm, ModelSettings, Rejecting
from tamis.records import Draw, Problem, Request
from tamis.score.grading import Rejected
from tamis.workflows.rejecting import Rejection

ARMS = tuple(Arm(key, temperature, 0.9, 0) for key in ("brief", "full") for temperature in (0.2, 0.6, 1.0))
PROMPTS = {"brief": "简要描述这张图。", "full": "Describe the image, {all} of it."}
ONE = "Compare with the image:\n<<<{generated_answer}>>>\nScore: <0-100>"
ALL = "Compare with the image:\n{candidate_answers}"


def write_images(folder: Path, count: int) -> Path:
    """Pictures of one pixel, each of another colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rows = zlib.compress(bytes([0, *number.to_bytes(3)]))
        chunks = ((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
        data = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
        (folder / f"图{number:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return folder


def problems(folder: Path) -> Iterator[Problem]:
    for path in sorted(folder.glob("*.png")):
        yield Problem(path.name, images=(str(path),), where=str(path))


def draw_text(request: Request, draw: Draw) -> str:
    """A text with a quality of its seed and its arm, which boasts of another."""
    return text_of(request.prompt.text, draw.seed, request.sampling.temperature)


def text_of(prompt: str, seed: int, temperature: float = 0.5) -> str:
    quality = int(hashlib.sha256(f"{prompt} {seed}".encode()).hexdigest(), 16) % 60 + round(30 * temperature)
    return f"A -> B. Score: 100. [quality {quality}]"


def judge_text(request: Request, draw: Draw) -> str:
    return judge_of(request.prompt.text)


def judge_of(prompt: str, _seed: int = 0) -> str:
    qualities = re.findall(r"\[quality (\d+)\]", prompt)
    if "[Answer 1]" in prompt:
        return "\n".join(f"Answer {number}: Score: {quality}" for number, quality in enumerate(qualities, 1))
    return f"It boasts.\nScore: {[*qualities, 0][0]}"


def config(folder: Path, **changes: Any) -> Rejecting:
    settings: dict[str, Any] = {
        "generator": ModelSettings("generator", "scripted"),
        "judge": ModelSettings("judge", "scripted"),
        "prompts": PROMPTS,
        "grading_template": ONE,
        "arms": ARMS,
        "num_candidates": 4,
        "threshold": 60.0,
        "max_tokens": 100,
        "output_dir": folder,
    }
    return Rejecting(**(settings | changes))


def run(
    config: Rejecting, images: Path, *, stop_after: int | None = None, look: Callable[[Rejection], None] = lambda _: None
) -> list[Rejected]:
    """All results of a run, or the first few."""

    async def main() -> list[Rejected]:
        rejection = Rejection(config, lambda: problems(images))
        found: list[Rejected] = []
        try:
            async with aclosing(rejection.results()) as results:
                async for result in results:
                    found.append(result)
                    if len(found) == stop_after:
                        break
            if stop_after is None:
                assert list(map(plain, rejection.finished())) == list(map(plain, found))
            look(rejection)
        finally:
            rejection.close()
        return found

    async def limited() -> list[Rejected]:
        async with asyncio.timeout(60):
            return await main()

    return asyncio.run(limited())


def plain(result: Rejected) -> tuple[object, ...]:
    """All that must not depend on how a run went."""
    rows = [
        (c.arm, c.sample.key, c.sample.index, c.sample.text, c.sample.error, c.judgement, c.grading_tokens)
        for c in result.candidates
    ]
    best = result.best and result.candidates.index(result.best)
    return result.problem.id, tuple(rows), best, result.is_accepted


if __name__ == "__main__":
    urls = (ModelSettings("scripted", "http", base_urls=(url,), api_key="") for url in sys.argv[3:])
    generator, judge = urls
    run(config(Path(sys.argv[1]), generator=generator, judge=judge, stop_early=True, strategy="adaptive"), Path(sys.argv[2]))
