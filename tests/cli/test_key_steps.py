"""`--key-steps`: which steps of each chosen answer decide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import ANSWERS, DRAWING, rows
from score.test_registry import make_stats

from tamis.records import Sample, Sampling
from tamis.workflows.key_steps import step_rows

LONG = (
    "Step 1: read the problem\n3 apples and 4 apples\n",
    "Step 2: 把它们加起来，3 + 4 = 7\n",
    "Step 3: box it: \\boxed{7}\n",
    "Step 4: done here",
)


@pytest.fixture
def steps(place):
    """The script, with one answer of four steps to the second problem."""
    answers = {**ANSWERS, "p2": ["".join(LONG)]}
    (place / "script.json").write_text(json.dumps({"answers": answers}, ensure_ascii=False), encoding="utf-8")


def best(folder: Path) -> list[dict]:
    return rows(next(folder.glob("*_best_*")))


@pytest.mark.usefixtures("steps")
def test_the_steps_of_each_chosen_answer(tamis, place):
    assert tamis("infer", *DRAWING, "--output-dir", "with", "--key-steps").code == 0
    assert tamis("infer", *DRAWING, "--output-dir", "without").code == 0
    for row, plain in zip(best(Path("with")), best(Path("without")), strict=True):
        found = row.pop("steps")
        assert row == plain
        assert "".join(step["text"] for step in found) == row["answer"]
        assert sum(step["fork_mass"] for step in found) == pytest.approx(1.0)
        assert 1 <= sum(step["key"] for step in found) <= max(1, len(found))
        assert [step["answer"] for step in found].count(True) == 1
    found = best(Path("with"))[1]["steps"]
    assert [step["text"] for step in found] == list(LONG)
    assert [step["answer"] for step in found] == [False, False, True, False]
    heaviest = max(found, key=lambda step: step["fork_mass"])
    assert [step for step in found if step["key"]] == [heaviest]
    assert found[0]["drop"] == 0.0


def test_a_second_run_with_key_steps_overwrites_nothing(tamis, place):
    tamis("infer", *DRAWING)
    registry = place / "runs/math500-script.json/results.json"
    registry.write_text(json.dumps(dict.fromkeys(json.loads(registry.read_text()), "20200101_000000")))  # it began earlier
    tamis("infer", *DRAWING)
    files = {path: path.read_bytes() for path in Path("results").glob("*20200101*")}
    assert len(files) == 2
    tamis("infer", *DRAWING, "--key-steps")
    assert {path: path.read_bytes() for path in files} == files


def test_evaluate_says_what_infer_says(tamis, place):
    tamis("infer", *DRAWING, "--output-dir", "one", "--key-steps", "--method", "self-consistency")
    candidates = next(Path("one").glob("*_candidates_*"))
    ran = tamis("evaluate", "--candidates", candidates, "--key-steps", "--method", "self-consistency", "--output-dir", "two")
    assert ran.code == 0, ran.err
    assert best(Path("two")) == best(Path("one"))


def test_without_statistics_there_are_none(tamis, place):
    ran = tamis("infer", *DRAWING, "--key-steps", "--method", "self-consistency", "--token-stats", "none")
    assert ran.code == 2
    assert "--key-steps needs token statistics" in ran.err
    tamis("generate", *DRAWING, "--token-stats", "none", "--output-dir", "bare")
    candidates = next(Path("bare").glob("*_candidates_*"))
    ran = tamis("evaluate", "--candidates", candidates, "--method", "self-consistency", "--key-steps")
    assert ran.code == 2
    assert "key steps need token statistics" in ran.err


def test_a_step_without_tokens():
    text = "a long first step\nb second step\nc third step"
    stats = make_stats(np.eye(50)[:3] * 3, starts=[0, 3, 35])
    found = step_rows(Sample("k", "p", 0, 0, Sampling(), (text,), stats=stats))
    assert [(step["fork_mass"] > 0, step["drop"] is None) for step in found] == [(True, False), (False, True), (True, False)]
    assert [step["answer"] for step in found] == [False, False, True]
    assert step_rows(Sample("k", "p", 0, 0, Sampling(), (text,))) is None
    assert step_rows(Sample("k", "p", 0, 0, Sampling(), (), stats=make_stats([]))) == []
