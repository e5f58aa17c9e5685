"""Samples made elsewhere -> pools, for comparing methods without a model.

A row holds all samples of a problem (`samples: [...]`) or one (`response: "..."`). Rows of one problem need not stand
together: a first pass notes which row belongs to which problem, a second one gathers. Labels that came with the samples
(`correct`, `answer` of a sample, ...) are not looked at.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

from tamis.identity import content_id
from tamis.records import Pool, Problem
from tamis.sources.fields import BadField
from tamis.sources.locate import Files, locate_files
from tamis.sources.parts import Part, PartReader, foreign_samples, own_samples
from tamis.sources.rows import BadRow, Row, no_rows, read_rows


def read_samples(path: str | Path, *, fields: Mapping[str, str] | None = None, bad_rows: list[BadRow]) -> Iterator[Pool]:
    """Stream pools, in the order in which their problems first appear; indices count a problem's samples as they come.

    Rows belong together by id; by the question where there is no id, or where the ids turn out to name single samples (one
    sample a row, every id another, questions that repeat). A sample without text is a `Failure` at the boundary `input`.
    Files written by Tamis (`candidates`) keep their keys, seeds and settings.

    Args:
        path: a file or a folder of files, in any format that `read_problems` reads.
        fields: own column names by role: those of `read_problems`, `samples` (a list, or one text) and `text` (a text,
            in the row or in the objects of the list).
        bad_rows: rows that cannot be used are appended here; the rest goes on.

    Raises:
        InputError: nothing can be read or no row can be used.
        MissingExtra: the file needs packages of the extra `data`.
        UsageError: an unknown role in `fields`.
    """
    reader = PartReader(fields or {})
    found = locate_files(path)
    first_bad = len(bad_rows)
    plan = _first_pass(found, reader, bad_rows)
    if max(plan.pool_of_row, default=-1) < 0:
        raise no_rows(str(path), bad_rows[first_bad:])
    return _second_pass(found, reader, plan, bad_rows)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which row belongs to which pool."""

    pool_of_row: array[int]  # pools numbered in order of appearance; -1: a bad row
    by_question: bool  # the rows' ids name samples, not problems

    @property
    def adjacent(self) -> bool:
        """Whether the rows of each pool stand together."""
        numbers = (number for number in self.pool_of_row if number >= 0)
        return all(left <= right for left, right in pairwise(numbers))


def _first_pass(found: Files, reader: PartReader, bad_rows: list[BadRow]) -> _Plan:
    by_id, by_question = array("q"), array("q")
    ids: dict[int, int] = {}  # 64-bit hash -> number: the keys themselves could be long
    questions: dict[int, int] = {}
    num_rows, single = 0, True
    for row in read_rows(found.files, bad_rows):
        try:
            part = reader.part(row)
        except BadField as bad:
            bad_rows.append(BadRow(row.where, bad.field, bad.reason))
            by_id.append(-1)
            by_question.append(-1)
            continue
        num_rows += 1
        single = single and part.has_id and part.has_question and not part.many
        problem = part.problem
        by_id.append(ids.setdefault(hash((part.has_id, problem.id)), len(ids)))
        question = hash((problem.prompt, problem.messages, problem.images))
        by_question.append(questions.setdefault(question, len(questions)))
    ids_name_samples = single and len(ids) == num_rows > len(questions)
    return _Plan(by_question if ids_name_samples else by_id, ids_name_samples)


def _second_pass(found: Files, reader: PartReader, plan: _Plan, bad_rows: list[BadRow]) -> Iterator[Pool]:
    again = zip(plan.pool_of_row, read_rows(found.files, []), strict=False)  # the file may grow meanwhile
    numbered = ((number, row) for number, row in again if number >= 0)
    for rows in _together(numbered) if plan.adjacent else _gathered(numbered):
        yield _pool([reader.part(row) for row in rows], plan, bad_rows)


def _together(numbered: Iterator[tuple[int, Row]]) -> Iterator[list[Row]]:
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        yield [row for _, row in group]


def _gathered(numbered: Iterator[tuple[int, Row]]) -> Iterator[list[Row]]:
    """Rows that are strewn about, brought together through a temporary file: memory holds their places only."""
    numbers, starts = array("q"), array("q")
    with tempfile.TemporaryFile() as spool:
        for number, row in numbered:
            numbers.append(number)
            starts.append(spool.tell())
            spool.write(json.dumps(row).encode() + b"\n")
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        for _, group in groupby(order, key=numbers.__getitem__):
            rows = []
            for position in group:
                spool.seek(starts[position])
                rows.append(Row(*json.loads(spool.readline())))
            yield rows


def _pool(parts: Sequence[Part], plan: _Plan, bad_rows: list[BadRow]) -> Pool:
    problem = parts[0].problem
    entries = list(parts[0].entries)
    metadata = dict(problem.metadata)  # in the end, what all rows agree on
    for part in parts[1:]:
        other = part.problem
        if clash := _clash(problem, other):
            bad_rows.append(BadRow(other.where, clash, f"differs from {problem.where}, a row of the same problem"))
            continue
        entries += part.entries
        metadata = {key: value for key, value in metadata.items() if key in other.metadata and other.metadata[key] == value}
        problem = replace(
            problem,
            prompt=problem.prompt or other.prompt,
            messages=problem.messages or other.messages,
            images=problem.images or other.images,
            answer=other.answer if problem.answer is None else problem.answer,
        )
    identity = content_id(problem.prompt, problem.messages, problem.images) if plan.by_question else problem.id
    problem = replace(problem, id=identity, metadata=metadata)
    return Pool(problem, own_samples(problem, entries) or foreign_samples(problem, entries))


def _clash(problem: Problem, other: Problem) -> str | None:
    """The field in which two rows of one problem contradict each other."""
    fields = {"prompt": "question", "messages": "question", "images": "images", "answer": "answer"}
    for name, field in fields.items():
        left, right = getattr(problem, name), getattr(other, name)
        if left and right and left != right:
            return field
    return None
