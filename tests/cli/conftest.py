"""The whole command line, on a script instead of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.commands import ANSWERS, PROBLEMS, Ran
from cli.rejection import grader, images, seer  # noqa: F401 fixtures

from tamis.cli import main


@pytest.fixture
def tamis(capsys) -> Callable[..., Ran]:
    """Run a command as a user would; returns its exit code and what it printed."""

    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with problems and a script."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row, ensure_ascii=False) for row in PROBLEMS]
    Path("math500.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("script.json").write_text(json.dumps({"answers": ANSWERS}, ensure_ascii=False), encoding="utf-8")
    return tmp_path
