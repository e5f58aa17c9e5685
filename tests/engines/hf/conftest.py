"""Fixtures of the hf engine's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from engines.hf import tiny_models

from tamis.engines.hf import HFEngine


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engine() -> Iterator[HFEngine]:
    """A tiny Qwen2 with tied embeddings, no chat template, 16 slots, hidden states on."""
    made = HFEngine(tiny_models.model_folder(), batch_size=16, device="cpu", hidden_states=True)
    yield made
    made.close()
