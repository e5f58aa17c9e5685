"""Rows and results of interleaved reasoning for tests: real PNG files, rows as the source document has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (32, 24), shift: int = 0) -> str:
    """A smooth picture of its own for every seed; `shift` makes it brighter. Returns the path as text."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 200, (4, 4, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(int) + shift
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return str(path)


def problem_row(folder: Path, number: int, **fields: object) -> dict[str, object]:
    """A row of the input: one picture of the problem, two of the reference."""
    return {
        "Question": "How many <image_start>[problem_image_1]<image_end> are there?",
        "Text Reasoning Trace": "THOUGHT 0: Mark them. <image_start>[reasoning_image_1]<image_end> THOUGHT 1: Count them. "
        "<image_start>[reasoning_image_2]<image_end> THOUGHT 2: There are 4.",
        "Final Answer": "4",
        "problem_image_1": picture(folder / f"data/{number}/problem.png", number),
        "reasoning_image_1": picture(folder / f"data/{number}/step1.png", 100 + number),
        "reasoning_image_2": picture(folder / f"data/{number}/step2.png", 200 + number),
        **fields,
    }


def result_row(folder: Path, number: int, shifts: tuple[int, ...] = (10, 20), **fields: object) -> dict[str, object]:
    """The row of a sample whose pictures are those of the reference, brighter."""
    tree = folder / "output/batch_inference_20250104_120000"
    images = [
        picture(tree / f"output_images/{number}/output_image_{place}.png", 100 * place + number, shift=shift)
        for place, shift in enumerate(shifts, 1)
    ]
    row = problem_row(folder, number)
    row |= {
        "output_reasoning": "Mark them.\n\nCount them.\n\nThere are 4. Final Answer: 4",
        "output_images": images,
        "num_reasoning_steps": 3,
        "num_generated_images": len(images),
        "sample_id": number,
    }
    return row | fields


def write_results(folder: Path, rows: list[dict[str, object]]) -> Path:
    """A results file; returns its path."""
    path = folder / "output/batch_inference_20250104_120000/results.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
