"""`compare`: one pool, every method."""

from __future__ import annotations

import json
from pathlib import Path

from cli.commands import ANSWERS, DRAWING, PROBLEMS


def test_drawing_and_comparing(tamis, place):
    ran = tamis("compare", *DRAWING, "-n", 4, "--method", "all", "--report", "page.html")
    assert ran.code == 0, ran.err
    for name in ("one sample", "baseline", "self-consistency", "mean-self-certainty", "deepconf-tail", "oracle", "truncated"):
        assert name in ran.out
    page = Path("page.html").read_text(encoding="utf-8")
    assert "小明" in page


def test_a_run_folder_gives_the_same_table_as_drawing(tamis, place):
    drawn = json.loads(tamis("compare", *DRAWING, "-n", 4, "--json").out)
    read = json.loads(tamis("compare", "--samples", "runs/math500-script.json", "--json").out)
    assert drawn == read
    candidates = tamis("generate", *DRAWING, "-n", 4).out.strip().split()[-1]
    assert json.loads(tamis("compare", "--samples", candidates, "--json").out) == drawn


def test_samples_made_elsewhere_need_no_model(tamis, place):
    lines = [{"question": p["problem"], "gold": p["answer"], "responses": ANSWERS[p["unique_id"]]} for p in PROBLEMS]
    Path("elsewhere.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    numbers = json.loads(tamis("compare", "--samples", "elsewhere.jsonl", "--json").out)
    accuracy = {line["method"]: line["accuracy"]["value"] for line in numbers["methods"]}
    assert accuracy["self-consistency"] == 1.0
    assert abs(accuracy["one sample"] - 7 / 12) < 1e-12
    assert "self-certainty" not in accuracy
    assert any("mean-self-certainty" in line and "12 no_statistics" in line for line in numbers["left_out"])


def test_fields_of_any_name_are_read(tamis, place):
    many = [{"frage": p["problem"], "soll": p["answer"], "wahl": ANSWERS[p["unique_id"]]} for p in PROBLEMS]
    one = [{"frage": row["frage"], "soll": row["soll"], "ist": text} for row in many for text in row["wahl"]]
    shown = []
    for name, lines, field in (("many", many, ("--samples-field", "wahl")), ("one", one, ("--text-field", "ist"))):
        Path(f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        named = ("--problem-field", "frage", "--answer-field", "soll", *field)
        shown.append(json.loads(tamis("compare", "--samples", f"{name}.jsonl", *named, "--json").out))
    assert shown[0] == shown[1]
    assert shown[0]["health"]["num_samples"] == 12


def test_the_list_of_methods(tamis):
    ran = tamis("compare", "--list")
    assert ran.code == 0
    assert "self-consistency" in ran.out


def test_mistakes_are_one_line(tamis, place):
    cases = {
        ("compare", "--samples", "nowhere.jsonl"): 1,
        ("compare", *DRAWING, "--method", "self-certanty"): 2,
        ("compare", "--samples", "math500.jsonl"): 1,
        ("compare", *DRAWING, "--judge-temperature", "-1"): 2,
        ("compare", "--dataset", "math500.jsonl"): 2,
    }
    for arguments, code in cases.items():
        ran = tamis(*arguments)
        assert (ran.code, len(ran.err.strip().splitlines())) == (code, 1), ran.err
