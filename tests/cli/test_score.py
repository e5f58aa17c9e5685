"""`score`: what is there is never asked for again, and what is learnt is used by every command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from cli.commands import ANSWERS, DRAWING, PROBLEMS, rows

from tamis.engines.scripted import ScriptedEngine
from tamis.records import Failure, Verdict
from tamis.workflows.earlier import Earlier

RUN = Path("runs/math500-script.json")
SCRIPT = ("--engine", "scripted", "--model-path", "script.json")
STATISTICS = {"logprob", "infer"}


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The keys of all questions that are asked, and of all samples that are read again."""
    keys: list[str] = []
    ask, read = ScriptedEngine.ask, ScriptedEngine.read

    async def counted_ask(self, groups):
        async for verdict in ask(self, groups):
            keys.append(f"asked {verdict.key}")
            yield verdict

    async def counted_read(self, readings):
        async for sample in read(self, readings):
            keys.append(f"read {sample.key}")
            yield sample

    monkeypatch.setattr(ScriptedEngine, "ask", counted_ask)
    monkeypatch.setattr(ScriptedEngine, "read", counted_read)
    return keys


@pytest.fixture
def elsewhere(place) -> Path:
    """A file of samples that nobody knows anything about."""
    lines = [{"question": p["problem"], "gold": p["answer"], "responses": ANSWERS[p["unique_id"]]} for p in PROBLEMS]
    Path("elsewhere.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return Path("elsewhere.jsonl")


def test_a_run_is_scored_once(tamis, place, asked):
    tamis("generate", *DRAWING, "-n", 4)
    ran = tamis("score", RUN, "--method", "self-eval,p-true,logprob")
    assert ran.code == 0, ran.err
    assert len(asked) == 24  # twelve samples, two questions; their statistics are there
    scores = rows(RUN / "scores" / "scores.jsonl")
    assert len(scores) == 12
    assert all(row["scores"].keys() == {"self-eval", "p-true", "logprob"} for row in scores)
    assert all(value is not None for row in scores for value in row["scores"].values())
    again = tamis("score", RUN, "--method", "self-eval,p-true,logprob")
    assert (again.code, again.out) == (ran.code, ran.out)
    assert len(asked) == 24
    assert rows(RUN / "scores" / "scores.jsonl") == scores


def test_more_samples_are_all_that_is_asked_for_later(tamis, place, asked):
    tamis("generate", *DRAWING, "-n", 2)
    tamis("score", RUN, "--method", "p-true")
    tamis("generate", *DRAWING, "-n", 4)
    tamis("score", RUN, "--method", "p-true")
    assert len(asked) == len(set(asked)) == 12


def test_what_was_learnt_is_in_the_table(tamis, place, asked):
    tamis("generate", *DRAWING, "-n", 4)
    tamis("score", RUN, "--method", "p-true")
    numbers = json.loads(tamis("compare", "--samples", RUN, "--method", "all", "--json").out)
    shown = {line["method"] for line in numbers["methods"]}
    assert {"p-true", "logprob"} <= shown
    assert shown.isdisjoint({"judge", "reward", "self-eval"})
    assert any("judge" in line for line in numbers["left_out"])
    candidates = tamis("generate", *DRAWING, "-n", 4).out.strip().split()[-1]
    assert json.loads(tamis("compare", "--samples", candidates, "--method", "all", "--json").out) == numbers


def test_foreign_samples_are_read_under_the_prompt_that_is_given(tamis, elsewhere, asked):
    assert tamis("evaluate", "--candidates", elsewhere).code == 2  # they have no statistics
    best = tamis("evaluate", "--candidates", elsewhere, *SCRIPT)
    assert best.code == 0, best.err
    assert len(asked) == 12
    numbers = json.loads(tamis("compare", "--samples", elsewhere, "--json").out)  # without a model: all is known by now
    assert {line["method"] for line in numbers["methods"]} >= STATISTICS
    assert len(asked) == 12
    other = ("score", elsewhere, *SCRIPT, "--prompt-template", "Solve: {problem}", "--method", "logprob")
    assert tamis(*other).code == 1  # what is known is of another prompt
    assert tamis(*other, "--fork").code == 0
    assert len(asked) == 24


def test_a_problem_that_cannot_be_read_does_not_stop_the_others(tamis, elsewhere, monkeypatch):
    read = ScriptedEngine.read

    async def forgetful(self, readings):
        async for sample in read(self, readings):
            is_first = "小明" not in sample.text and "1 + 1" in sample.text
            yield replace(sample, error=Failure("input", "too long")) if is_first or "3" in sample.text else sample

    monkeypatch.setattr(ScriptedEngine, "read", forgetful)
    ran = tamis("evaluate", "--candidates", elsewhere, *SCRIPT)
    assert ran.code == 3
    assert "too long" in ran.err
    assert len(rows(next(Path().glob("elsewhere_best_*.jsonl")))) == 3


def test_an_edited_candidate_loses_its_statistics(tamis, place):
    candidates = Path(tamis("generate", *DRAWING, "-n", 2).out.strip().split()[-1])
    candidates.write_text(candidates.read_text(encoding="utf-8").replace("boxed{3}", "boxed{33}"), encoding="utf-8")
    first = next(Earlier(candidates).drawn())
    assert [(sample.text, sample.stats is None) for sample in first.samples] == [
        ("Step 1: 1 + 1 = 2\nThe answer is \\boxed{2}", False),
        ("\\boxed{33}", True),
    ]


def test_readings_belong_to_one_prompt(tamis, elsewhere, asked):
    few = ("score", elsewhere, *SCRIPT, "--method", "logprob")
    assert tamis(*few, "--limit", 1).code == 0
    refused = tamis(*few, "--prompt-template", "Solve: {problem}")
    assert refused.code == 1
    assert "template" in refused.err
    assert tamis(*few, "--prompt-template", "Solve: {problem}", "--fork").code == 0


def test_the_one_who_is_named_is_the_one_who_is_heard(tamis, place):
    for name, said in (("a", "Score: 10"), ("b", "Score: 90")):
        Path(f"{name}.json").write_text(json.dumps({"answers": [said]}), encoding="utf-8")
    tamis("generate", *DRAWING, "-n", 2)

    def judged_by(name, *more):
        ran = tamis("score", RUN, "--method", "judge", "--judge-model", f"{name}.json", "--judge-engine", "scripted", *more)
        return ran.code, rows(RUN / "scores" / "scores.jsonl")[0]["scores"]["judge"]

    assert judged_by("a") == (0, 0.1)
    assert judged_by("b")[0] == 1
    assert judged_by("b", "--fork") == (0, 0.9)
    assert judged_by("a") == (0, 0.1)
    assert judged_by("b") == (0, 0.9)
    assert len(list((RUN / "scores").glob("judge*"))) == 2


def test_a_mistyped_judge_leaves_nothing_behind(tamis, place):
    tamis("generate", *DRAWING, "-n", 2)
    ran = tamis("score", RUN, "--method", "judge", "--judge-model", "nobody.json", "--judge-engine", "scripted")
    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1)
    assert not (RUN / "scores" / "judge").exists()


