"""Problems, a script that answers them, and what a command printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PROBLEMS = [
    {"problem": "What is 1 + 1?", "answer": "2", "subject": "Sums", "level": 1, "unique_id": "p1"},
    {"problem": "小明有3个苹果，又得到4个。现在有多少个？", "answer": "7", "subject": "应用题", "level": 2, "unique_id": "p2"},
    {"problem": "Simplify \\frac{2}{4}.", "answer": "\\frac{1}{2}", "subject": "Sums", "level": 2, "unique_id": "p3"},
]
ANSWERS = {
    "p1": ["Step 1: 1 + 1 = 2\nThe answer is \\boxed{2}", "\\boxed{3}", "so \\boxed{2.0}", "I do not know"],
    "p2": ["Step 1: 3 + 4 = 7\n答案是 \\boxed{7}", "答案是 \\boxed{8}", "答案是 \\boxed{8}", "答案是 \\boxed{7}"],
    "p3": ["\\boxed{\\frac12}", "\\boxed{0.5}", "\\boxed{1/2}", "\\boxed{2}"],
}


@dataclass
class Ran:
    code: int
    out: str
    err: str


DRAWING = ("--engine", "scripted", "--model-path", "script.json", "--dataset", "math500.jsonl")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
