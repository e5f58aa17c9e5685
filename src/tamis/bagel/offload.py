"""Where a GPU may not hold the whole model: the last layers stay in the memory of the host, and visit it in every pass."""

from __future__ import annotations

import importlib.util

import torch
from torch import nn

from tamis.bagel.weights import one_line_of_memory
from tamis.errors import EngineError, MissingExtra

_GIGABYTE = 1e9


def num_bytes(module: nn.Module, dtype: torch.dtype) -> int:
    """What its parameters take in these numbers."""
    return sum(parameter.numel() for parameter in module.parameters()) * dtype.itemsize


def num_kept(max_bytes: int, others: int, layer: int, num_layers: int) -> int:
    """How many layers a device keeps under a limit, beside what is always there; one more must fit that passes through.

    Raises:
        EngineError: Not even that fits.
    """
    if others + num_layers * layer <= max_bytes:
        return num_layers
    if (least := others + layer) > max_bytes:
        limit, needed = max_bytes / _GIGABYTE, least / _GIGABYTE
        message = f"the memory limit of {limit:.3g} GB is too small: {needed:.3g} GB are needed even if only one layer is there"
        raise EngineError(message, "Allow more for each GPU, or use bfloat16")
    return (max_bytes - least) // layer


def offload(whole: nn.Module, layers: nn.ModuleList, first: int, device: torch.device) -> None:
    """Bring a module from the host to a device, all but the layers from `first` on.

    Raises:
        MissingExtra: The package that brings the layers over is not installed.
        EngineError: The device has less memory than it was allowed to use.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtra("a model that is larger than its memory limit", "bagel")
    from accelerate import cpu_offload

    staying = {id(parameter) for layer in layers[first:] for parameter in layer.parameters()}
    with one_line_of_memory(device):
        for parameter in whole.parameters():
            if id(parameter) not in staying:
                parameter.data = parameter.data.to(device)
        for layer in layers[first:]:
            cpu_offload(layer, device)
