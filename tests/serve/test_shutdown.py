"""`tamis serve` as a process: it ends when it is told to, once all that it took is answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from serve.running import user


@pytest.fixture
def start(tmp_path) -> Iterator[object]:
    """Start the command on a free port; gives the process and where it is."""
    processes = []

    def begin(delay_s: float, *flags: str, **settings: str) -> tuple[subprocess.Popen[str], str]:
        script = tmp_path / "small.json"
        script.write_text(json.dumps({"answers": ["so \\boxed{7}"], "delay_s": delay_s}))
        command = [
            sys.executable,
            "-m",
            "tamis",
            "serve",
            "--engine",
            "scripted",
            "--model",
            str(script),
            "--port",
            "0",
            *flags,
        ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **settings}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
        processes.append(process)
        line = process.stderr.readline()
        assert line.startswith("small.json is served at http://127.0.0.1:"), line
        return process, line.split()[4].rstrip(";")

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def client_of(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_taken_is_answered_and_nothing_more_is_taken(start, number):
    process, url = start(4.0)
    found = []

    def ask(**options: object) -> None:
        with client_of(url) as client:
            found.append(client.chat.completions.create(model="small.json", messages=user("hi"), **options))

    def read_stream() -> None:
        with client_of(url) as client:
            chunks = client.chat.completions.create(model="small.json", messages=user("hi"), stream=True)
            found.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))

    threads = [threading.Thread(target=ask), threading.Thread(target=read_stream)]
    for thread in threads:
        thread.start()
    with client_of(url) as client:
        while "in_flight 2" not in client.get("/../metrics", cast_to=str):
            time.sleep(0.02)
        process.send_signal(number)
        while "closing" not in health(url):
            time.sleep(0.02)
        with pytest.raises(openai.InternalServerError, match="takes no more requests") as caught:
            client.chat.completions.create(model="small.json", messages=user("hi"))
    assert caught.value.status_code == 503
    for thread in threads:
        thread.join(60)
    assert process.wait(60) == 0
    (text,) = [one for one in found if isinstance(one, str)]
    (reply,) = [one for one in found if not isinstance(one, str)]
    assert text == reply.choices[0].message.content == "so \\boxed{7}"
    assert process.stderr.read() == ""


def test_a_second_signal_ends_it_at_once(start):
    process, url = start(3600.0)

    def ask() -> None:
        with client_of(url) as client, pytest.raises(openai.InternalServerError, match="the service ends"):
            client.chat.completions.create(model="small.json", messages=user("hi"))

    thread = threading.Thread(target=ask)
    thread.start()
    with client_of(url) as client:
        while "in_flight 1" not in client.get("/../metrics", cast_to=str):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        while "closing" not in health(url):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    thread.join(60)
    assert process.stderr.read() == "tamis serve: interrupted\n"


def health(url: str) -> str:
    with client_of(url) as client:
        try:
            return client.get("/../healthz", cast_to=str)
        except openai.InternalServerError as error:
            return error.response.text


def test_keys_from_a_file_and_the_environment(start, tmp_path):
    Path(tmp_path / "keys").write_text("one\n\n two \n")
    process, url = start(0.0, "--api-key-file", "keys", "--max-tokens-limit", "5", TAMIS_API_KEYS="three,four")
    for key in ("one", "two", "three", "four"):
        with client_of(url, key) as client:
            assert (
                client.chat.completions.create(model="small.json", messages=user("hi")).choices[0].message.content == "so \\b"
            )
    with client_of(url, "five") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    process.terminate()
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--host", "0.0.0.0"], "opens the service to other machines without a key"),
        (["--api-key-file", "nowhere"], "cannot read nowhere"),
        (["--api-key-file", "empty"], "holds no key"),
        (["--port", "70000"], "'70000' is not a port"),
        (["--model", "nowhere.json"], "cannot read the script"),
    ],
)
def test_what_cannot_be_served(flags, line, tmp_path, monkeypatch, capsys):
    from tamis.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMIS_API_KEYS", raising=False)
    Path("empty").write_text("\n")
    Path("s.json").write_text('{"answers": ["7"]}')
    assert main(["serve", "--engine", "scripted", "--model", "s.json", "--port", "0", *flags]) in (1, 2)
    out = capsys.readouterr()
    assert line in out.err
    assert out.err.count("\n") == 1
