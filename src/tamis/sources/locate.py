"""What a dataset's name means: a built-in set, a file, a folder, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tamis.demo import PROBLEMS_FILE, REMAINDERS_FILE
from tamis.errors import InputError
from tamis.sources.files import READABLE, DataFile
from tamis.sources.hub import HubDataset, hub_digest, read_hub
from tamis.sources.rows import BadRow, Row, read_rows

BUILT_IN = {"demo": PROBLEMS_FILE, "remainders": REMAINDERS_FILE}
"""Sets that come with Tamis: they need no download."""

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(:\w[\w.-]*)?", re.ASCII)
_SPLIT = re.compile(r"(?<![a-z])(train|test|validation|valid|val|dev)(?![a-z])")
_FOLDER_FORMATS = ("jsonl", "csv", "tsv", "parquet")


@dataclass(frozen=True, slots=True)
class Files:
    """One file, or those of a folder, in order of name."""

    name: str
    files: tuple[DataFile, ...]


NO_SPLIT = "test"
"""What a split is called where none was asked for."""


def locate(dataset: str, split: str = NO_SPLIT) -> Files | HubDataset:
    """Say what `dataset` is, in this order: a built-in set, a file, a folder, a dataset of the hub (`owner/name[:config]`).

    A file called like a built-in set is reached as `./demo`. Of a folder whose file names carry splits
    (`test-00000-of-00001.parquet`) those of `split` are taken; one whose data lie deeper is left to `datasets`.

    Raises:
        InputError: it is nothing of these; the message says what was tried.
    """
    is_one_file = dataset in BUILT_IN or Path(dataset).is_file()
    if is_one_file and split != NO_SPLIT:
        raise InputError(f"{dataset} has no splits, so none is called {split!r}", "Leave --split out")
    if dataset in BUILT_IN:
        return Files(dataset, (DataFile(BUILT_IN[dataset], "jsonl"),))
    path = Path(dataset)
    if dataset and path.is_dir():
        return _locate_folder(path, split)
    if dataset and path.exists():
        return Files(dataset, (_data_file(path),))
    if DataFile.of(path) is None and _HUB_NAME.fullmatch(dataset):
        name, _, config = dataset.partition(":")
        return HubDataset(name, config, split)
    close = difflib.get_close_matches(dataset, BUILT_IN, 1)
    advice = f"Did you mean {close[0]!r}?" if close else "Check the path"
    if DataFile.of(path) is not None or "/" in dataset or "\\" in dataset:
        raise InputError(f"no such file: {dataset}", advice)
    sets = ", ".join(BUILT_IN)
    raise InputError(f"{dataset!r} is no file here, no built-in set ({sets}) and no hub name (owner/name)", advice)


def locate_files(path: str | Path) -> Files:
    """A file, or all data files of a folder.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        return Files(str(path), _data_files(path))
    if not path.exists():
        raise InputError(f"no such file: {path}", "Check the path")
    return Files(str(path), (_data_file(path),))


def _data_file(path: Path) -> DataFile:
    if found := DataFile.of(path):
        return found
    raise InputError(f"{path}: the end of the name does not say what the file is", f"Readable are {READABLE}")


def _data_files(folder: Path, pattern: str = "*") -> tuple[DataFile, ...]:
    found = [DataFile.of(path) for path in sorted(folder.glob(pattern)) if path.is_file() and ".json" not in path.suffixes]
    files = tuple(file for file in found if file and file.format in _FOLDER_FORMATS)
    if not files:
        raise InputError(f"the folder {folder} holds no data", "It needs .jsonl, .csv, .tsv or .parquet files")
    return files


def _locate_folder(folder: Path, split: str) -> Files | HubDataset:
    try:
        files = _data_files(folder)
    except InputError:
        _data_files(folder, "**/*")
        return HubDataset(str(folder), "", split)
    splits = [set(_SPLIT.findall(file.path.name.lower())) for file in files]
    if not any(splits):
        return Files(str(folder), files)
    if not all(splits):
        other = files[splits.index(set())].path.name
        raise InputError(f"{folder}: some files are named after a split and {other!r} is not", "Name one file instead")
    chosen = tuple(file for file, names in zip(files, splits, strict=True) if split in names)
    if not chosen:
        there = ", ".join(sorted(set().union(*splits)))
        raise InputError(f"{folder} has no files of the split {split!r}", f"Choose with --split one of: {there}")
    return Files(str(folder), chosen)


def dataset_rows(found: Files | HubDataset, bad_rows: list[BadRow]) -> Iterator[Row]:
    """The rows of what was located."""
    return read_hub(found) if isinstance(found, HubDataset) else read_rows(found.files, bad_rows)


def dataset_digest(dataset: str, *, split: str = "test") -> str:
    """A fingerprint of a dataset's content, for the facts of a run: `sha256:...` of the bytes, or the hub's name and revision.

    Raises:
        InputError: as `locate`.
    """
    found = locate(dataset, split)
    if isinstance(found, Files):
        paths = [file.path for file in found.files]
    elif (folder := Path(found.name)).is_dir():
        paths = [file.path for file in _data_files(folder, "**/*")]
    else:
        return hub_digest(found)
    digests = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})", "Check its permissions") from None
    if len(digests) > 1:
        names = [path.name for path in paths]
        digests = [hashlib.sha256("\n".join([*names, *digests]).encode()).hexdigest()]
    return f"sha256:{digests[0]}"
