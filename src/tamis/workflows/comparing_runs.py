"""Two evaluations side by side: the problems that both judged, who is right where, and whether it is more than chance."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import InputError
from tamis.grade import Grader
from tamis.prompts import problem_text
from tamis.sources import BadRow
from tamis.sources.files import DataFile
from tamis.sources.rows import read_rows
from tamis.summarise.paired import Paired, paired
from tamis.workflows.earlier import Earlier

_SHOWN = 80  # characters of a problem that are kept to name it by
_VERDICTS = ("is_correct", "correct")


@dataclass(frozen=True, slots=True)
class Judged:
    """What one evaluation says of one problem."""

    id: str  # "" where its file gives none
    text: bytes  # hash of the problem, blanks apart
    shown: str
    correct: bool | None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two evaluations."""

    path: Path
    what: str  # which answer of each problem it is about
    problems: list[Judged]
    bad_rows: list[BadRow]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a comparison of two sides finds; problems by what they are shown as."""

    numbers: Paired
    won: list[Judged]  # right in the second alone
    lost: list[Judged]
    only_first: list[Judged]
    only_second: list[Judged]
    ungraded: list[Judged]  # in one of them

    def to_json(self) -> dict[str, Any]:
        """As a plain dict."""
        n = self.numbers
        return {
            "problems": n.num_problems,
            "first": _interval(n.first),
            "second": _interval(n.second),
            "difference": _interval(n.difference),
            "p_value": n.p_value,
            "both_right": n.num_both,
            "both_wrong": n.num_neither,
            **{name: list(map(_named, getattr(self, name))) for name in _LISTS},
        }


_LISTS = ("won", "lost", "only_first", "only_second", "ungraded")


def _interval(found: Any) -> dict[str, Any]:
    return {"value": found.value, "interval": [found.low, found.high]}


def _named(problem: Judged) -> dict[str, str]:
    return {"id": problem.id, "problem": problem.shown}


def read_side(path: Path) -> Side:
    """The verdicts of a file of `solve --evaluate`, a best file, or a run folder, whose first samples are graded.

    Raises:
        InputError: It is nothing of these, or holds no verdicts.
    """
    bad_rows: list[BadRow] = []
    if path.is_dir():
        problems, what = asyncio.run(_of_run(path, bad_rows)), "the first samples"
    elif path.is_file():
        found = _results_of(path)
        rows = _listed(found, path) if found is not None else _lines(path, bad_rows)
        problems = [one for where, row in rows if (one := _judged(row, where, bad_rows))]
        what = _kind_of(found) if found is not None else "the chosen answers"
    else:
        raise InputError(f"no such file or run folder: {path}", "Check the path")
    problems = _without_repeats(problems, path, bad_rows)
    if not any(problem.correct is not None for problem in problems):
        why = f"; the first bad row is {bad_rows[0]}" if bad_rows else ""
        advice = "Give a file of tamis solve --evaluate, a best file of tamis infer, or a run folder with reference answers"
        raise InputError(f"{path} holds no verdicts{why}", advice)
    return Side(path, what, problems, bad_rows)


async def _of_run(path: Path, bad_rows: list[BadRow]) -> list[Judged]:
    earlier = Earlier(path)
    if earlier.is_rejection:
        raise InputError(f"{path} holds candidates of rejection sampling, which have no verdicts", "Give another run")
    judged = []
    async with Grader() as grader:
        for pool in earlier.drawn():
            first = next((sample for sample in pool.samples if not sample.index), None)  # a stopped run may lack it
            grade = await grader.grade(first, pool.problem.answer) if first else None
            judged.append(_one(pool.problem.id, problem_text(pool.problem), grade.correct if grade else None))
    bad_rows += earlier.bad_rows
    return judged


def _results_of(path: Path) -> list[Any] | None:
    """The `results` of a file that is one JSON object or list; None where it is lines of JSON."""
    with suppress(ValueError, RecursionError):
        whole = json.loads(path.read_bytes())
        found = whole.get("results") if isinstance(whole, dict) else whole
        if isinstance(found, list):
            return found
    return None


def _kind_of(rows: list[Any]) -> str:
    is_ensemble = any(isinstance(row, dict) and "models" in row for row in rows)
    return "the votes of the models" if is_ensemble else "the first answers"


def _listed(rows: list[Any], path: Path) -> Iterator[tuple[str, Any]]:
    return ((f"{path}: results[{place}]", row) for place, row in enumerate(rows))


def _lines(path: Path, bad_rows: list[BadRow]) -> Iterator[tuple[str, Any]]:
    file = DataFile.of(path)
    if file is None:
        raise InputError(f"{path}: the end of the name does not say what the file is", "Give a .json or a .jsonl file")
    return ((row.where, row.values) for row in read_rows([file], bad_rows))


def _judged(row: Any, where: str, bad_rows: list[BadRow]) -> Judged | None:
    """What a row says; None, and a bad row, where it says nothing."""
    values: Mapping[str, Any] = row if isinstance(row, dict) else {}
    verdict = next((name for name in _VERDICTS if name in values), None)
    text = next((values[name] for name in ("problem", "question", "prompt") if isinstance(values.get(name), str)), None)
    identity = values.get("id", values.get("unique_id"))
    if verdict is None:
        bad_rows.append(BadRow(where, "is_correct", f"there is no verdict ({' or '.join(_VERDICTS)})"))
    elif values[verdict] is not None and not isinstance(values[verdict], bool):
        bad_rows.append(BadRow(where, verdict, "is not true, false or null"))
    elif text is None and identity is None:
        bad_rows.append(BadRow(where, "id", "neither an id nor a problem"))
    else:
        return _one("" if identity is None else str(identity), text or "", values[verdict])
    return None


def _one(identity: str, text: str, correct: bool | None) -> Judged:  # noqa: FBT001 it is the value
    line = " ".join(text.split())
    digest = hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest() if line else b""
    return Judged(identity, digest, line[:_SHOWN], correct)


def _without_repeats(problems: list[Judged], path: Path, bad_rows: list[BadRow]) -> list[Judged]:
    seen: set[str] = set()
    kept = []
    for problem in problems:
        if problem.id and problem.id in seen:
            bad_rows.append(BadRow(str(path), "id", f"{problem.id!r} comes twice; the first counts"))
            continue
        seen.add(problem.id)
        kept.append(problem)
    return kept


def compare_sides(first: Side, second: Side) -> Difference:
    """Match the problems, by id, else by their text, and compare what both have graded. An id with another text is another.

    Raises:
        InputError: The two have no problem in common, or none that both have graded.
    """
    by_id = {problem.id: problem for problem in second.problems if problem.id}
    found = ((problem, by_id.get(problem.id)) for problem in first.problems)
    pairs = [(a, b) for a, b in found if b and (a.text == b.text or not (a.text and b.text))]
    taken = {id(problem) for pair in pairs for problem in pair}
    by_text: dict[bytes, list[Judged]] = {}
    for problem in second.problems:
        if id(problem) not in taken and problem.text:
            by_text.setdefault(problem.text, []).append(problem)
    left = (problem for problem in first.problems if id(problem) not in taken)
    pairs += [(problem, by_text[problem.text].pop(0)) for problem in left if by_text.get(problem.text)]
    if not pairs:
        raise InputError(f"{first.path} and {second.path} have no problem in common", "Compare two runs on the same dataset")
    taken = {id(problem) for pair in pairs for problem in pair}
    graded = [(a, b) for a, b in pairs if a.correct is not None and b.correct is not None]
    if not graded:
        raise InputError(f"no problem is graded in both {first.path} and {second.path}", "Evaluate on a set with references")
    return Difference(
        numbers=paired([bool(a.correct) for a, _ in graded], [bool(b.correct) for _, b in graded]),
        won=[b for a, b in graded if b.correct and not a.correct],
        lost=[a for a, b in graded if a.correct and not b.correct],
        only_first=[problem for problem in first.problems if id(problem) not in taken],
        only_second=[problem for problem in second.problems if id(problem) not in taken],
        ungraded=[a for a, b in pairs if a.correct is None or b.correct is None],
    )