def test_more_judgements_are_drawn_when_more_are_wanted(tamis, place):
    Path("judge.json").write_text(json.dumps({"answers": ["Score: 10", "Score: 30"]}), encoding="utf-8")
    tamis("generate", *DRAWING, "-n", 2)
    values = []
    for repeats in (1, 2):
        judge = ("--judge-model", "judge.json", "--judge-engine", "scripted", "--judge-repeats", repeats)
        assert tamis("score", RUN, "--method", "judge", *judge).code == 0
        values.append(rows(RUN / "scores" / "scores.jsonl")[0]["scores"]["judge"])
    assert values == [0.1, 0.2]


def test_a_judge_is_heard_once_more_where_it_gives_no_score(tamis, place):
    replies = ["Good. Score: 80", "no idea"]
    Path("judge.json").write_text(json.dumps({"answers": replies}), encoding="utf-8")
    tamis("generate", *DRAWING, "-n", 4)
    judge = ("--judge-model", "judge.json", "--judge-engine", "scripted", "--judge-repeats", 2)
    ran = tamis("score", RUN, "--method", "judge", *judge)
    assert ran.code == 0, ran.err
    scores = rows(RUN / "scores" / "scores.jsonl")
    assert {row["scores"]["judge"] for row in scores} == {0.8}
    replies = rows(RUN / "scores" / "judge" / "replies" / "samples.jsonl")
    assert len(replies) == 12 * 3  # two judgements, and one more for that which says nothing
    table = tamis("evaluate", "--candidates", RUN, "--method", "judge")
    assert table.code == 0, table.err


def test_a_judge_that_never_gives_a_score_is_not_a_zero(tamis, place):
    Path("judge.json").write_text(json.dumps({"answers": ["Score: 101", "?"]}), encoding="utf-8")
    tamis("generate", *DRAWING, "-n", 2)
    ran = tamis("score", RUN, "--method", "judge", "--judge-model", "judge.json", "--judge-engine", "scripted")
    assert ran.code == 3
    assert "6 judge_failed" in ran.out
    row = rows(RUN / "scores" / "scores.jsonl")[0]
    assert (row["scores"], row["unscored"]) == ({"judge": None}, {"judge": "judge_failed"})


def test_infer_and_compare_ask_the_model_that_they_have(tamis, place, asked):
    ran = tamis("infer", *DRAWING, "-n", 4, "--method", "p-true")
    assert ran.code == 0, ran.err
    assert len(asked) == 12
    numbers = json.loads(tamis("compare", *DRAWING, "-n", 4, "--method", "baseline,p-true,usc", "--json").out)
    assert [line["method"] for line in numbers["methods"]].count("p-true") == 1
    assert len(asked) == 12


def test_a_model_that_has_no_opinion_is_no_misuse(tamis, place, monkeypatch):
    async def silent(self, groups):
        async for questions in groups:
            for question in questions:
                yield Verdict(question.key, (math.nan,) * len(question.parts))

    monkeypatch.setattr(ScriptedEngine, "ask", silent)
    ran = tamis("compare", *DRAWING, "-n", 4, "--method", "baseline,p-true")
    assert ran.code == 3
    assert "12 judge_failed" in ran.out


def test_a_named_method_that_nobody_can_score_is_refused(tamis, place):
    tamis("generate", *DRAWING, "-n", 2)
    for command in (("compare", "--samples", RUN), ("compare", *DRAWING)):
        ran = tamis(*command, "--method", "baseline,reward")
        assert ran.code == 2
        assert "--reward-model" in ran.err
