"""Problems x engine -> pools, in the order of the problems: the first half of every workflow that runs a model."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from tamis.config import EMBEDDED, Drawing
from tamis.demo import MODEL_FOLDER
from tamis.engines import open_engine
from tamis.engines.base import Engine
from tamis.errors import RunFolderError
from tamis.records import Pool, Problem, sample_keys
from tamis.sample import LazyEngine, Progress, sample_in_order
from tamis.sources import BUILT_IN, BadRow, dataset_digest, read_problems
from tamis.store import RunFolder, read_run_file

_SAMPLES_IN_FLIGHT = 1024  # one long answer holds back those after it; the batch must not run dry meanwhile
_DIGEST_EDGE = 1 << 20  # bytes of each end of a weights file that enter the model's digest


class Session:
    """One drawing: its problems, its run folder, its model, and what the command line shows of it.

    Attributes:
        num_problems: How many there are; they are read once when the session begins, which also finds all bad rows.
        bad_rows: The rows of the source that cannot be used, and the problems whose samples failed.
        progress: Counts that change while `pools` runs.
        folder: The run folder.
    """

    def __init__(self, config: Drawing) -> None:
        self.config = config
        self.bad_rows: list[BadRow] = []
        self.progress = Progress()
        self.num_problems = 0
        self._engine = LazyEngine(self._open_engine)
        path = run_path(config)
        exists = (path / "run.json").is_file()
        if config.resume and not exists:
            raise RunFolderError(f"nothing to resume: {path} holds no run", "Leave --resume out to start one there")
        folder = self._open_folder({}) if exists else None
        try:
            engine = self._engine.open().describe() if self._look_through(folder) else {}
            if folder is not None:
                _check_numerics(folder, engine)
        except BaseException:
            if folder is not None:
                folder.close()
            raise
        self.folder = folder or self._open_folder(engine)  # inputs or a model that do not load leave no folder behind

    def _look_through(self, folder: RunFolder | None) -> bool:
        """Count the problems and note the bad rows; whether any sample is owed."""
        is_owed = False
        for problem in read(self.config, self.bad_rows):
            self.num_problems += 1
            is_owed = is_owed or folder is None or any(key not in folder for key in self._keys(problem))
        return is_owed

    def _keys(self, problem: Problem) -> list[str]:
        sampling = self.config.sampling
        return sample_keys(problem.id, self.config.prompt(problem), sampling, range(sampling.n))

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
        config = self.config
        return open_engine(
            config.engine,
            str(model_path(config.model)),
            batch_size=config.batch_size,
            device=config.device,
            dtype=config.dtype,
            token_stats=config.token_stats != "none",
            trust_remote_code=config.trust_remote_code,
        )

    def problems(self) -> Iterator[Problem]:
        """The problems, read anew from their source."""
        return read(self.config, [])

    async def pools(self) -> AsyncGenerator[Pool, None]:
        """Each problem with all its samples, in order: drawn now where owed, from the journal where finished.

        Samples that fail are added to `bad_rows`, each reason once a problem.
        """
        walk = sample_in_order(
            self.problems,
            self._engine,
            self.config.sampling,
            self.folder,
            prompt=self.config.prompt,
            progress=self.progress,
            max_problems_in_flight=max(16, _SAMPLES_IN_FLIGHT // self.config.sampling.n),
        )
        async with aclosing(walk):
            async for pool in walk:
                reasons = dict.fromkeys(f"{s.error.boundary}: {s.error.message}" for s in pool.samples if s.error)
                self.bad_rows += [BadRow(pool.problem.where or pool.problem.id, "", reason) for reason in reasons]
                yield pool

    def close(self) -> None:
        """Free the model and release the folder."""
        self._engine.close()
        self.folder.close()


def _check_numerics(folder: RunFolder, engine: Mapping[str, Any]) -> None:
    """Refuse to go on with other arithmetic than the run began with: `auto` may mean another here."""
    began = folder.facts.get("engine") or engine
    both = [(name, began.get(name), engine.get(name)) for name in ("dtype", "device")]
    changes = [f"{name}: {before} -> {now}" for name, before, now in both if before != now]
    if engine and changes:
        advice = "Give --dtype and --device as they were, or name another folder with --run"
        raise RunFolderError(f"{folder.path} was drawn otherwise: {', '.join(changes)}", advice)


def run_path(config: Drawing) -> Path:
    """Where the run folder of a configuration is, or will be.

    By default the first of `runs/<dataset>-<model>`, `...-2`, ... that is free or holds samples of the same dataset.
    """
    if config.run is not None:
        return config.run
    first = Path("runs") / f"{dataset_name(config.dataset)}-{model_name(config.model)}"
    for number in count(1):
        path = first if number == 1 else first.with_name(f"{first.name}-{number}")
        record = read_run_file(path)
        if record is None or record.get("facts", {}).get("dataset") == _absolute(config.dataset):
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


def read(config: Drawing, bad_rows: list[BadRow]) -> Iterator[Problem]:
    """The problems of a configuration."""
    return read_problems(config.dataset, split=config.split, limit=config.limit, fields=config.fields, bad_rows=bad_rows)


def model_path(model: str) -> str | Path:
    """The folder of the embedded model for its name; anything else as it stands."""
    return MODEL_FOLDER if model == EMBEDDED else Path(model).expanduser() if model.startswith("~") else model


def model_name(model: str) -> str:
    """The last part of a folder or hub name, fit for a file name."""
    return re.sub(r"[^\w.-]+", "-", Path(model.rstrip("/")).name) or "model"


def dataset_name(dataset: str) -> str:
    """`HuggingFaceH4/MATH-500` and `data/math500.jsonl` -> `math500`."""
    stem = Path(dataset.rstrip("/")).name.split(".")[0]
    return re.sub(r"[^\w]+", "", stem).lower() or "problems"


def identity(config: Drawing) -> dict[str, Any]:
    """What shapes the samples: a run folder holds the samples of one identity. `n` and the data are free to grow."""
    return {
        "engine": config.engine,
        "model": model_digest(model_path(config.model)),
        "dtype": config.dtype,
        "template": config.prompt.template,
        "system": config.prompt.system,
        "chat_template": not config.prompt.raw,
        "token_stats": config.token_stats,
        **config.sampling.to_json(),
    }


def facts(config: Drawing) -> dict[str, Any]:
    """What a reader of the run must know beside its identity."""
    versions = {}
    for package in ("tamis", "torch", "transformers", "math-verify"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "created": time.strftime("%Y%m%d_%H%M%S"),
        "dataset": _absolute(config.dataset),
        "dataset_digest": dataset_digest(config.dataset, split=config.split),
        "split": config.split,
        "limit": config.limit,
        "fields": dict(config.fields),
        "n": config.sampling.n,
        "model_path": str(model_path(config.model)),
        "batch_size": config.batch_size,
        "versions": versions,
    }


def _absolute(dataset: str) -> str:
    """A path that is true from anywhere; names stay as they are."""
    return str(Path(dataset).resolve()) if dataset not in BUILT_IN and Path(dataset).exists() else dataset


def model_digest(model: str | Path) -> str:
    """A cheap fingerprint of a local model: of a folder its configuration, and name, size and both ends of each weights file.

    A hub name is its own fingerprint.
    """
    folder = Path(model)
    if folder.is_file():
        return hashlib.sha256(folder.read_bytes()).hexdigest()[:16]
    if not folder.is_dir():
        return str(model)
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_DIGEST_EDGE))
            file.seek(max(0, size - _DIGEST_EDGE))
            digest.update(file.read(_DIGEST_EDGE))
    return digest.hexdigest()[:16]
