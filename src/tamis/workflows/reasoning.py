"""One run of interleaved reasoning as it is asked for: its problems, its model, and what shapes what comes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tamis.bagel import read_checkpoint
from tamis.bagel.replicas import Opening
from tamis.bagel.settings import Interleaving
from tamis.config import EMBEDDED_INTERLEAVE
from tamis.errors import RunFolderError, UsageError
from tamis.records import Sampling
from tamis.records.traced import CANDIDATES_FOLDER
from tamis.score import FREE
from tamis.sources import BadRow, dataset_digest
from tamis.sources.interleaved import ImageOrder, InterleavedProblem, read_interleaved
from tamis.store import read_run_file
from tamis.store.configuration import differences
from tamis.store.files import decode, encode
from tamis.workflows.models import EMBEDDED_NAMES, model_digest, model_path, versions

METHODS = FREE
"""By which of several candidates one may be chosen: the confidence of its texts."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """One run of interleaved reasoning."""

    input: Path
    checkpoint: str
    weights: str = ""  # name of the file in the checkpoint's folder
    output_dir: Path = Path("output")
    resume: Path | None = None  # the folder of a run to go on with
    settings: Interleaving = field(default_factory=Interleaving)
    order: ImageOrder = "inline"
    is_restricted: bool = False  # pictures must lie beside the input or in the working directory
    start: int = 0
    end: int | None = None
    n: int = 1
    method: str = "self-certainty"
    seed: int = 42
    device: str = "auto"
    dtype: str = "auto"
    autoencoder_dtype: str = "float32"
    num_replicas: int = 1
    max_bytes: int | None = None  # of the model, on each device


def check_settings(config: Reasoning) -> None:
    """Raise UsageError where they cannot be."""
    config.settings.check()
    if config.checkpoint in EMBEDDED_NAMES - {EMBEDDED_INTERLEAVE}:
        raise UsageError(f"{config.checkpoint} does not draw", f"The embedded model that does is {EMBEDDED_INTERLEAVE}")
    if config.method not in METHODS:
        raise UsageError(f"--score: {config.method} is no score of token statistics", f"Use one of: {', '.join(METHODS)}")


@dataclass(frozen=True, slots=True)
class Check:
    """What a dry run finds."""

    num_rows: int
    num_pictures: int
    num_bytes: int  # of the checkpoint's tensors
    first: str


def check(config: Reasoning, bad_rows: list[BadRow]) -> Check:
    """Read all rows and the headers of the checkpoint's files, and look for all that the run would refuse.

    Raises:
        TamisError: As `interleaving.Session`, but for memory, torn bodies of files, and the rows of a run to go on with.
    """
    check_settings(config)
    if config.resume:
        check_same(config.resume, config)
    openings(config)
    checkpoint = read_checkpoint(model_path(config.checkpoint), config.weights)
    from tamis.bagel.checkpoint import check_numbers, check_with_model

    check_with_model(config.settings, checkpoint.shape, checkpoint.latent_rule)
    check_numbers(config.device, config.dtype, config.autoencoder_dtype)
    limit = checkpoint.shape.language.context
    num_rows = num_pictures = 0
    first = ""
    for problem in problems(config, bad_rows):
        texts = [item for item in problem.items if isinstance(item, str)]
        needed = checkpoint.num_positions(texts, len(problem.items) - len(texts), config.settings.system_prompt)
        if needed >= limit:
            bad_rows.append(BadRow(problem.where, "", f"the problem takes {needed} positions, and the model has {limit}"))
            continue
        first = first or "\n".join(item if isinstance(item, str) else f"[{item.path}]" for item in problem.items)
        num_rows += 1
        num_pictures += len(problem.images)
    return Check(num_rows, num_pictures, checkpoint.num_bytes, first)


def check_same(path: Path, config: Reasoning) -> None:
    """Refuse to go on with what is no run, or was begun under other settings.

    Raises:
        RunFolderError: With what is different.
    """
    record = read_run_file(path / CANDIDATES_FOLDER)
    if record is None:
        raise RunFolderError(f"nothing to resume: {path} holds no run", "Leave --resume out to start one")
    changes = ", ".join(differences(record["config"], decode(encode(identity(config)))))
    if changes:
        advice = "Give the settings as they were, or leave --resume out"
        raise RunFolderError(f"{path} was begun under other settings: {changes}", advice)


def problems(config: Reasoning, bad_rows: list[BadRow]) -> Iterator[InterleavedProblem]:
    """The problems of the slice."""
    return read_interleaved(
        config.input,
        order=config.order,
        start=config.start,
        end=config.end,
        is_restricted=config.is_restricted,
        bad_rows=bad_rows,
    )


def openings(config: Reasoning) -> list[Opening]:
    """Where the replicas of the model are.

    Raises:
        UsageError: There are not so many GPUs, or only one was named.
    """
    folder = Path(model_path(config.checkpoint))
    rest = (config.dtype, config.autoencoder_dtype, config.weights, config.max_bytes)
    if config.num_replicas == 1:
        return [Opening(folder, config.device, *rest)]
    if config.device == "cpu":
        return [Opening(folder, "cpu", *rest)] * config.num_replicas
    if config.device not in ("auto", "cuda"):
        raise UsageError(f"--num-gpus {config.num_replicas} and --device {config.device}", "Leave one of them out")
    import torch

    if config.num_replicas > (there := torch.cuda.device_count()):
        advice = "Give as many as there are" if there else "Leave it out, or try it with --device cpu"
        raise UsageError(f"--num-gpus is {config.num_replicas}, and there are {there} here", advice)
    return [Opening(folder, f"cuda:{index}", *rest) for index in range(config.num_replicas)]


def sampling(config: Reasoning) -> Sampling:
    """How texts are drawn."""
    return Sampling(config.settings.temperature, max_tokens=config.settings.max_tokens, seed=config.seed)


def identity(config: Reasoning) -> dict[str, Any]:
    """What shapes the candidates: a folder holds those of one identity. Rows may come and go, and `n` may grow."""
    settings = asdict(config.settings)
    for name in ("batch_size", "pack_tokens"):  # they change nothing
        del settings[name]
    return {
        "workflow": "interleave",
        "model": model_digest(model_path(config.checkpoint)),
        "weights": config.weights,
        "dtype": config.dtype,
        "autoencoder_dtype": config.autoencoder_dtype,
        **settings,
        "image_order": config.order,
        "seed": config.seed,
    }


def facts(config: Reasoning) -> dict[str, Any]:
    """What a reader of the run must know beside its identity."""
    return {
        "created": time.strftime("%Y%m%d_%H%M%S"),
        "input": str(config.input.resolve()),
        "input_digest": dataset_digest(str(config.input)),
        "model_path": str(model_path(config.checkpoint)),
        "batch_size": config.settings.batch_size,
        "versions": versions(),
    }
