"""The built-in problems: small arithmetic in English and Chinese, with worked solutions.

Every problem has a *skeleton* - its family and its numbers, without names, things or language. The hash of
the skeleton alone decides on which side of the split a problem falls, so the test set cannot share a problem
with the training stream, whatever is reworded (`tests/demo/test_problems.py`).

    python -m tamis.demo.problems       # writes problems.jsonl, the test set that ships, anew
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tamis.demo import PROBLEMS_FILE

TEST_SHARE = 16  # one skeleton in 16 belongs to the test side
NUM_TEST_PROBLEMS = 240
TEST_SEED = 20261120


@dataclass(frozen=True, slots=True)
class DemoProblem:
    """One generated problem; the field names are those of MATH-500."""

    problem: str
    solution: str
    answer: str
    subject: str
    level: int
    language: str
    skeleton: str

    @property
    def is_test(self) -> bool:
        """Whether the skeleton falls on the test side of the split."""
        return hashlib.sha256(self.skeleton.encode()).digest()[0] % TEST_SHARE == 0


Family = Callable[[random.Random, str], DemoProblem]


def generate(rng: random.Random, *, test: bool, families: Sequence[Family] = ()) -> Iterator[DemoProblem]:
    """Yield problems of one side of the split for ever; the same generator state gives the same stream."""
    while True:
        language = rng.choice(("en", "zh"))
        problem = rng.choice(families or _FAMILIES)(rng, language)
        if problem.is_test == test:
            yield problem


def built_in_problems(
    num_problems: int = NUM_TEST_PROBLEMS, seed: int = TEST_SEED, families: Sequence[Family] = ()
) -> list[DemoProblem]:
    """A built-in test set: distinct skeletons, drawn from the test side."""
    chosen: dict[str, DemoProblem] = {}
    for problem in generate(random.Random(seed), test=True, families=families):
        chosen.setdefault(problem.skeleton, problem)
        if len(chosen) == num_problems:
            return list(chosen.values())
    raise AssertionError("the stream of problems is endless")


def write_problems(path: Path, families: Sequence[Family] = ()) -> None:
    """Write a built-in test set as JSONL with the columns of MATH-500, plus `language` and `skeleton`."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, problem in enumerate(built_in_problems(families=families), 1):
            row = {"unique_id": f"demo/{problem.skeleton.partition(' ')[0]}/{number:03}", **asdict(problem)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def finish(language: str, steps: list[str], answer: int) -> str:
    """A worked solution: numbered steps, then the answer in a box."""
    closing = "The answer is" if language == "en" else "答案是"
    lines = [f"Step {number}: {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"{closing} \\boxed{{{answer}}}"])


# --- word problems ---------------------------------------------------------------------------------------------

_NAMES = {
    "en": ["Tom", "Ann", "Raj", "Mei", "Leo", "Zoe", "Sam", "Ida"],
    "zh": ["小明", "小红", "小华", "小丽", "小军", "小芳"],
}
_THINGS = {"en": ["apples", "coins", "cards", "books", "pens", "shells"], "zh": ["苹果", "硬币", "卡片", "书", "铅笔", "贝壳"]}
_STORY = {
    "en": {
        "start": ["{n} has {a} {t}.", "There are {a} {t} in {n}'s box."],
        "+": ["{n} gets {b} more.", "A friend gives {n} {b}.", "{n} buys {b} more."],
        "-": ["{n} gives away {b}.", "{n} loses {b}.", "{n} sells {b}."],
        "*": ["Then the number becomes {b} times as large."],
        "/": ["Then the {t} are shared equally by {b} people, {n} being one."],
        "end": ["How many {t} does {n} have now?"],
    },
    "zh": {
        "start": ["{n}有{a}个{t}。", "{n}的盒子里有{a}个{t}。"],
        "+": ["{n}又得到{b}个。", "朋友给了{n}{b}个。", "{n}又买了{b}个。"],
        "-": ["{n}送出{b}个。", "{n}丢了{b}个。", "{n}卖掉{b}个。"],
        "*": ["然后数量变成原来的{b}倍。"],
        "/": ["然后平均分给{b}个人，{n}是其中一个。"],
        "end": ["{n}现在有多少个{t}？"],
    },
}


def _operand(rng: random.Random, value: int) -> tuple[str, int, int]:
    """One step from `value`: the operator, its right side and the result, kept between 1 and 200."""
    divisors = [d for d in range(2, 7) if value % d == 0 and value > d]
    choices = ["+", "-"] * 2 + ["*"] * (value <= 40) + ["/"] * bool(divisors)
    operator = rng.choice(choices)
    if operator == "-" and value < 3:
        operator = "+"
    if operator == "+":
        right = rng.randint(2, 40)
        return operator, right, value + right
    if operator == "-":
        right = rng.randint(1, min(40, value - 1))
        return operator, right, value - right
    if operator == "*":
        right = rng.randint(2, 5)
        return operator, right, value * right
    right = rng.choice(divisors)
    return operator, right, value // right


def _word_problem(rng: random.Random, language: str) -> DemoProblem:
    name, thing = rng.choice(_NAMES[language]), rng.choice(_THINGS[language])
    story = _STORY[language]
    num_steps = rng.randint(1, 4)
    value = start = rng.randint(3, 60)
    sentences, steps, skeleton = [rng.choice(story["start"]).format(n=name, a=start, t=thing)], [], [str(start)]
    for _ in range(num_steps):
        operator, right, result = _operand(rng, value)
        sentences.append(rng.choice(story[operator]).format(n=name, b=right, t=thing))
        steps.append(f"{value} {operator} {right} = {result}")
        skeleton.append(f"{operator}{right}")
        value = result
    sentences.append(story["end"][0].format(n=name, t=thing))
    text = (" " if language == "en" else "").join(sentences)
    return DemoProblem(
        problem=text,
        solution=finish(language, steps, value),
        answer=str(value),
        subject="Word Problems",
        level=num_steps,
        language=language,
        skeleton="word " + " ".join(skeleton),
    )


# --- order of operations ---------------------------------------------------------------------------------------

_ASK_VALUE = {"en": ["Compute {e}.", "What is {e}?"], "zh": ["计算：{e}。", "求 {e} 的值。"]}
_APPLY: dict[str, Callable[[int, int], int]] = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def _next_operator(tokens: list[int | str]) -> int:
    """Index of the operator to evaluate next: inside brackets first, then `*`, then from the left."""
    start, end = 0, len(tokens)
    if "(" in tokens:
        start, end = tokens.index("(") + 1, tokens.index(")")
    operators = [i for i in range(start, end) if isinstance(tokens[i], str)]
    return next((i for i in operators if tokens[i] == "*"), operators[0])


def _evaluate(tokens: list[int | str]) -> tuple[list[str], int]:
    """The worked steps and the value of a flat expression with at most one pair of brackets."""
    steps = []
    while len(tokens) > 1:
        i = _next_operator(tokens)
        left, operator, right = tokens[i - 1 : i + 2]
        assert isinstance(left, int)
        assert isinstance(operator, str)
        assert isinstance(right, int)
        value = _APPLY[operator](left, right)
        steps.append(f"{left} {operator} {right} = {value}")
        tokens = [*tokens[: i - 1], value, *tokens[i + 2 :]]
        if "(" in tokens and tokens.index(")") - tokens.index("(") == 2:
            opening = tokens.index("(")
            tokens = [*tokens[:opening], tokens[opening + 1], *tokens[opening + 3 :]]
    assert isinstance(tokens[0], int)
    return steps, tokens[0]


def _expression(rng: random.Random, language: str) -> DemoProblem:
    while True:
        num_operators = rng.randint(2, 4)
        tokens: list[int | str] = [rng.randint(2, 20)]
        for _ in range(num_operators):
            operator = rng.choice("+-*")
            tokens += [operator, rng.randint(2, 9) if operator == "*" else rng.randint(2, 20)]
        if rng.random() < 0.5:
            first = 2 * rng.randint(0, num_operators - 1)
            tokens = [*tokens[:first], "(", *tokens[first : first + 3], ")", *tokens[first + 3 :]]
        steps, value = _evaluate(tokens)
        if all(0 <= int(step.rsplit(" ", 1)[1]) <= 300 for step in steps):
            break
    text = " ".join(map(str, tokens)).replace("( ", "(").replace(" )", ")")
    return DemoProblem(
        problem=rng.choice(_ASK_VALUE[language]).format(e=text),
        solution=finish(language, steps, value),
        answer=str(value),
        subject="Order of Operations",
        level=num_operators,
        language=language,
        skeleton="expression " + text,
    )


# --- linear equations ------------------------------------------------------------------------------------------

_ASK_ROOT = {"en": ["Solve for x: {e}.", "Find x if {e}."], "zh": ["解方程：{e}。", "若 {e}，求 x。"]}


def _signed(value: int) -> str:
    return f"- {-value}" if value < 0 else f"+ {value}"


def _equation(rng: random.Random, language: str) -> DemoProblem:
    root, factor = rng.randint(2, 20), rng.randint(2, 9)
    constant = rng.choice((-1, 1)) * rng.randint(1, 30)
    left_only = rng.random() < 0.5
    other = 0 if left_only else rng.randint(1, factor - 1)  # coefficient of x on the right
    right = (factor - other) * root + constant
    right_term = str(right) if left_only else f"{other}x {_signed(right)}" if other > 1 else f"x {_signed(right)}"
    text = f"{factor}x {_signed(constant)} = {right_term}"
    rest, product = factor - other, (factor - other) * root
    steps = [] if left_only else [f"{factor}x - {other}x = {rest}x"]
    steps.append(f"{right} {_signed(-constant)} = {product}")
    if rest > 1:
        steps.append(f"{product} / {rest} = {root}")
    return DemoProblem(
        problem=rng.choice(_ASK_ROOT[language]).format(e=text),
        solution=finish(language, steps, root),
        answer=str(root),
        subject="Linear Equations",
        level=len(steps),
        language=language,
        skeleton="equation " + text,
    )


_FAMILIES: tuple[Family, ...] = (_word_problem, _expression, _equation)

if __name__ == "__main__":
    write_problems(PROBLEMS_FILE)
