"""What the model at hand does: measured, not assumed."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from tamis.engines.device import is_out_of_memory
from tamis.engines.hf.cache import SlotCache, prefill
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.step import Stepper
from tamis.errors import EngineError

CPU_ROWS = 32
MOST_ROWS = 256
PLANNED_CONTEXT = 4096  # positions a row is expected to need at most, where the model could hold more


def check_decoding(loaded: Loaded, stepper: Stepper) -> None:
    """Make sure that a step over slots gives what the model gives for the whole text.

    Raises:
        EngineError: The model's code treats masks, positions or caches in a way of its own.
    """
    rng = np.random.default_rng(0)
    texts = rng.integers(stepper.vocab_size, size=(2, 5))
    lengths = np.array([5, 3])
    try:
        plain = [
            loaded.model(input_ids=torch.from_numpy(text[None, :n]).to(loaded.device))
            for text, n in zip(texts, lengths, strict=True)
        ]
        expected = torch.stack([out.logits[0, -1].float() for out in plain])
        cache = SlotCache(2, stepper.num_layers)
        for slot, (text, length) in enumerate(zip(texts, lengths, strict=True)):
            cache.fill(slot, prefill(loaded.model, text[: length - 1].tolist(), loaded.device))
        got, _ = stepper(cache, texts[[0, 1], lengths - 1], lengths - 1)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _undecodable(loaded, str(error)) from error
    worst = difference(got, expected)
    if not worst <= tolerance(loaded.model.dtype):
        raise _undecodable(loaded, f"cached and plain logits differ by {worst:.2g} of their range")


def difference(got: Tensor, expected: Tensor) -> float:
    """The worst difference between logits (B, V), as a share of the range of their row."""
    got, expected = got.float(), expected.float()
    return float(((got - expected).abs().amax(-1) / (expected.amax(-1) - expected.amin(-1) + 1e-6)).max())


def tolerance(dtype: torch.dtype) -> float:
    """What precision alone may make of `difference`; a wrong mask or position makes far more."""
    return 1e-3 if dtype == torch.float32 else 0.1


def _undecodable(loaded: Loaded, what: str) -> EngineError:
    kind = loaded.model.config.model_type
    return EngineError(f"the hf engine cannot decode a model of type {kind}: {what.splitlines()[0]}", "Use another engine")


def automatic_batch_size(loaded: Loaded, stepper: Stepper) -> int:
    """A power of two: on a CPU up to 32 within a quarter of the machine's memory, on a GPU what the free memory holds."""
    sample = prefill(loaded.model, [0] * 8, loaded.device)
    position_bytes = sum(t.numel() * t.element_size() for t in (*sample.keys, *sample.values)) / 8
    row_bytes = position_bytes * min(loaded.context, PLANNED_CONTEXT) + 16 * stepper.vocab_size
    if loaded.device.type == "cuda":
        budget, most = 0.8 * torch.cuda.mem_get_info(loaded.device)[0], MOST_ROWS
    else:
        budget, most = 0.25 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), CPU_ROWS
    rows = max(1, min(most, int(budget / row_bytes)))
    return 1 << (rows.bit_length() - 1)


def same_bits(stepper: Stepper, fewer: int, all_rows: int) -> bool:
    """Whether a step of `fewer` rows gives each row exactly what a step of `all_rows` gives it."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(stepper.vocab_size, size=(4, all_rows))
    results = []
    for num_rows in (fewer, all_rows):
        cache = SlotCache(all_rows, stepper.num_layers)
        for position, line in enumerate(tokens):
            logits, _ = stepper(cache, line[:num_rows], np.full(num_rows, position))
        results.append(logits[:fewer])
    return torch.equal(*results)
