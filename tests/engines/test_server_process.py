"""A server of our own as another process, played by the scripted server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tamis.engines.server_process import ServerProcess
from tamis.errors import EngineError

SERVE = """
import sys, threading
from tamis.engines.scripted_server import ScriptedServer
server = ScriptedServer(["Score: 90"], model="seer")
server.port = int(sys.argv[1])
print("up soon", flush=True)
with server:
    threading.Event().wait()
"""


def serve(port: int) -> list[str]:
    return [sys.executable, "-c", SERVE, str(port)]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_is_there_when_the_block_begins_and_gone_after_it(tmp_path):
    log = tmp_path / "logs" / "server.log"
    with ServerProcess(serve, log, start_s=60) as server:
        with urllib.request.urlopen(f"{server.base_url}/models") as answer:
            assert json.load(answer)["data"][0]["id"] == "seer"
        assert server.base_url.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{server.base_url}/models")
    assert "up soon" in log.read_text()


def test_one_that_dies_tells_its_last_words(tmp_path):
    died = [sys.executable, "-c", "print('loading', flush=True); raise SystemExit('CUDA out of\\tmemory')"]
    with pytest.raises(EngineError, match=r"has ended \(exit code 1\): .*CUDA out of memory\. See "):
        ServerProcess(lambda _: died, tmp_path / "server.log", start_s=60).__enter__()


def test_one_that_does_not_answer_is_ended(tmp_path):
    mute = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    with pytest.raises(EngineError, match="does not answer after 1 s"):
        ServerProcess(lambda _: mute, tmp_path / "server.log", start_s=1).__enter__()
    assert not is_running(int((tmp_path / "server.log").read_text()))


def test_one_that_does_not_want_to_end_is_killed_with_its_children(tmp_path):
    stubborn = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, flush=True)\n" + SERVE
    )
    log = tmp_path / "server.log"
    with ServerProcess(lambda port: [sys.executable, "-c", stubborn, str(port)], log, start_s=60, stop_s=0.2):
        pids = [int(word) for word in log.read_text().splitlines()[0].split()]
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(EngineError, match="cannot start no-such-program"):
        ServerProcess(lambda _: ["no-such-program"], tmp_path / "server.log").__enter__()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a server with its parent on Linux only")
def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path):
    parent = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tamis.engines.server_process import ServerProcess\n"
        "command = [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)']\n"
        "ServerProcess(lambda port: command, Path('server.log'), start_s=600).__enter__()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path)
    log, deadline = tmp_path / "server.log", time.monotonic() + 30
    while not (log.exists() and log.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(log.read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)
