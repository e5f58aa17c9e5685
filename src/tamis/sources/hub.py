"""Datasets of the Hugging Face hub, and local folders laid out like one, through `datasets` (extra `data`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import InputError, MissingExtra
from tamis.sources.rows import Row, one_line, plain


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A name that `datasets` can load."""

    name: str  # owner/name, or a folder
    config: str  # "": the only one
    split: str


def read_hub(dataset: HubDataset) -> Iterator[Row]:
    """The rows of one split, streamed; pictures are left as they are stored.

    Raises:
        MissingExtra: `datasets` is not installed.
        InputError: the dataset, its configuration or its split cannot be loaded, or the connection broke.
    """
    library = _library(dataset)
    number = 0
    try:
        stream = library.load_dataset(dataset.name, dataset.config or None, split=dataset.split, streaming=True)
        for values in stream.decode(False) if stream.features else stream:
            number += 1
            yield Row(f"{dataset.name}[{dataset.split}]:{number}", plain(values))
    except Exception as error:  # whatever the library raises, it is about the name given or the way to the hub
        raise _cannot_load(dataset, error, number) from error


def hub_digest(dataset: HubDataset) -> str:
    """Name, configuration and split, and the hash of the data files' addresses, which hold the revision."""
    library = _library(dataset)
    try:
        revision = library.load_dataset_builder(dataset.name, dataset.config or None).hash
    except Exception as error:
        raise _cannot_load(dataset, error, 0) from error
    return f"huggingface:{dataset.name}:{dataset.config}:{dataset.split}@{revision}"


def _library(dataset: HubDataset) -> Any:
    try:
        import datasets
    except ImportError:
        if Path(dataset.name).is_dir():
            raise MissingExtra(f"the folder {dataset.name}, laid out like a dataset of the hub,", "data") from None
        what = f"{dataset.name!r} is no file here and no built-in set; as a dataset of the Hugging Face hub it"
        raise MissingExtra(what, "data") from None
    return datasets


def _cannot_load(dataset: HubDataset, error: Exception, number: int) -> InputError:
    if number:
        return InputError(f"{dataset.name} broke off after {number} rows ({one_line(error)})", "Run the same command again")
    local, said = Path(dataset.name).is_dir(), one_line(error)
    tried = f"the folder {dataset.name}" if local else f"{dataset.name!r} is no file here, no built-in set, and from the hub it"
    advice = "Name one of its files" if local else "Check the name and the connection, or give a file"
    if "onfig name is missing" in said:
        advice = f"Name one: {dataset.name}:CONFIG"
    elif "split" in said:
        advice = "Choose another with --split"
    return InputError(f"{tried} cannot be loaded ({said})", advice)
