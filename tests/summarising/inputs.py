"""Files of graded generations, and the statistics written down the plain way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from math import fsum
from pathlib import Path
from typing import Any

DOCUMENTED = """\
{"prompt": "中国的首都是哪里？", "gen": "北京", "answer": "北京", "accuracy": 1.0}
{"prompt": "中国的首都是哪里？", "gen": "上海", "answer": "北京", "accuracy": 0.0}
{"prompt": "美国的国旗有多少颗星星？", "gen": "50", "answer": "50", "accuracy": 1.0}
{"prompt": "美国的国旗有多少颗星星？", "gen": "50颗", "answer": "50", "accuracy": 1.0}
{"prompt": "美国的国旗有多少颗星星？", "gen": ["50颗"], "answer": "50", "accuracy": 1.0}
{"prompt": "日本的首都是哪里？", "gen": "东京", "answer": "东京", "accuracy": 1.0}
"""


def rows(num: int, num_prompts: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of few prompts in any order, some lists, some accuracies between 0 and 1."""
    rng = random.Random(seed)
    words = ("so", "答案", "\\boxed{7}", "x = 3", "naïve é", "👍", "\n\n    if x:\n", "<|im_end|>", "1,000")
    found = []
    for _ in range(num):
        prompt = rng.randrange(num_prompts)
        texts = [" ".join(rng.choices(words, k=rng.randint(0, 12))) for _ in range(rng.choice((1, 1, 1, 2)))]
        accuracy = rng.choice((0, 1, 1.0, 0.0, True, 0.1, 0.25, 1 / 3))
        gen = texts[0] if len(texts) == 1 else texts
        found.append({"prompt": f"问题 {prompt}", "gen": gen, "answer": str(prompt), "accuracy": accuracy})
    return found


def write(path: Path, values: Iterable[Any], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + end for value in values), encoding="utf-8", newline="")
    return path


def plainly(values: Iterable[dict[str, Any]], count: Callable[[str], int]) -> list[dict[str, Any]]:
    """The documented statistics of rows."""
    table: dict[str, tuple[Any, list[float], list[int]]] = {}
    for row in values:
        texts = row["gen"] if isinstance(row["gen"], list) else [row["gen"]]
        _, accuracies, lengths = table.setdefault(row["prompt"], (row["answer"], [], []))
        accuracies.append(float(row["accuracy"]))
        lengths.append(sum(map(count, texts)))
    return [
        {
            "prompt": prompt,
            "answer": answer,
            "count": len(lengths),
            "total_accuracy_count": fsum(accuracies),
            "average_accuracy": fsum(accuracies) / len(lengths),
            "max_gen_length": max(lengths),
            "avg_gen_length": sum(lengths) / len(lengths),
            "gen_lengths": lengths,
        }
        for prompt, (answer, accuracies, lengths) in table.items()
    ]
