"""The built-in remainders: what ships is what the generator makes, it is right, and the adapter was not trained on it."""

from __future__ import annotations

import json
import random
import re
from itertools import islice

import pytest

from tamis.demo import REMAINDERS_FILE
from tamis.demo.problems import generate, write_problems
from tamis.demo.remainders import remainder
from tamis.sources import read_problems

STEP = re.compile(r"Step (\d+): (\d+) ([-*]) (\d+) = (\d+)")


@pytest.fixture(scope="module")
def shipped():
    return [json.loads(line) for line in REMAINDERS_FILE.read_text(encoding="utf-8").splitlines()]


def test_the_shipped_file_is_what_the_generator_writes(tmp_path):
    write_problems(tmp_path / "again.jsonl", [remainder])
    assert (tmp_path / "again.jsonl").read_bytes() == REMAINDERS_FILE.read_bytes()


def test_every_solution_is_right(shipped):
    for row in shipped:
        dividend, divisor = map(int, row["skeleton"].split()[1:])
        assert [int(number) for number in re.findall(r"\d+", row["problem"])] == [dividend, divisor]
        *steps, closing = row["solution"].split("\n")
        rest = dividend
        for number, line in enumerate(steps, 1):
            step, left, operator, right, result = STEP.fullmatch(line).groups()
            assert int(step) == number
            if operator == "-":
                assert (int(left), int(left) - int(right)) == (rest, int(result))
                rest = int(result)
            else:
                assert (int(left), int(left) * int(right)) == (divisor, int(result))
        assert rest == int(row["answer"]) == dividend % divisor
        assert closing in (f"The answer is \\boxed{{{rest}}}", f"答案是 \\boxed{{{rest}}}")


def test_training_stream_and_test_set_share_no_skeleton(shipped):
    test = {row["skeleton"] for row in shipped}
    assert len(test) == len(shipped) >= 200
    trained = {problem.skeleton for problem in islice(generate(random.Random(0), test=False, families=[remainder]), 20_000)}
    assert not test & trained


def test_the_built_in_set_reads_as_problems(shipped):
    bad_rows = []
    problems = list(read_problems("remainders", bad_rows=bad_rows))
    assert bad_rows == []
    assert [(p.prompt, p.answer) for p in problems] == [(row["problem"], row["answer"]) for row in shipped]
