"""Problems x engine -> pools, in the order of the problems: the first half of every workflow that runs a model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from tamis.config import Drawing
from tamis.engines.base import Engine
from tamis.errors import RunFolderError
from tamis.grade import Grader
from tamis.identity import sample_keys
from tamis.prompts import PromptTemplate
from tamis.records import Pool, Problem
from tamis.sample import LazyEngine, Progress, pools, sample_in_order
from tamis.sources import BUILT_IN, BadRow, Ids, dataset_digest, read_problems
from tamis.store import RunFolder, read_run_file
from tamis.workflows.adapting import Adapting, Spent, adaptive_identity
from tamis.workflows.models import from_anywhere, model_identity, model_name, model_path, open_model, versions
from tamis.workflows.workers import open_workers

_SAMPLES_IN_FLIGHT = 1024  # one long answer holds back those after it; the batch must not run dry meanwhile


Watcher = Callable[[str, Progress, int], AbstractContextManager[object]]


class Session:
    """One drawing: its problems, its run folder, its model, and what the command line shows of it.

    Attributes:
        num_problems: How many there are; they are read once when the session begins, which also finds all bad rows.
        bad_rows: The rows of the source that cannot be used, and the problems whose samples failed.
        progress: Counts that change while `pools` runs.
        folder: The run folder.
        grader: Compares answers while they are drawn; whoever compares them again spares itself what it knows.
        spent: What adaptive sampling has taken.
        watch: Shows a stage that follows the drawing while it runs: its name, its counts, how many items it has.
    """

    watch: Watcher = staticmethod(lambda *_: nullcontext())

    def __init__(self, config: Drawing, engine: Engine | None = None) -> None:
        """Begin or go on; an `engine` that is given is used as it is, and stays open."""
        self.config = config
        self._given = engine
        self.bad_rows: list[BadRow] = []
        self.progress = Progress()
        self.num_problems = 0
        self.spent = Spent()
        self._ids = Ids()
        self.grader = Grader()
        self._adapting = Adapting(config.adaptive, config.sampling.n, self.grader) if config.adaptive else None
        self._engine = LazyEngine(self._open_engine)
        path = run_path(config)
        exists = (path / "run.json").is_file()
        if config.resume and not exists:
            raise RunFolderError(f"nothing to resume: {path} holds no run", "Leave --resume out to start one there")
        self._resumed = folder = self._open_folder({}) if exists else None
        try:
            described = self._engine.open().describe() if self._look_through(folder) else {}
        except BaseException:
            if folder is not None:
                folder.close()
            raise
        self.folder = folder or self._open_folder(described)  # inputs or a model that do not load leave no folder behind

    def _look_through(self, folder: RunFolder | None) -> bool:
        """Count the problems and note the bad rows; whether any sample is owed for certain."""
        is_owed = False
        for problem in read(self.config, self.bad_rows, self._ids):
            self.num_problems += 1
            is_owed = is_owed or folder is None or any(key not in folder for key in self._keys(problem))
        return is_owed

    def _keys(self, problem: Problem) -> list[str]:
        sampling = self.config.sampling
        num_certain = self._adapting.num_certain if self._adapting else sampling.n
        return sample_keys(problem.id, self.config.prompt(problem), sampling, range(num_certain))

    def _open_folder(self, engine: Mapping[str, Any]) -> RunFolder:
        config = self.config
        return RunFolder.open(
            run_path(config),
            identity(config),
            facts={**facts(config), "engine": dict(engine)},
            fork=config.fork,
            token_stats=config.token_stats,
        )

    def _open_engine(self) -> Engine:
        engine = self._given or self._open_own()
        if self._resumed is not None:
            try:
                check_numerics(self._resumed, engine.describe())
            except RunFolderError:
                if self._given is None:
                    engine.close()
                raise
        return engine

    def _open_own(self) -> Engine:
        config = self.config
        takes: dict[str, bool] = {"token_stats": config.token_stats != "none", "hidden_states": config.hidden_states}
        return open_workers(config, config.workers, **takes) if config.workers else open_model(config, **takes)

    @property
    def engine(self) -> LazyEngine:
        """The model, loaded when it is first needed."""
        return self._engine

    @property
    def num_certain(self) -> int | None:
        """How many samples each problem has whatever they say; None: all of them."""
        return self._adapting.num_certain if self._adapting else None

    def finished(self) -> Iterator[Pool]:
        """Each problem with those of its samples that are in the folder, in order; after adaptive drawing, those it needed."""
        for pool in pools(self.problems(), self.folder, self.config.sampling, prompt=self.config.prompt):
            num_needed = self.spent.needed.get(pool.samples[0].key) if pool.samples else None
            yield replace(pool, samples=pool.samples[:num_needed])

    def problems(self) -> Iterator[Problem]:
        """The problems, read anew from their source."""
        return read(self.config, [], self._ids)

    async def pools(self) -> AsyncGenerator[Pool, None]:
        """Each problem with all its samples, in order: drawn now where owed, from the journal where finished.

        Samples that fail are added to `bad_rows`, each reason once a problem.
        """
        num_at_once = self._adapting.num_certain if self._adapting else self.config.sampling.n
        walk = sample_in_order(
            self.problems,
            self._engine,
            self.config.sampling,
            self.folder,
            prompt=self.config.prompt,
            progress=self.progress,
            max_problems_in_flight=max(16, _SAMPLES_IN_FLIGHT // num_at_once),
            adaptive=self._adapting,
        )
        async with aclosing(walk):
            async for pool in walk:
                reasons = dict.fromkeys(f"{s.error.boundary}: {s.error.message}" for s in pool.samples if s.error)
                self.bad_rows += [BadRow(pool.problem.where or pool.problem.id, "", reason) for reason in reasons]
                if self._adapting:
                    self.spent.count(pool, self.config.sampling.n)
                yield pool

    def close(self) -> None:
        """Free the model unless it was given, end the grader's workers and release the folder."""
        if self._given is None:
            self._engine.close()
        self.grader.close()
        self.folder.close()


