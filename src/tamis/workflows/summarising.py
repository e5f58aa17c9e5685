"""Graded generations, of any number of files or of a run folder -> statistics of each prompt (source document s1)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tamis.counting import TokenCounter, open_counter
from tamis.demo import MODEL_FOLDER
from tamis.errors import InputError, UsageError
from tamis.sources import BadRow
from tamis.sources.files import DataFile
from tamis.sources.generations import RANGE_BYTES, GenerationFields, find_generations, ranges
from tamis.summarise.overview import Overview, survey
from tamis.summarise.partial import Partial, Whole
from tamis.summarise.per_prompt import PromptSummary, summaries
from tamis.workflows.counting import RangeCounter, count_ranges

if TYPE_CHECKING:
    import polars

_LEAST_RANGE_BYTES = 1 << 20  # four ranges for each process, where they are not smaller than that
_FEW_BYTES = 2 << 20  # less is counted by `tokenizers` sooner than anything faster is loaded
_ALONE_BYTES = 8 << 20  # less is counted sooner than another process starts


@dataclass(frozen=True, slots=True)
class Summarising:
    """What to read and how to count."""

    path: Path  # a folder of files, a file, or a run folder
    pattern: str = "*.jsonl"
    model: str | None = None  # whose tokenizer counts; a run folder knows its counts
    fields: GenerationFields = field(default_factory=GenerationFields)
    num_proc: int | None = None  # None: the processors
    max_tokens: int | None = None  # see `RangeCounter`
    majority: bool = False  # look for the answer in each text
    on: Literal["here", "ray"] = "here"  # ray: processes are those of a cluster


@dataclass(slots=True)
class Counted:
    """How far counting is, for whoever looks at it."""

    num_bytes: int = 0
    of_bytes: int = 0  # 0: not known yet
    num_rows: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The statistics, and what is not in them."""

    config: Summarising
    whole: Whole
    overview: Overview
    bad_rows: list[BadRow]  # the first of them
    num_bad: int
    counted_by: str

    def __iter__(self) -> Iterator[PromptSummary]:
        return summaries(self.whole)


def summarise_inputs(config: Summarising, counted: Counted | None = None) -> Summary:
    """Read everything once, count, bring the rows of each prompt together.

    Args:
        config: What and how.
        counted: Kept up to date meanwhile.

    Raises:
        InputError: Nothing can be read, or no row can be used.
        UsageError: No model is given and the token counts are not known; or a run folder shall be read on Ray.
    """
    if (config.path / "run.json").is_file():
        if config.on == "ray":
            raise UsageError(f"{config.path} is a run folder, which is graded and counted here", "Leave --on ray out")
        from tamis.workflows.run_rows import count_run

        found, bad_rows = count_run(config.path)
        counted_by, names = "the run folder", [str(config.path)]
    else:
        files = find_generations(config.path, config.pattern)
        num_bytes = sum(file.path.stat().st_size for file in files)
        counter = _counter(config, few=num_bytes < _FEW_BYTES)
        found, bad_rows, counted_by = _count_files(files, config, counter, counted or Counted()), [], counter.how
        del counter  # its vocabulary takes some 100 MB
        names = [str(file.path) for file in files]
    whole = found.whole()
    num_bad = len(bad_rows) + whole.num_bad
    bad_rows += [BadRow(f"{names[number]}:{bad.line}", bad.field, bad.reason) for number, bad in whole.bad]
    if not whole.prompts:
        first = f"the first: {bad_rows[0]}" if bad_rows else "there is none"
        raise InputError(f"no row of {config.path} can be used; {first}", "Name the fields, see tamis summarise --help")
    return Summary(config, whole, survey(summaries(whole)), bad_rows, num_bad, counted_by)


def _counter(config: Summarising, *, few: bool) -> TokenCounter:
    if config.model is None:
        raise UsageError("no model is given, whose tokenizer would count", "Use --model-name-or-path FOLDER|NAME")
    return open_counter(str(MODEL_FOLDER) if config.model == "embedded" else config.model, few=few)


def _count_files(files: Sequence[DataFile], config: Summarising, counter: TokenCounter, counted: Counted) -> Partial:
    counted.of_bytes = sum(file.path.stat().st_size for file in files)
    num_proc = config.num_proc or os.cpu_count() or 1
    parts = list(ranges(files, min(RANGE_BYTES, max(_LEAST_RANGE_BYTES, counted.of_bytes // (4 * num_proc)))))
    count = RangeCounter(counter, config.fields, config.max_tokens, majority=config.majority)
    if config.on == "ray":
        from tamis.workflows.counting_on_ray import count_on_ray

        partials = count_on_ray(parts, count, config.num_proc)
    else:
        partials = count_ranges(parts, count, 1 if counted.of_bytes < _ALONE_BYTES else min(num_proc, len(parts)))
    num_bytes = {(part.number, part.start): part.num_bytes for part in parts}
    whole = Partial()
    for partial in partials:
        for block in partial.blocks:
            counted.num_bytes += num_bytes[block.place]
            counted.num_rows += len(block.rows)
        whole.merge(partial)
    return whole


# --- from Python -----------------------------------------------------------------------------------------------------


def summarise(
    path: str | Path,
    model: str | None = None,
    *,
    pattern: str = "*.jsonl",
    fields: Mapping[str, str] | None = None,
    num_proc: int | None = None,
    max_tokens: int | None = None,
    bad_rows: list[BadRow] | None = None,
    on: Literal["here", "ray"] = "here",
) -> polars.DataFrame:
    """Statistics of each prompt over all inputs, as a polars frame; what `tamis summarise` writes.

    Args:
        path: A folder of files, a file, or a run folder.
        model: Folder or hub name of the model whose tokenizer counts; a run folder needs none.
        pattern: Which files of the folder.
        fields: Other names of the columns, by the documented ones: prompt, gen, answer, accuracy.
        num_proc: Processes; None: the processors. With several, a script needs `if __name__ == "__main__":`.
        max_tokens: From how many tokens on a text of which nothing else is known counts as truncated.
        bad_rows: Rows that cannot be used are appended here, the first thousand of them; without it they are an error.
        on: "ray": the processes are those of a Ray cluster.

    Raises:
        InputError: Nothing can be read; or a row cannot be used and `bad_rows` is not given.
        UsageError: An unknown field, or no model where one is needed.
        MissingExtra: The packages of the extra `summarise` are not installed.
    """
    from tamis.workflows.summary_files import frame

    config = Summarising(Path(path), pattern, model, named_fields(fields or {}), num_proc, max_tokens, on=on)
    found = summarise_inputs(config)
    if bad_rows is not None:
        bad_rows += found.bad_rows
    elif found.bad_rows:
        reason = f"{found.num_bad} rows cannot be used; the first is {found.bad_rows[0]}"
        raise InputError(reason, "Give a list as bad_rows to go on without them")
    return frame(found)


def named_fields(names: Mapping[str, str]) -> GenerationFields:
    """Columns under the user's own names.

    Raises:
        UsageError: There is no such column.
    """
    for name in names:
        if name not in GenerationFields.__dataclass_fields__:
            known = ", ".join(GenerationFields.__dataclass_fields__)
            raise UsageError(f"unknown field {name!r}", f"Use one of: {known}")
    return GenerationFields(**names)
