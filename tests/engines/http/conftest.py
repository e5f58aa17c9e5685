"""What the tests of the HTTP engine share."""

from __future__ import annotations

import pytest

from tamis.engines.http import client


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch, tmp_path):
    """Pauses of milliseconds between attempts; no key and no `.env` of whoever runs the tests."""
    monkeypatch.setattr(client, "_FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(client, "_LONGEST_PAUSE_S", 0.02)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