def check_numerics(
    folder: RunFolder,
    engine: Mapping[str, Any],
    advice: str = "Give --dtype and --device as they were, or name another folder with --run",
) -> None:
    """Refuse to go on with other arithmetic than the run began with: `auto` may mean another here."""
    began = folder.facts.get("engine") or engine
    both = [(name, began.get(name), engine.get(name)) for name in ("dtype", "device")]
    changes = [f"{name}: {before} -> {now}" for name, before, now in both if before != now]
    if engine and changes:
        raise RunFolderError(f"{folder.path} was drawn otherwise: {', '.join(changes)}", advice)


def run_path(config: Drawing) -> Path:
    """Where the run folder of a configuration is, or will be.

    By default the first of `runs/<dataset>-<model>`, `...-2`, ... that is free or holds samples of the same dataset under the
    same settings; to resume, under whatever settings. A folder that is named is never left for another.
    """
    if config.run is not None:
        return config.run
    same = json.loads(json.dumps(identity(config)))
    first = Path("runs") / f"{dataset_name(config.dataset)}-{model_name(config.model)}"
    for number in count(1):
        path = first if number == 1 else first.with_name(f"{first.name}-{number}")
        record = read_run_file(path)
        if record is None:
            return path
        if record.get("facts", {}).get("dataset") == _absolute(config.dataset) and (config.resume or record["config"] == same):
            return path
    raise AssertionError("the numbers do not end")


@dataclass(frozen=True, slots=True)
class Check:
    """What a dry run finds."""

    num_problems: int
    max_tokens: int  # that could be generated in all
    first_prompt: str
    run_path: Path
    bad_rows: Sequence[BadRow]


def check(config: Drawing) -> Check:
    """Read all inputs, fill the first prompt, touch nothing.

    Raises:
        InputError: The problems cannot be read.
    """
    bad_rows: list[BadRow] = []
    first, num_problems = "", 0
    for problem in read(config, bad_rows):
        first = first or config.prompt(problem).text
        num_problems += 1
    max_tokens = num_problems * config.sampling.n * config.sampling.max_tokens
    return Check(num_problems, max_tokens, first, run_path(config), bad_rows)


def read(config: Drawing, bad_rows: list[BadRow], ids: Ids | None = None) -> Iterator[Problem]:
    """The problems of a configuration; `ids` as in `read_problems`."""
    options: dict[str, Any] = {"split": config.split, "limit": config.limit, "fields": config.fields}
    return read_problems(config.dataset, **options, bad_rows=bad_rows, ids=ids)


def dataset_name(dataset: str) -> str:
    """`HuggingFaceH4/MATH-500` and `data/math500.jsonl` -> `math500`."""
    stem = Path(dataset.rstrip("/")).name.split(".")[0]
    return re.sub(r"[^\w]+", "", stem).lower() or "problems"


def identity(config: Drawing) -> dict[str, Any]:
    """What shapes the samples: a run folder holds the samples of one identity. `n` and the data are free to grow."""
    return {
        **model_identity(config),
        **prompt_identity(config.prompt),
        "token_stats": config.token_stats,
        **config.sampling.to_json(),
        **(adaptive_identity(config.adaptive) if config.adaptive else {}),
    }


def prompt_identity(prompt: PromptTemplate) -> dict[str, Any]:
    """What shapes the prompts."""
    return {"template": prompt.template, "system": prompt.system, "chat_template": not prompt.raw}


def facts(config: Drawing) -> dict[str, Any]:
    """What a reader of the run must know beside its identity."""
    return {
        "created": time.strftime("%Y%m%d_%H%M%S"),
        "dataset": _absolute(config.dataset),
        "dataset_digest": dataset_digest(config.dataset, split=config.split),
        "split": config.split,
        "limit": config.limit,
        "fields": dict(config.fields),
        "n": config.sampling.n,
        "model_path": str(model_path(config.model)),
        **({"base_model": base} if (base := from_anywhere(config).base_model) else {}),
        "batch_size": config.batch_size,
        "versions": versions(),
    }


def _absolute(dataset: str) -> str:
    """A path that is true from anywhere; names stay as they are."""
    return str(Path(dataset).resolve()) if dataset not in BUILT_IN and Path(dataset).exists() else dataset
