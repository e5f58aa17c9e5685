"""A tokenizer, and the command."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cli.commands import Ran
from counting.tokenizers_made import made

from tamis.cli import main


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> str:
    return made(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def tamis(capsys) -> Callable[..., Ran]:
    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
