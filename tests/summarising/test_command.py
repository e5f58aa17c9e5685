"""`tamis summarise`, as documented and further."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import polars
import pytest
from summarising.inputs import DOCUMENTED, plainly, rows, write
from view.report_cases import Page

import tamis as package
from tamis.counting import open_counter
from tamis.errors import InputError, UsageError

OUTPUT = Path("summary/combined_accuracy_summary.json")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path: Path = OUTPUT) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_documented_example(tamis, place, tokenizer):
    Path("evals").mkdir()
    first, second = DOCUMENTED.splitlines(keepends=True)[:2], DOCUMENTED.splitlines(keepends=True)[2:]
    Path("evals/inference_part_1.jsonl").write_text("".join(first), encoding="utf-8")
    Path("evals/inference_part_2.jsonl").write_text("".join(second), encoding="utf-8")
    Path("evals/other.jsonl").write_text("not read\n")
    ran = tamis(
        "summarise", "--input_data_dir", "evals", "--input_file_pattern", "inference_*.jsonl", "--output_data_dir", "./summary",
        "--output_filename", "final_report.json", "--model_name_or_path", tokenizer, "--num_proc", 8,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = read(Path("summary/final_report.json"))
    assert found == plainly(map(json.loads, DOCUMENTED.splitlines()), open_counter(tokenizer).count_slowly)
    assert [(row["count"], row["average_accuracy"]) for row in found] == [(2, 0.5), (3, 1.0), (1, 1.0)]
    assert list(found[0]) == [
        "prompt", "answer", "count", "total_accuracy_count", "average_accuracy", "max_gen_length", "avg_gen_length",
        "gen_lengths",
    ]  # fmt: skip
    assert "3 prompts, 6 rows" in ran.out


def test_prompts_are_gathered_across_files_of_every_kind(tamis, place, tokenizer):
    values = rows(300, 7)
    write(Path("in/a.jsonl"), values[:100], end="\r\n")
    Path("in/b.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in values[100:200]).encode()))
    write(Path("in/c.jsonl"), values[200:])
    assert tamis("summarise", "--input-data-dir", "in", "--model", tokenizer).code == 0
    assert read() == plainly(values, open_counter(tokenizer).count_slowly)


def test_bad_rows_are_named_and_left_out(tamis, place, tokenizer):
    good = {"prompt": "p", "gen": "g", "answer": "a", "accuracy": 1}
    lines = [
        json.dumps(good), "", '{"prompt": "p", "gen": "torn', '{"gen": "g", "accuracy": 1}',
        json.dumps({**good, "accuracy": "high"}),
        '{"prompt": "p", "gen": "g", "accuracy": NaN}', json.dumps({**good, "gen": [1]}),
        json.dumps({**good, "accuracy": "0.5"}),
        json.dumps({**good, "accuracy": None}), "[1]", json.dumps({"prompt": "p", "gen": "g"}),
    ]  # fmt: skip
    Path("rows.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    ran = tamis("summarise", "--input-data-dir", "rows.jsonl", "--model", tokenizer)
    assert ran.code == 3
    assert read()[0]["count"] == 2
    expected = {
        3: "torn", 4: "prompt: is missing", 5: "'high'", 6: "NaN", 7: "gen: is a list", 9: "null", 10: "a list", 11: "accuracy",
        12: "UTF-8",
    }  # fmt: skip
    told = ran.err.strip().splitlines()
    assert len(told) == len(expected)
    for line, (number, words) in zip(told, expected.items(), strict=True):
        assert f"rows.jsonl:{number}: " in line
        assert words in line


def test_every_form_says_the_same(tamis, place, tokenizer):
    values = [*rows(200, 5), {"prompt": 'a "b",\nc', "gen": "x", "answer": {"n": 10**20}, "accuracy": 0}]
    write(Path("rows.jsonl"), values)
    for name in ("s.json", "s.csv", "s.parquet"):
        assert tamis("summarise", "--input-data-dir", "rows.jsonl", "--model", tokenizer, "--output-filename", name).code == 0
    found = read(Path("summary/s.json"))
    assert found == plainly(values, open_counter(tokenizer).count_slowly)
    table = polars.read_parquet("summary/s.parquet")
    assert table.equals(package.summarise("rows.jsonl", tokenizer))
    with Path("summary/s.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    for row, cell, typed in zip(found, cells, table.to_dicts(), strict=True):
        for name, value in row.items():
            if name != "answer":
                assert typed[name] == value
                assert cell[name] == (value if isinstance(value, str) else str(value).replace(" ", ""))
    assert json.loads(cells[-1]["answer"]) == {"n": 10**20}


def test_prompts_worth_training_on(tamis, place, tokenizer):
    values = [
        {"prompt": prompt, "gen": "g", "answer": "1", "accuracy": accuracy}
        for prompt, accuracies in (("Hard", (0, 0)), ("What  is x?", (0, 1)), ("what is X?", (1, 0)), ("Easy", (1, 1)))
        for accuracy in accuracies
    ]
    write(Path("rows.jsonl"), values)
    ran = tamis("summarise", "--input-data-dir", "rows.jsonl", "--model", tokenizer, "--keep", "0.1:0.9")
    assert "prompts: 2 of 4" in ran.out
    tamis("summarise", "--input-data-dir", "rows.jsonl", "--model", tokenizer, "--keep", "0.5:1", "--dedupe")
    kept = [json.loads(line) for line in Path("summary/prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in kept] == ["What  is x?", "Easy"]
    assert kept[0] == {"prompt": "What  is x?", "answer": "1", "average_accuracy": 0.5, "count": 2}


def test_the_report_is_one_page_that_hostile_texts_do_not_break(tamis, place, tokenizer):
    hostile = "<script>alert(1)</script>{0}\u202e"
    texts = [("\\boxed{1}", 1), ("\\boxed{2}", 0), ("\\boxed{2}", 0), ("none", 0)]
    values = [{"prompt": f"{hostile} {n}", "gen": text, "answer": "1", "accuracy": a} for n in range(3) for text, a in texts]
    write(Path("rows.jsonl"), [*values, {"prompt": hostile}])
    ran = tamis("summarise", "--input-data-dir", "rows.jsonl", "--model", tokenizer, "--report", "r.html", "--max-tokens", 2)
    assert ran.code == 3
    page = Path("r.html").read_text(encoding="utf-8")
    Page(page)
    assert page.count("<script>") == 1
    assert "pass@1 0.2500  pass@2 0.5000  pass@4 1.0000" in ran.out
    assert "maj@1 0.2500" in ran.out
    assert "maj@4 0.0000" in ran.out
    assert "truncated: 12 of 12; repeated texts: 3" in ran.out
    for words in ("How hard the prompts are", "What more samples are worth", "Length and correctness", "hardest"):
        assert words in page


def test_other_names_of_fields(tamis, place, tokenizer):
    write(Path("rows.jsonl"), [{"question": "q", "response": "r", "gold": 3, "correct": True, "finish_reason": "length"}])
    names = ("--prompt-field", "question", "--gen_field", "response", "--answer-field", "gold", "--accuracy-field", "correct")
    ran = tamis("summarise", "--input-data-dir", "rows.jsonl", "--model", tokenizer, *names)
    assert (ran.code, read()[0]["answer"], read()[0]["total_accuracy_count"]) == (0, 3, 1.0)
    assert "truncated: 1 of 1" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no model is given"),
        (("--model", "./nowhere"), 1, "no such folder"),
        (("--model", "MODEL", "--input-data-dir", "empty"), 1, "matches *.jsonl"),
        (("--model", "MODEL", "--input-data-dir", "empty.jsonl"), 1, "no row of empty.jsonl can be used"),
        (("--model", "MODEL", "--input-data-dir", "list.jsonl"), 1, "not one JSON object a line"),
        (("--model", "MODEL", "--output-filename", "s.txt"), 2, "unknown ending"),
        (("--model", "MODEL", "--keep", "0.9:0.1"), 2, "LOW:HIGH"),
        (("--model", "MODEL", "--keep", "nan:1"), 2, "LOW:HIGH"),
        (("--model", "MODEL", "--prompts-output", "p"), 2, "no effect alone"),
        (("--model", "MODEL", "--num-proc", "0"), 2, "is not 1 or more"),
    ],
)
def test_misuse_is_one_line(tamis, place, tokenizer, arguments, code, words):
    write(Path("rows.jsonl"), rows(3, 1))
    Path("empty").mkdir()
    Path("empty.jsonl").write_text("")
    Path("list.jsonl").write_text("[\n{}\n]\n")
    ran = tamis("summarise", "--input-data-dir", "rows.jsonl", *[tokenizer if a == "MODEL" else a for a in arguments])
    assert ran.code == code
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not OUTPUT.exists()


def test_from_python_bad_rows_are_not_lost(place, tokenizer):
    write(Path("rows.jsonl"), [*rows(5, 2), {"prompt": "p"}])
    with pytest.raises(InputError, match=r"1 rows cannot be used; the first is rows.jsonl:6: gen"):
        package.summarise("rows.jsonl", tokenizer)
    bad_rows = []
    assert package.summarise("rows.jsonl", tokenizer, bad_rows=bad_rows)["count"].sum() == 5
    assert [row.where for row in bad_rows] == ["rows.jsonl:6"]
    with pytest.raises(UsageError, match="unknown field"):
        package.summarise("rows.jsonl", tokenizer, fields={"text": "gen"})
