"""What all commands have in common: help, misuse, option spellings, interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.commands import DRAWING, rows

from tamis.cli import COMMANDS


def test_help_names_every_command(tamis):
    ran = tamis("--help")
    assert ran.code == 0
    assert all(f"  {name} " in ran.out for name in COMMANDS)
    assert tamis("--version").out.startswith("tamis ")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_has_an_example(tamis, name):
    ran = tamis(name, "--help")
    assert ran.code == 0
    assert "example:\n  tamis " in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inferr"], "did you mean infer"),
        (["infer", "--temprature", "1"], "did you mean --temperature"),
        (["infer", "--dataset", "demo"], "no model is given"),
        (["infer", "--model-path", "m", "--temperature", "-1"], "--temperature is -1"),
        (["infer", "--model-path", "m", "--top-p", "0"], "--top-p is 0"),
        (["infer", "--model-path", "m", "--num_return_sequences", "0"], "is not 1 or more"),
        (["infer", "--model-path", "m", "--dataset", "demo", "--alpha", "2"], "does not lie in [0, 1]"),
        (["infer", "--model-path", "m", "--prompt-template", "no place"], "no place for the problem"),
        (["infer", "--model-path", "m", "--prompt-template", "@nowhere"], "cannot read nowhere"),
        (["infer", "--model-path", "m", "--dataset", "demo", "--method", "coin"], "no method"),
        (["infer", "--model-path", "m", "--temperature", "nan"], "--temperature is nan"),
        (["demo", "--n", "0"], "is not 1 or more"),
        (["compare", "--samples", "x", "--report", "no/where.html"], "no file can be made at"),
        (["grade"], "--explain"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(tamis, place, arguments, words):
    ran = tamis(*arguments)
    assert ran.code == 2
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["infer", "--model-path", "./nowhere/model", "--dataset", "demo"], "nowhere/model"),
        (["infer", "--model-path", "embedded", "--dataset", "nowhere.jsonl"], "nowhere.jsonl"),
        (["infer", "--model-path", "embedded", "--dataset", "empty.jsonl"], "empty.jsonl"),
        (["evaluate", "--candidates", "nowhere.jsonl"], "nowhere.jsonl"),
        (["infer", "--engine", "scripted", "--model-path", "broken.json", "--dataset", "demo"], "broken.json"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(tamis, place, arguments, words):
    Path("empty.jsonl").write_text("")
    Path("broken.json").write_text("{")
    ran = tamis(*arguments)
    assert ran.code == 1
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_underscores_and_dashes_are_the_same(tamis, place):
    assert tamis("infer", *DRAWING, "--max_tokens", 64, "--num_return_sequences=2").code == 0
    assert tamis("infer", *DRAWING, "--max-tokens=64", "--num-return-sequences", 2, "--resume").code == 0


def _start(place: Path, delay_s: float) -> subprocess.Popen:
    script = Path("script.json").read_text(encoding="utf-8")
    Path("script.json").write_text(script[:-1] + f', "delay_s": {delay_s}}}', encoding="utf-8")
    command = [sys.executable, "-m", "tamis", "infer", *DRAWING, "-n", "4"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for_samples(place: Path, number: int) -> None:
    journal = place / "runs/math500-script.json/samples.jsonl"
    for _ in range(600):
        if journal.exists() and journal.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.05)
    pytest.fail("no samples came")


def _stable(path: Path) -> list:
    """The rows of a file without what takes time."""

    def strip(row: dict) -> dict:
        return {k: [strip(c) for c in v] if k == "candidates" else v for k, v in row.items() if k != "seconds"}

    return [strip(row) for row in rows(path)]


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_files(tamis, place, stop):
    process = _start(place, delay_s=2.0)
    _wait_for_samples(place, 2)
    process.send_signal(stop)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    if stop != signal.SIGKILL:
        assert process.returncode == 130
        assert time.monotonic() - began < 10
        assert len([line for line in err.splitlines() if "goes on from there" in line]) == 1
        assert "Traceback" not in err
    journal = place / "runs/math500-script.json/samples.jsonl"
    assert 2 <= journal.read_bytes().count(b"\n") < 12
    assert tamis("infer", *DRAWING, "-n", 4, "--resume").code == 0
    broken = {path.name.rsplit("_", 2)[0]: _stable(path) for path in Path("results").iterdir()}
    assert tamis("infer", *DRAWING, "-n", 4, "--run", "runs/unbroken", "--output-dir", "unbroken").code == 0
    whole = {path.name.rsplit("_", 2)[0]: _stable(path) for path in Path("unbroken").iterdir()}
    for name in whole:
        for row in [*whole[name], *broken[name]]:
            row.pop("tamis_run", None)
    assert broken == whole


def test_grade_explains_a_pair(tamis):
    ran = tamis("grade", "--explain", r"\frac{1}{2}", r"The answer is \boxed{0.5}")
    assert ran.code == 0
    assert "answer extracted: 0.5" in ran.out
    assert "equal, decided by: numeric" in ran.out


def test_doctor_runs(tamis):
    ran = tamis("doctor")
    assert ran.code == 0
    assert "grading   ok" in ran.out
    assert "Python" in ran.out


def test_grade_takes_negative_answers(tamis):
    ran = tamis("grade", "--explain", r"-\frac12", "-0.5")
    assert ran.code == 0
    assert "equal, decided by: numeric" in ran.out


def test_a_report_that_cannot_be_written_is_one_line(tamis, place):
    (place / "folder").mkdir()
    ran = tamis("compare", *DRAWING, "--report", "folder")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "folder" in ran.err.strip().splitlines()[-1]


def _drawn(lines, width):
    from io import StringIO

    from rich.console import Console

    from tamis.cli.tables import _table
    from tamis.summarise.results import Comparison, Health

    out = StringIO()
    Console(file=out, width=width).print(_table(Comparison(9, 4, lines, (), Health(36, 0, 0, 0, 0)), "[/b] title", width))
    return out.getvalue()


def _line(name, accuracy, **fields):
    from tamis.summarise.results import Calibration, Interval, MethodResult

    values = {"auroc": 0.75, "auroc_within": 0.7, "calibrated": Calibration(0.031, 0.2, 9, ()), **fields}
    return MethodResult(name, Interval(accuracy, 0.4, 0.6), Interval(-0.1, -0.2, 0.0), 9, 0, 12345.0, (), **values)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140])
def test_a_narrow_table_cuts_no_digit(width):
    out = _drawn([_line("filtered-deepconf-90", 0.5)], width)
    assert "…" not in out
    assert "0.5000" in out
    assert max(map(len, out.splitlines())) <= width
    assert all((name in out) == (width >= 120) for name in ("within", "ECE", "Brier", "0.031"))


def test_the_table_is_in_order_of_accuracy_between_one_sample_and_the_oracle():
    import math

    lines = [_line("oracle", 0.9), _line("b", 0.5), _line("lost", math.nan), _line("a", 0.6), _line("one sample", 0.7)]
    names = [row.split("  ")[0].strip() for row in _drawn(lines, 120).splitlines()]
    assert [name for name in names if name in ("oracle", "b", "lost", "a", "one sample")] == [
        "one sample",
        "a",
        "b",
        "lost",
        "oracle",
    ]


def test_columns_without_a_number_are_left_out():
    import math

    out = _drawn([_line("self-consistency", 0.5, auroc=math.nan, auroc_within=math.nan, calibrated=None)], 120)
    assert "tokens" in out
    assert not any(name in out for name in ("AUROC", "within", "ECE"))


def test_the_recommendation_stands_under_the_table_and_in_the_json(tamis, place):
    import json

    ran = tamis("compare", *DRAWING, "-n", 4, "--method", "self-consistency")
    (line,) = [line for line in ran.out.splitlines() if "too few problems (3) to tell methods apart" in line]
    assert ran.out.index("oracle") < ran.out.index(line)
    found = json.loads(tamis("compare", *DRAWING, "-n", 4, "--method", "self-consistency", "--resume", "--json").out)[
        "frontier"
    ]
    assert found["enough"]["method"] == "one sample" or found["budgets"][-1]["best"]["method"] in line
