"""What the tests against a real vLLM share; without one they are skipped."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tamis.demo import MODEL_FOLDER
from tamis.engines.server_process import ServerProcess
from tamis.engines.vllm.serving import serve_command

KEY = "key-of-the-tests"
SMALL = ("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager", "--disable-uvicorn-access-log")
CROWDED = ("--max-num-seqs", "32", "--max-num-batched-tokens", "64", "--block-size", "32", "--num-gpu-blocks-override", "40")
"""Prompts come in pieces, and 1,280 tokens are all that the memory holds: some samples must wait, and begin again."""

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # several models here would all take the first core

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header() -> str:
    return "" if importlib.util.find_spec("vllm") else "tests/on_vllm: left out, vLLM is not installed (make test-vllm)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What vLLM, torch and others warn of is theirs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 in fp32 with a small vocabulary."""
    from on_vllm import checkpoints

    return checkpoints.text_model(tmp_path_factory.mktemp("models") / "text")


@pytest.fixture(scope="session")
def large_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in bf16 whose vocabulary is worked through row by row."""
    from on_vllm import checkpoints

    return checkpoints.text_model(tmp_path_factory.mktemp("models") / "large", vocab_size=20_000, dtype="bfloat16")


@pytest.fixture(scope="module")
def engine(text_model: Path) -> Iterator[object]:
    """Eight rows at once, hidden states on."""
    from tamis.engines.vllm.engine import VLLMEngine

    made = VLLMEngine(text_model, batch_size=8, hidden_states=True)
    yield made
    made.close()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ServerProcess]]:
    """Start a server by its command, with settings in its environment, for all tests; its log lies in their folder."""
    with contextlib.ExitStack() as running:

        def begin(name: str, command: Callable[[int], Sequence[str]], **settings: str) -> ServerProcess:
            with pytest.MonkeyPatch.context() as patch:
                for variable in [name for name in os.environ if name.startswith("VLLM_")]:  # of engines in this process
                    patch.delenv(variable)
                settings |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
                for variable, value in settings.items():
                    patch.setenv(variable, value)
                log = tmp_path_factory.mktemp(name) / "server.log"
                return running.enter_context(ServerProcess(command, log, start_s=600.0))

        yield begin


@pytest.fixture(scope="session")
def server(start: Callable[..., ServerProcess]) -> ServerProcess:
    """The embedded model with our plug-in, behind a key."""
    flags = (*SMALL, *CROWDED, "--served-model-name", "small")
    return start("small", lambda port: serve_command(str(MODEL_FOLDER), port, flags), VLLM_API_KEY=KEY)


@pytest.fixture(scope="session")
def plain_server(start: Callable[..., ServerProcess], text_model: Path) -> ServerProcess:
    """A random model without our plug-in."""
    code = "import sys; from tamis.engines.vllm.serving import run_vllm; run_vllm(sys.argv[1:])"
    flags = ("--host", "127.0.0.1", "--served-model-name", "random", *SMALL)
    return start("plain", lambda port: [sys.executable, "-c", code, "serve", str(text_model), "--port", str(port), *flags])


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with eyes."""
    from on_vllm.seeing import vision_model

    return vision_model(tmp_path_factory.mktemp("models") / "vision")


@pytest.fixture(scope="session")
def vision_server(start: Callable[..., ServerProcess], vision_model: Path) -> ServerProcess:
    """The same, served with our plug-in."""
    flags = (*SMALL, "--served-model-name", "eyes", "--limit-mm-per-prompt", '{"image":2,"video":0}')
    return start("vision", lambda port: serve_command(str(vision_model), port, flags))
