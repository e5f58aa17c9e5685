"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
VECTORS = REPOSITORY / "tests" / "data" / "methods"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that lies beside a checkout of the developers and is not part of the repository."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data folder is not here: {folder}")
    return folder
