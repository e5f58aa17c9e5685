"""Ranges of files -> their partial results, by workers on a Ray cluster that all see the files under the same paths."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tamis.engines.ray import connect
from tamis.errors import TamisError
from tamis.sources.generations import FileRange
from tamis.summarise.partial import Partial
from tamis.workflows.counting import RangeCounter


class _Counting:
    """One worker: it holds the tokenizer, and takes one range after another."""

    def __init__(self, count: RangeCounter) -> None:
        self._count = count

    def __call__(self, rows: Mapping[str, Sequence[bytes]]) -> Mapping[str, Any]:
        return {"found": np.array([pickle.dumps(self._of(pickle.loads(row))) for row in rows["part"]], object)}

    def _of(self, part: FileRange) -> Partial | TamisError:
        try:
            return self._count(part)
        except TamisError as error:  # as it is, not wrapped in one of Ray's
            return error


def count_on_ray(parts: Sequence[FileRange], count: RangeCounter, num_workers: int | None) -> Iterator[Partial]:
    """The partial result of each range, as they come; None: as many workers as the cluster has processors.

    What a worker that dies was counting is counted again.

    Raises:
        InputError: A file cannot be read.
        EngineError: There is no cluster.
    """
    connect(num_workers or 1)
    import ray
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    num_workers = min(len(parts), num_workers or int(ray.cluster_resources().get("CPU", 1)))
    rows = [{"part": pickle.dumps(_from_anywhere(part))} for part in parts]
    counted = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Counting, fn_constructor_args=(count,), batch_size=1, concurrency=num_workers, num_cpus=1
    )
    for row in counted.iter_rows():
        found = pickle.loads(row["found"])
        if isinstance(found, TamisError):
            raise found
        yield found


def _from_anywhere(part: FileRange) -> FileRange:
    """The same for a process that stands in another folder."""
    return part._replace(file=replace(part.file, path=part.file.path.resolve()))
