"""Fixtures of the unified model's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bagel.release import CHECKPOINT, open_release

from tamis.bagel.model import Model


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny release, to be changed."""
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "release"))


@pytest.fixture(scope="session")
def model() -> Model:
    """The tiny release in fp32; nobody changes it."""
    return open_release()
