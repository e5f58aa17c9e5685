"""What the tests on a Ray cluster share: one of this machine, for two workers; without Ray they are skipped."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.commands import Ran
from counting.tokenizers_made import made
from summarising.inputs import rows, write

from tamis.cli import main

TESTS = Path(__file__).resolve().parent.parent

if importlib.util.find_spec("ray") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header() -> str:
    return "" if importlib.util.find_spec("ray") else "tests/on_ray: left out, Ray is not installed (make test-ray)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What Ray, torch and others warn of is theirs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """Started once; its workers can import the tests."""
    import ray

    from tamis.engines.ray import connect

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
        connect(4)
        yield
    ray.shutdown()


@pytest.fixture
def tamis(capsys, tmp_path, monkeypatch) -> Callable[..., Ran]:
    """The command, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> str:
    return made(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def big(tamis, tokenizer) -> str:
    """Files of several ranges, one of them with rows that cannot be used; and their tokenizer."""
    for name in "ab":
        path = write(Path(f"in/{name}.jsonl"), (row | {"n": "x" * 300} for row in rows(4000, 50, ord(name))))
    with path.open("ab") as file:
        file.write(b'{"torn\n' * 1100)
    return tokenizer
