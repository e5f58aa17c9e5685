"""Tensors of a release folder, mapped into memory: which files hold them, whether all are there, and putting them in place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from tamis.bagel.config import AUTOENCODER_FILE, TensorShapes
from tamis.engines.device import is_out_of_memory
from tamis.engines.folders import shards
from tamis.errors import EngineError

WEIGHTS_FILES = ("ema.safetensors", "model.safetensors", "model_bf16.safetensors")
"""What releases call their one file, in the order in which they are looked for; failing these, the files that an index names,
failing that all other *.safetensors."""

_NUMBERS = ("F64", "F32", "F16", "BF16")
_SHOWN = 4
_GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """Tensors in one file, or spread over several (shards); `places` says in which each lies."""

    shapes: TensorShapes
    places: dict[str, Path]

    @property
    def named(self) -> str:
        """The files, for messages."""
        paths = sorted(set(self.places.values()))
        return str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"


def find_weights(folder: Path, name: str = "") -> TensorFiles:
    """The model's tensors in a folder: those of the file `name` when one is given.

    Raises:
        EngineError: They are not there, or cannot be read.
    """
    if not folder.is_dir():
        raise EngineError(f"no model folder at: {folder}", "Give the folder of a release, or embedded-interleave")
    there = sorted(path for path in folder.glob("*.safetensors") if path.name != AUTOENCODER_FILE)
    if name:
        if (path := folder / name) not in there:
            held = ", ".join(path.name for path in there) or "none"
            raise EngineError(f"no weights file {name} in the model folder {folder}; it holds: {held}", "Name one of these")
        return read_headers([path])
    for known in WEIGHTS_FILES:
        if folder / known in there:
            return read_headers([folder / known])
    indexes = sorted(folder.glob("*.safetensors.index.json"))
    if named := {path for index in indexes for path in shards(index, may_be_stale=True)} - {folder / AUTOENCODER_FILE}:
        return read_headers(sorted(named))
    if not there:
        names = ", ".join(WEIGHTS_FILES)
        raise EngineError(f"no weights in the model folder {folder} (looked for {names} and shards)", "Fetch the release whole")
    return read_headers(there)


def find_autoencoder(folder: Path) -> TensorFiles:
    """The autoencoder's tensors.

    Raises:
        EngineError: The file is not there, or cannot be read.
    """
    if not (folder / AUTOENCODER_FILE).is_file():
        raise EngineError(f"no {AUTOENCODER_FILE} in the model folder {folder}", "Fetch the release whole")
    return read_headers([folder / AUTOENCODER_FILE])


def read_headers(paths: Iterable[Path]) -> TensorFiles:
    """Names and shapes of all tensors of these files, of which only the headers are read.

    Raises:
        EngineError: A file is damaged or cannot be read, or two files hold the same tensor, or one is in integers or quantised.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    places: dict[str, Path] = {}
    for path in paths:
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118 - no dict
                if name in places:
                    raise EngineError(f"the tensor {name} lies in two files: {places[name]} and {path}", "Name one file")
                tensor = file.get_slice(name)
                if tensor.get_dtype() not in _NUMBERS:
                    message = f"{path}: the tensor {name} is in numbers that cannot be used here: {tensor.get_dtype()}"
                    raise EngineError(message, f"Use weights in one of: {', '.join(_NUMBERS)}")
                shapes[name], places[name] = tuple(tensor.get_shape()), path
    return TensorFiles(shapes, places)


def _opened(path: Path, device: str = "cpu") -> Any:
    try:
        return safe_open(path, framework="pt", device=device)
    except (OSError, SafetensorError) as error:
        raise EngineError(f"cannot read the weights {path}: {error}", "Fetch the file again") from None


def fill(module: nn.Module, files: TensorFiles, device: torch.device, dtype: torch.dtype) -> None:
    """Give a module that has shapes alone (on the device `meta`) its tensors; what the file has as wanted stays mapped.

    Raises:
        EngineError: Tensors are missing, or left over, or have another shape; or there is not enough memory.
    """
    wanted = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    _check(wanted, files)
    _check_memory(sum(parameter.numel() for parameter in module.parameters()), files, device, dtype)
    tensors = {}
    with one_line_of_memory(device):
        for path in sorted(set(files.places.values())):
            with _opened(path, str(device)) as file:
                for name in file.keys():  # noqa: SIM118 - no dict
                    tensors[name] = file.get_tensor(name).to(dtype)
    module.load_state_dict(tensors, assign=True)
    module.requires_grad_(requires_grad=False)


def _check(wanted: TensorShapes, files: TensorFiles) -> None:
    """Refuse a file that is not this model's, whole and alone."""
    found = files.shapes
    if missing := sorted(wanted.keys() - found.keys()):
        raise EngineError(f"the weights {files.named} lack {_listed(missing)}", "Fetch the release whole")
    if extra := sorted(found.keys() - wanted.keys()):
        raise EngineError(
            f"the weights {files.named} hold what the model has no place for: {_listed(extra)}", "Check the folder"
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise EngineError(
                f"the weights {files.named}: {name} is {list(found[name])}, and the configuration wants {list(shape)}",
                "Check the JSON files of the folder",
            )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''}: {', '.join(names[:_SHOWN])}{more}"


def _check_memory(count: int, files: TensorFiles, device: torch.device, dtype: torch.dtype) -> None:
    """Say before, and not in the middle of it, that a device cannot hold the weights."""
    needed, there = count * dtype.itemsize, memory_of(device)
    if needed > there:
        sizes = f"{needed / _GIGABYTE:.3g} GB as {dtype}, and {device} has {there / _GIGABYTE:.3g} GB".replace("torch.", "")
        raise EngineError(f"the weights {files.named} take {sizes}", "Use bfloat16, another device, or --max-mem-per-gpu")


@contextmanager
def one_line_of_memory(device: torch.device) -> Iterator[None]:
    """Say in one line that a device had no more memory for weights.

    Raises:
        EngineError: In the place of what torch raises.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        free = memory_of(device) / _GIGABYTE
        message = f"{device} has not enough memory for the weights ({free:.3g} GB are free now)"
        raise EngineError(message, "Use bfloat16, another device, or a smaller --max-mem-per-gpu") from None


def memory_of(device: torch.device) -> int:
    """Bytes that are free on a GPU; on a CPU those of the whole machine, for what is mapped makes others' pages give way."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
