"""Where problems come from, and samples made elsewhere: files, folders, built-in sets, Hugging Face datasets.

    locate  ->  rows  ->  fields  ->  problems, samples
    (a name)   (dicts)   (columns)    (records)

One bad row never stops the rest: it becomes a `BadRow` that names file, line and field.
"""

from __future__ import annotations

from tamis.sources.locate import BUILT_IN, dataset_digest
from tamis.sources.problems import Ids, read_problems
from tamis.sources.rows import BadRow
from tamis.sources.samples import read_samples

__all__ = ["BUILT_IN", "BadRow", "Ids", "dataset_digest", "read_problems", "read_samples"]
