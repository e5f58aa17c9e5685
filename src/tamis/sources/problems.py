"""Rows -> problems, one at a time, each with an id that no other has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tamis.errors import UsageError
from tamis.records import Problem
from tamis.sources.fields import BadField, Columns, build_problem
from tamis.sources.locate import dataset_rows, locate
from tamis.sources.rows import BadRow, Row, no_rows
from tamis.sources.seen import Seen


@dataclass(slots=True)
class Ids:
    """What a walk to its end found: `are_distinct`, no id came twice; None while nobody knows."""

    are_distinct: bool | None = None


def read_problems(
    dataset: str,
    *,
    split: str = "test",
    limit: int | None = None,
    fields: Mapping[str, str] | None = None,
    bad_rows: list[BadRow],
    ids: Ids | None = None,
) -> Iterator[Problem]:
    """Stream the problems of a dataset, at most `limit`, in the order of its rows.

    The id is the row's own, or `content_id`; a row without an id that repeats an earlier question gets `<id>-2`, `<id>-3`, ...
    by occurrence, so the ids do not depend on where in the file a row stands. A row that repeats the id of another is bad.

    Args:
        dataset: a built-in set, a file (.jsonl, .csv, .tsv, .txt, also .gz or .zst; .parquet), a folder of such files, or a
            dataset of the Hugging Face hub, `owner/name` or `owner/name:config`.
        split: which part of a folder or a hub dataset.
        limit: stop after this many problems; None is all.
        fields: own column names by role: `question`, `answer`, `id`, `images`. Other columns go to the metadata.
        bad_rows: rows that cannot be used are appended here; the rest goes on.
        ids: given again for the same rows, it spares the later walks the memory that telling ids apart takes.

    Raises:
        InputError: the dataset cannot be found or read, or none of its rows can be used.
        MissingExtra: the source needs packages of the extra `data`.
        UsageError: an unknown role in `fields`, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} problems leaves nothing to do", "Give at least 1")
    columns = Columns().named(fields)
    rows = dataset_rows(locate(dataset, split), bad_rows)
    return _problems(rows, dataset, limit, columns, bad_rows, ids or Ids())


def _problems(
    rows: Iterator[Row], dataset: str, limit: int | None, columns: Columns, bad_rows: list[BadRow], ids: Ids
) -> Iterator[Problem]:
    seen = Seen()
    repeats: dict[str, int] = {}
    first_bad, num_read = len(bad_rows), 0
    for row in rows:
        try:
            problem, id_column = build_problem(row, columns)
            given = problem.id
            is_repeated = given in seen
            if is_repeated:
                ids.are_distinct = False
            if is_repeated and id_column:
                raise BadField(id_column, f"the id {problem.id!r} was given to an earlier row")
        except BadField as bad:
            bad_rows.append(BadRow(row.where, bad.field, bad.reason))
            continue
        if is_repeated:
            repeats[given] = repeats.get(given, 1) + 1
            problem = replace(problem, id=f"{given}-{repeats[given]}")
        if not ids.are_distinct:
            seen.add(problem.id)
        num_read += 1
        yield problem
        if num_read == limit:
            break
    if ids.are_distinct is None:
        ids.are_distinct = True
    if not num_read:
        raise no_rows(dataset, bad_rows[first_bad:])
