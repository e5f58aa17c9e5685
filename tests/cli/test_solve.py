"""`tamis solve` as source document s2 has it: every mode, the files, and what bad input gets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from cli.commands import ANSWERS, PROBLEMS, rows
from inference.documented import YAML

SCRIPTED = ("--engine", "scripted", "--model-path", "script.json")
EVALUATE = ("solve", *SCRIPTED, "--evaluate", "--dataset", "math500.jsonl")


def read(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture
def says(place):
    """A script that says the same to all."""

    def write(*answers: str) -> tuple[str, ...]:
        Path("same.json").write_text(json.dumps({"answers": answers}, ensure_ascii=False), encoding="utf-8")
        return ("solve", "--engine", "scripted", "--model-path", "same.json")

    return write


def test_one_question(tamis, says):
    ran = tamis(*says("所以答案是 \\boxed{2}"), "--question", "求解方程: x^2 - 4x + 4 = 0", "--output", "one.json")
    assert ran.code == 0, ran.err
    assert "求解方程: x^2 - 4x + 4 = 0" in ran.out
    assert ran.out.endswith("所以答案是 \\boxed{2}\nanswer: 2\n")
    found = read("one.json")
    assert {"prompt", "response", "answer", "full_output"} <= found.keys()
    assert found["answer"] == "2"


def test_a_question_from_stdin_and_no_escape_codes_from_the_model(tamis, says, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("几加几?\n"))
    ran = tamis(*says("\x1b[31mred\x1b[0m \\boxed{1}"), "--question", "-")
    assert ran.code == 0, ran.err
    assert "几加几?" in ran.out
    assert "\x1b" not in ran.out


def test_several_answers_and_their_vote(tamis, says):
    ran = tamis(*says("\\boxed{2}", "\\boxed{3}", "\\boxed{2.0}"), "--question", "1 + 1?", "--num_return_sequences", 3)
    assert ran.out.endswith("\nvote: 2\n")
    assert ran.out.count("answer: ") == 3


def test_a_batch_of_lines(tamis, says):
    Path("input.txt").write_text("计算 1+2+3+...+100 的和\n\n解方程: 2x + 3 = 7\n", encoding="utf-8")
    command = (*says("答案是 \\boxed{5050}"), "--batch-input", "input.txt", "--output", "out/results.json")
    ran = tamis(*command)
    assert ran.code == 0, ran.err
    assert "input.txt: line 2 is empty and passed over" in ran.err
    found = read("out/results.json")
    assert [row["problem"] for row in found] == ["计算 1+2+3+...+100 的和", "解方程: 2x + 3 = 7"]
    assert [row["index"] for row in found] == [0, 1]
    assert all({"problem", "prompt", "response", "answer", "index"} <= row.keys() for row in found)
    assert "计算" in Path("out/results.json").read_text(encoding="utf-8")
    journal = Path("runs/input-same.json/samples.jsonl").read_bytes()
    assert tamis(*command, "--resume").code == 0
    assert read("out/results.json") == found
    assert Path("runs/input-same.json/samples.jsonl").read_bytes() == journal


def test_a_batch_of_rows_with_a_bad_one_and_a_failed_one(tamis, place):
    Path("in.jsonl").write_text('{"question": "1 + 1?", "id": "p1"}\n{"question": ""}\n{"question": "?", "id": "new"}\n')
    ran = tamis("solve", *SCRIPTED, "--batch-input", "in.jsonl", "--output", "results.json")
    assert ran.code == 3
    assert "in.jsonl:2: question: is empty" in ran.err
    first, second = read("results.json")
    assert (first["id"], first["answer"]) == ("p1", "2")
    assert (second["response"], second["answer"]) == (None, None)
    assert second["error"].startswith("engine: ")


def test_an_evaluation(tamis, place):
    ran = tamis(*EVALUATE, "--num-return-sequences", 3, "--output", "results.json", "--log-path", "log.txt")
    assert ran.code == 0, ran.err
    found = read("results.json")
    assert list(found)[:4] == ["accuracy", "correct", "total", "eval_time"]
    assert list(found)[-1] == "results"
    assert (found["accuracy"], found["correct"], found["total"]) == (1.0, 3, 3)
    assert found["vote"]["correct"] == 2  # 小明 gets 8 twice
    assert found["by_subject"]["Sums"]["total"] == 2
    assert list(found["by_level"]) == ["1", "2"]
    assert found["interval"][0] < 1 == found["interval"][1]
    assert [row["is_correct"] for row in found["results"]] == [True, True, True]
    assert found["results"][1]["vote_is_correct"] is False
    log = Path("log.txt").read_text(encoding="utf-8")
    assert log.count("=== problem") == 3
    assert all(row["prompt"] in log and all(text in log for text in row["responses"]) for row in found["results"])
    assert "vote of its answers" in ran.out
    assert "subject Sums" in ran.out


def test_what_was_not_graded_is_not_wrong(tamis, place):
    answers = {**ANSWERS, "p1": ["I do not know"]}
    del answers["p2"]  # fails
    Path("script.json").write_text(json.dumps({"answers": answers}))
    more = {"problem": "open?", "unique_id": "p3b"}
    Path("math500.jsonl").write_text("\n".join(map(json.dumps, [*PROBLEMS, more])))
    Path("script.json").write_text(json.dumps({"answers": {**answers, "p3b": ["\\boxed{1}"]}}))
    ran = tamis(*EVALUATE)
    assert ran.code == 3
    found = read("inference_results.json")
    assert (found["correct"], found["total"], found["num_problems"]) == (1, 2, 4)
    assert (found["extraction_failures"], found["errors"], found["unscored"]) == (1, 1, {"no_reference": 1})
    assert [row["is_correct"] for row in found["results"]] == [False, None, True, None]
    assert "math500.jsonl:2: engine: " in ran.err
    assert "1 without an answer (counted as wrong), 1 failed, 1 not graded (no_reference)" in ran.out


def test_an_own_metric(tamis, place):
    Path("mine.py").write_text(
        "def shares(problem, response, reference):\n"
        "    if reference == '7': raise ValueError('seven\\nis bad')\n"
        "    return None if 'frac' in response else len(response) > 10\n"
    )
    ran = tamis(*EVALUATE, "--metric", "mine.py:shares")
    assert ran.code == 3
    found = read("inference_results.json")
    assert found["accuracy"] == 1.0
    assert found["metric"]["scored"] == 1
    assert found["metric"]["mean"] == 1.0
    assert found["metric"]["reasons"] == {"ValueError: seven is bad": 1, "it said nothing": 1}
    assert [row["metric"] for row in found["results"]] == [1.0, None, None]
    assert "no metric: math500.jsonl:2: mine.py:shares: ValueError: seven is bad" in ran.err


def test_no_escape_codes_from_a_metric_or_a_dataset(tamis, says):
    Path("quotes.py").write_text("def quote(problem, response, reference):\n    raise ValueError(response * 100)\n")
    row = {"id": "p", "problem": "1 + 1?", "answer": "2", "subject": "\x1b]0;title\x07"}
    Path("escapes.jsonl").write_text(json.dumps(row))
    ran = tamis(*says("\x1b[2J\\boxed{2}"), "--evaluate", "--dataset", "escapes.jsonl", "--metric", "quotes.py:quote")
    assert ran.code == 3
    assert "\x1b" not in ran.out + ran.err
    assert max(map(len, ran.err.splitlines())) < 300
    Path("\x1b[2J.jsonl").write_text("{}")
    ran = tamis(*says("7"), "--evaluate", "--dataset", "\x1b[2J.jsonl")
    assert ran.code == 1
    assert "\x1b" not in ran.err


def test_models_vote(tamis, place):
    for name, answer in (("a", "2"), ("b", "3"), ("c", "3.0")):
        Path(f"{name}.json").write_text(json.dumps({"answers": [f"\\boxed{{{answer}}}"]}))
    command = (
        "solve",
        "--engine",
        "scripted",
        "--evaluate",
        "--dataset",
        "math500.jsonl",
        "--ensemble",
        "a.json,b.json,c.json",
    )
    ran = tamis(*command, "--metric", "builtins:len")
    assert ran.code == 3  # len takes one argument
    found = read("inference_results.json")
    assert [each["correct"] for each in found["models"]] == [1, 0, 0]
    assert (found["correct"], found["total"]) == (0, 3)
    first = found["results"][0]
    assert (first["model_answer"], first["votes"]) == ("3", {"3": 2.0, "2": 1.0})
    assert first["models"]["a.json"] == {"answer": "2", "is_correct": True}
    assert len(list(Path("runs").iterdir())) == 3
    assert "vote of 3 models" in ran.out
    assert [each["metric"]["unscored"] for each in found["models"]] == [3, 3, 3]
    assert "b.json: builtins:len: no value over 0 responses, 3 without: TypeError" in ran.out
    ran = tamis("compare-runs", "inference_results.json", "inference_results.json")
    assert "A is about the votes of the models" in ran.out


def test_a_member_that_is_not_there_is_told_before_the_others_draw(tamis, place):
    ran = tamis("solve", "--evaluate", "--dataset", "demo", "--ensemble", "embedded,./model")
    assert ran.code == 1
    assert "no model folder at: ./model" in ran.err
    assert not Path("runs").exists()


def test_the_documented_configuration_runs_here(tamis, place):
    Path("c.yaml").write_text(YAML, encoding="utf-8")
    ran = tamis(*EVALUATE, "--config", "c.yaml", "--max-samples", 2)
    assert ran.code == 0, ran.err
    assert read("inference_results.json")["total"] == 2
    assert Path("inference_log.txt").is_file()
    run = json.loads(next(Path("runs").glob("*/run.json")).read_bytes())
    assert (run["config"]["temperature"], run["config"]["top_k"], run["config"]["max_tokens"]) == (0.8, 50, 512)
    assert tamis(*EVALUATE, "--config", "c.yaml", "--temperature", 0, "--seed", 0, "--run", "mine").code == 0
    assert json.loads(Path("mine/run.json").read_bytes())["config"]["temperature"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--question", " "], 2, "the question is empty"),
        (["--question", "x", "--evaluate"], 2, "not allowed with"),
        (["--batch-input", "math500.jsonl"], 2, "--batch-input needs --output"),
        (["--batch-input", "no.txt", "--output", "x.json"], 1, "no such file: no.txt"),
        (["--question", "x", "--max-samples", "3"], 2, "--max-samples needs --evaluate"),
        (["--question", "x", "--run", "r"], 2, "--run needs --batch-input or --evaluate"),
        (["--evaluate", "--max-samples", "0"], 2, "0 is not 1 or more"),
        (["--evaluate", "--dataset", "math5000.jsonl"], 1, "no such file: math5000.jsonl"),
        (["--evaluate", "--dataset", "nothing"], 1, "no built-in set"),
        (["--evaluate", "--dataset", "folder", "--split", "dev"], 1, "Choose with --split one of: test"),
        (["--evaluate", "--output", "folder"], 2, "--output is a folder"),
        (["--evaluate", "--metric", "mine"], 2, "names no function"),
        (["--evaluate", "--metric", "no.py:f"], 2, "no such file: no.py"),
        (["--evaluate", "--metric", "nomodule:f"], 2, "there is no module nomodule"),
        (["--evaluate", "--metric", "bad.py:f"], 2, "bad.py cannot be loaded (ZeroDivisionError: "),
        (["--evaluate", "--metric", "math:sqrd"], 2, "math has no sqrd. Did you mean sqrt?"),
        (["--evaluate", "--metric", "math:pi"], 2, "is no function but a float"),
        (["--evaluate", "--ensemble", "a,a"], 2, "at least two models"),
        (["--evaluate", "--ensemble", "script.json"], 2, "at least two models"),
        (["--config", "no.yaml"], 1, "no such configuration: no.yaml"),
        (["--config", "typo.yaml"], 1, "typo.yaml:2: unknown key inference.tempreature (did you mean temperature?)"),
        (["--question", "x", "--temperature", "-1"], 2, "temperature is -1.0, expected"),
        (["--question", "x", "--min-p", "1"], 2, "min_p is 1.0, expected"),
        (["--question", "x", "--stop", ""], 2, "--stop is empty"),
    ],
)
def test_misuse_is_one_line(tamis, place, arguments, code, words):
    Path("typo.yaml").write_text("inference:\n  tempreature: 1\n")
    Path("bad.py").write_text("1 / 0\n")
    Path("folder").mkdir()
    Path("folder/test.jsonl").write_text(json.dumps(PROBLEMS[0]))
    ran = tamis("solve", *SCRIPTED, *arguments)
    assert ran.code == code, ran.err
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not Path("runs").exists()


def test_a_dry_run_touches_nothing(tamis, place):
    ran = tamis(*EVALUATE, "--dry-run")
    assert ran.code == 0
    assert ran.out.startswith("3 problems x 1 samples, at most 1536 tokens")
    assert not Path("runs").exists()


# --- two evaluations ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tamis, place):
    """B is right where A is, but for p2, and on p3."""
    for name, said in (("a", ["2", "7", "9"]), ("b", ["2", "8", "1/2"])):
        answers = {f"p{i}": [f"\\boxed{{{text}}}"] for i, text in enumerate(said, start=1)}
        Path(f"{name}.json").write_text(json.dumps({"answers": answers}))
        tamis("solve", "--engine", "scripted", "--model-path", f"{name}.json", "--evaluate", "--dataset", "math500.jsonl",
              "--output", f"out-{name}.json", "--run", f"run-{name}")  # fmt: skip
    return place


def test_evaluations_and_run_folders_are_compared_alike(tamis, two):
    found = []
    for number, pair in enumerate((("out-a.json", "out-b.json"), ("run-a", "run-b"), ("run-a", "out-b.json"))):
        ran = tamis("compare-runs", *pair, "--output", f"{number}.json")
        assert ran.code == 0, ran.err
        found.append(read(f"{number}.json"))
    assert found[0] == found[1] == found[2]
    assert found[0]["p_value"] == 1.0
    assert [row["id"] for row in found[0]["won"]] == ["p3"]
    assert [row["id"] for row in found[0]["lost"]] == ["p2"]
    assert found[0]["difference"]["value"] == 0
    assert "only A is right: 1, only B: 1; McNemar's exact test: p = 1\n" in ran.out
    assert tamis("compare_runs", "run-a", "run-b").code == 0


def test_a_run_that_was_stopped_is_judged_by_first_samples_alone(tamis, two):
    journal = Path("run-a/samples.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    tamis("solve", "--engine", "scripted", "--model-path", "a.json", "--evaluate", "--dataset", "math500.jsonl",
          "--run", "run-a", "-n", 2)  # fmt: skip
    second = journal.read_text().splitlines(keepends=True)[len(lines) :]
    journal.write_text("".join([*lines[1:], *second]))  # p1 has its second sample only
    ran = tamis("compare-runs", "run-a", "out-b.json", "--output", "c.json")
    assert ran.code == 0, ran.err
    assert [row["id"] for row in read("c.json")["ungraded"]] == ["p1"]


def test_best_files_match_by_text_and_what_is_missing_is_named(tamis, two):
    tamis(
        "infer", "--engine", "scripted", "--model-path", "a.json", "--dataset", "math500.jsonl", "--output-dir", "best", "-n", 1
    )
    best = next(Path("best").glob("*_best_*"))
    other = [{"question": row["question"], "correct": True} for row in rows(best)[:2]]
    Path("other.jsonl").write_text("\n".join(json.dumps(row) for row in [*other, {"question": "new", "correct": True}]))
    ran = tamis("compare-runs", best, "other.jsonl", "--output", "c.json")
    assert ran.code == 0, ran.err
    found = read("c.json")
    assert found["problems"] == 2
    assert [row["id"] for row in found["only_first"]] == ["p3"]
    assert [row["problem"] for row in found["only_second"]] == ["new"]


def test_bad_rows_are_named_and_the_rest_is_compared(tamis, two):
    whole = read("out-b.json")
    whole["results"][0]["is_correct"] = "yes"
    whole["results"].append(whole["results"][1])
    Path("odd.json").write_text(json.dumps(whole))
    ran = tamis("compare-runs", "out-a.json", "odd.json")
    assert ran.code == 3
    assert "odd.json: results[0]: is_correct: is not true, false or null" in ran.err
    assert "odd.json: id: 'p2' comes twice; the first counts" in ran.err
    assert "2 problems judged in both" in ran.out


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["nowhere", "out-b.json"], "no such file or run folder: nowhere"),
        (["out-a.json", "math500.jsonl"], "math500.jsonl holds no verdicts"),
        (["out-a.json", "elsewhere.jsonl"], "have no problem in common"),
        (["out-a.json", "ungraded.jsonl"], "ungraded.jsonl holds no verdicts"),
    ],
)
def test_what_cannot_be_compared(tamis, two, files, words):
    Path("elsewhere.jsonl").write_text(
        '{"id": "q", "question": "?", "correct": true}\n{"id": "p1", "question": "!", "correct": true}\n'
    )
    Path("ungraded.jsonl").write_text('{"id": "p1", "correct": null}\n')
    ran = tamis("compare-runs", *files)
    assert ran.code == 1
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
