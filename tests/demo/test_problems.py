"""The built-in problems: what ships is what the generator makes, it is right, and the model was not trained on it."""

from __future__ import annotations

import json
import random
import re
from itertools import islice

import pytest

from tamis.demo.problems import PROBLEMS_FILE, built_in_problems, generate, write_problems
from tamis.grade.extract import boxed
from tamis.sources import read_problems

STEP = re.compile(r"Step (\d+): (-?\d+)(x?) ([-+*/]) (\d+)(x?) = (-?\d+)(x?)")
APPLY = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}


@pytest.fixture(scope="module")
def shipped():
    return [json.loads(line) for line in PROBLEMS_FILE.read_text(encoding="utf-8").splitlines()]


def test_the_shipped_file_is_what_the_generator_writes(tmp_path):
    write_problems(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == PROBLEMS_FILE.read_bytes()


def test_size_languages_families_and_names(shipped):
    assert len(shipped) >= 200
    assert len({row["unique_id"] for row in shipped}) == len({row["problem"] for row in shipped}) == len(shipped)
    for subject in ("Word Problems", "Order of Operations", "Linear Equations"):
        for language in ("en", "zh"):
            assert sum(row["subject"] == subject and row["language"] == language for row in shipped) >= 20
    for row in shipped:
        assert any("一" <= character <= "鿿" for character in row["problem"]) == (row["language"] == "zh")


def test_training_stream_and_test_set_share_no_skeleton(shipped):
    test = {row["skeleton"] for row in shipped}
    assert len(test) == len(shipped)
    trained = list(islice(generate(random.Random(0), test=False), 20_000))
    assert not test & {problem.skeleton for problem in trained}
    assert not any(problem.is_test for problem in trained)
    # Without the split the stream would meet the test set: the hash does the keeping apart, not luck.
    assert test & {problem.skeleton for problem in islice(generate(random.Random(0), test=True), 3000)}


def test_the_same_seed_gives_the_same_stream():
    left, right = (list(islice(generate(random.Random(3), test=False), 50)) for _ in range(2))
    assert left == right
    assert built_in_problems(5, seed=1) != built_in_problems(5, seed=2)


def _check(solution: str, answer: str) -> None:
    *steps, closing = solution.split("\n")
    assert closing in (f"The answer is \\boxed{{{answer}}}", f"答案是 \\boxed{{{answer}}}")
    assert boxed(solution) == answer
    assert steps
    for number, line in enumerate(steps, 1):
        match = STEP.fullmatch(line)
        assert match, line
        assert int(match[1]) == number
        assert match[3] == match[6] == match[8], line  # either all in x or none
        left, right, result = int(match[2]), int(match[5]), int(match[7])
        assert APPLY[match[4]](left, right) == result, line
        if match[4] == "/":
            assert left % right == 0, line
    assert steps[-1].rsplit(" ", 1)[1] == answer


def test_every_step_of_every_solution_is_right(shipped):
    for row in shipped:
        _check(row["solution"], row["answer"])
    for problem in islice(generate(random.Random(7), test=False), 2000):
        _check(problem.solution, problem.answer)


def test_answers_solve_the_problems_themselves(shipped):
    for row in shipped:
        kind, _, text = row["skeleton"].partition(" ")
        if kind == "expression":
            assert text in row["problem"]
            assert eval(text) == int(row["answer"])  # made of digits and operators by our own generator
        if kind == "equation":
            assert text in row["problem"]
            factors = re.sub(r"\bx", "1x", text)
            left, right = factors.replace("x", f" * {row['answer']}").split("=")
            assert eval(left) == eval(right)


def test_the_built_in_set_reads_as_problems(shipped):
    bad_rows = []
    problems = list(read_problems("demo", bad_rows=bad_rows))
    assert bad_rows == []
    assert [(p.id, p.prompt, p.answer) for p in problems] == [(r["unique_id"], r["problem"], r["answer"]) for r in shipped]
    assert problems[0].metadata.keys() == {"solution", "subject", "level", "language", "skeleton"}
