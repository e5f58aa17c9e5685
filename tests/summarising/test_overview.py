"""pass@k, maj@k and the rest of the overview, against published numbers of the same samples and by hand."""

from __future__ import annotations

import json

import pytest
from summarising.inputs import write

from tamis.counting import open_counter
from tamis.sources.files import DataFile
from tamis.sources.generations import GenerationFields, ranges
from tamis.summarise.overview import survey
from tamis.summarise.per_prompt import summaries
from tamis.workflows.counting import RangeCounter


def overview(path, tokenizer, *, majority=False, max_tokens=None):
    file = DataFile.of(path)
    (part,) = ranges([file])
    count = RangeCounter(open_counter(tokenizer), GenerationFields(), max_tokens, majority=majority)
    return survey(summaries(count(part).whole()))


@pytest.mark.parametrize(
    ("name", "passes", "majority"),
    [
        ("llama-3.2-1b-instruct", (0.2615, 0.3516, 0.4483, 0.542), 0.320),
        ("qwen2.5-math-1.5b", (0.5895, 0.6929, 0.7709, 0.816), 0.696),
    ],
)
def test_real_generations(shared_data, tmp_path, tokenizer, name, passes, majority):
    with (shared_data / "generations" / f"math500_{name}_n8.jsonl").open(encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    rows = [
        {"prompt": p["id"], "gen": s["text"][-600:], "answer": p["gold"], "accuracy": float(s["correct"])}
        for p in problems
        for s in p["samples"]
    ]
    found = overview(write(tmp_path / "rows.jsonl", rows), tokenizer, majority=True)
    assert (found.num_prompts, found.num_rows) == (500, 4000)
    assert [point.accuracy.value for point in found.pass_at_k] == pytest.approx(passes, abs=5e-5)
    assert found.maj_at_k[-1].accuracy.value == pytest.approx(majority, abs=0.02)
    assert sum(found.bins) == 500
    assert found.right.num == sum(row["accuracy"] for row in rows)


def test_by_hand(tmp_path, tokenizer):
    texts = {"a": [("x", 1), ("x", 1)], "b": [("x", 0), ("x y", 0)], "c": [("x", 0.5), ("x", 1)]}
    rows = [{"prompt": p, "gen": g, "answer": "", "accuracy": a} for p, pairs in texts.items() for g, a in pairs]
    found = overview(write(tmp_path / "rows.jsonl", rows), tokenizer, max_tokens=2)
    assert found.accuracy.value == pytest.approx((1 + 0 + 0.75) / 3)
    assert (found.bins[0], found.bins[8], found.bins[-1]) == (1, 1, 1)
    assert [point.accuracy.value for point in found.pass_at_k] == pytest.approx([(1 + 0 + 0.5) / 3, 2 / 3])
    assert found.maj_at_k == ()
    assert (found.right.num, found.wrong.num, found.num_repeated) == (3, 3, 2)
    assert (found.num_truncated, found.num_known_end) == (1, 6)
    assert [hard.prompt for hard in found.hardest] == ["b", "c", "a"]
    assert found.wrong.in_bins == (0, 2, 1)
