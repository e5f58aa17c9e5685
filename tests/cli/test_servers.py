"""Commands over a server of OpenAI's protocol."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.commands import rows

from tamis.engines.scripted_server import Faults, ScriptedServer

PROBLEMS = ("--dataset", "math500.jsonl", "-n", 4, "--temperature", 0.8, "--max-tokens", 60)


def over(server: ScriptedServer) -> tuple[object, ...]:
    return ("--engine", "http", "--model-path", server.model, "--base-url", server.base_url, *PROBLEMS)


@pytest.fixture
def texts(place) -> list[str]:
    return ["so it is \\boxed{2}", "答案是 \\boxed{7}", "\\boxed{\\frac12}", "who knows"]


def test_infer_over_a_server_with_faults_and_a_key(tamis, place, texts, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    with ScriptedServer(texts, key="secret-key", faults=Faults(limited=0.2, reset=0.1)) as server:
        ran = tamis("infer", *over(server), "--method", "deepconf")
        assert ran.code == 0, ran.err
        samples = rows(next(Path("runs").glob("*/samples.jsonl")))
        assert len(samples) == len({row["key"] for row in samples}) == 12
        before = server.counts.num_requests
        assert tamis("infer", *over(server), "--method", "deepconf").code == 0
        assert server.counts.num_requests == before  # nothing is drawn twice
    written = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    assert b"secret-key" not in written
    assert "secret-key" not in ran.err + ran.out


def test_a_wrong_key_is_one_line(tamis, place, texts, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
    with ScriptedServer(texts, key="right") as server:
        ran = tamis("infer", *over(server))
    assert ran.code == 1
    assert "wrong-key" not in ran.err
    assert "Traceback" not in ran.err


def test_a_judge_may_have_a_server_of_its_own(tamis, place, texts, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY_JUDGE", "judge-key")
    with ScriptedServer(texts) as server, ScriptedServer(["Score: 70"], key="judge-key") as judge:
        asked = ("--judge-model", judge.model, "--judge-engine", "http", "--judge-base-url", judge.base_url)
        ran = tamis("compare", *over(server), "--method", "baseline,judge", *asked)
        assert ran.code == 0, ran.err
        assert judge.counts.num_requests >= 12
    scores = rows(next(Path("runs").glob("*/scores/judge/verdicts.jsonl")))
    assert {tuple(row["values"]) for row in scores} == {(0.7,)}
