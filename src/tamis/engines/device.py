"""Where a model of torch computes."""

from __future__ import annotations

import torch

from tamis.errors import UsageError, first_line

_OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In the messages of errors that have no type of their own."""


def find_device(name: str) -> torch.device:
    """The device `name`; "auto" is a GPU where there is one.

    Raises:
        UsageError: It does not compute here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).tolist()  # a device that computes: `meta` does not
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device: {name} cannot be used here: {first_line(error)}", "Use auto, cpu or cuda") from error
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)
