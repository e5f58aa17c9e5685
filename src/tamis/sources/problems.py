"""Rows -> problems, one at a time, each with an id that no other has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tamis.errors import UsageError
from tamis.records import Problem
from tamis.sources.fields import BadField, Columns, build_problem
from tamis.sources.locate import dataset_rows, locate
from tamis.sources.rows import BadRow, Row, no_rows


def read_problems(
    dataset: str,
    *,
    split: str = "test",
    limit: int | None = None,
    fields: Mapping[str, str] | None = None,
    bad_rows: list[BadRow],
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

    Raises:
        InputError: the dataset cannot be found or read, or none of its rows can be used.
        MissingExtra: the source needs packages of the extra `data`.
        UsageError: an unknown role in `fields`, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} problems leaves nothing to do", "Give at least 1")
    columns = Columns().named(fields)
    rows = dataset_rows(locate(dataset, split), bad_rows)
    return _problems(rows, dataset, limit, columns, bad_rows)


def _problems(
    rows: Iterator[Row], dataset: str, limit: int | None, columns: Columns, bad_rows: list[BadRow]
) -> Iterator[Problem]:
    seen: set[int] = set()  # 64-bit hashes of ids: a million take about 70 MB less than the ids themselves would
    repeats: dict[int, int] = {}
    first_bad = len(bad_rows)
    for row in rows:
        try:
            problem, id_column = build_problem(row, columns)
            key = hash(problem.id)
            if key in seen and id_column:
                raise BadField(id_column, f"the id {problem.id!r} was given to an earlier row")
        except BadField as bad:
            bad_rows.append(BadRow(row.where, bad.field, bad.reason))
            continue
        if key in seen:
            repeats[key] = repeats.get(key, 1) + 1
            problem = replace(problem, id=f"{problem.id}-{repeats[key]}")
            seen.add(hash(problem.id))
        seen.add(key)
        yield problem
        if limit is not None:
            limit -= 1
            if not limit:
                return
    if not seen:
        raise no_rows(dataset, bad_rows[first_bad:])
