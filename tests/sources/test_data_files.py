"""Formats and compressions: the same rows whatever the file; damage named in one line."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import sys
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, MissingExtra
from tamis.sources import read_problems
from tamis.sources.files import DataFile
from tamis.sources.rows import read_rows

ROWS = [
    {"problem": "What is 1 + 1?", "answer": "2", "note": 'say "two", not more'},
    {"problem": "小明有3个苹果，\n又买了4个，现在有几个？", "answer": "7", "note": "苹果"},
    {"problem": "Compute $\\frac{1}{2}$ 🧮", "answer": "\\frac{1}{2}", "note": "a\ttab"},
]


def jsonl(rows=ROWS):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def delimited(delimiter):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def write(path, content):
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = pytest.importorskip("zstandard").ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


def values(path, bad_rows=None):
    file = DataFile.of(path)
    return [row.values for row in read_rows([file], [] if bad_rows is None else bad_rows)]


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".JSONL"])
def test_every_format_gives_the_same_rows(tmp_path, suffix, compression):
    content = {".csv": delimited(","), ".tsv": delimited("\t")}.get(suffix, jsonl())
    assert values(write(tmp_path / f"rows{suffix}{compression}", content)) == ROWS


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS * 300), tmp_path / "rows.parquet")
    assert values(tmp_path / "rows.parquet") == ROWS * 300


def test_parquet_values_become_what_json_can_hold(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {
        "problem": "q",
        "answer": 7.0,
        "day": datetime.date(2026, 1, 2),
        "price": Decimal("1.50"),
        "whole": Decimal("3.00"),
        "nothing": float("nan"),
        "raw": b"\x00\xff",
        "turns": [{"role": "user", "content": "q"}],
    }
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "rows.parquet")
    (problem,) = read_problems(str(tmp_path / "rows.parquet"), bad_rows=[])
    assert problem.answer == "7"
    assert json.loads(json.dumps(dict(problem.metadata))) == {
        "day": "2026-01-02",
        "price": "1.50",
        "whole": 3,
        "nothing": None,
        "raw": "<2 bytes>",
        "turns": [{"role": "user", "content": "q"}],
    }


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_any_line_end_and_a_byte_order_mark(tmp_path, end, mark):
    lines = jsonl().splitlines()
    path = write(tmp_path / "rows.jsonl", mark + end.join([lines[0], b"", *lines[1:]]))
    assert values(path) == ROWS
    assert [row.where for row in read_rows([DataFile.of(path)], [])] == [f"{path}:{number}" for number in (1, 3, 4)]
    cells = write(tmp_path / "rows.csv", mark + b"problem,answer" + end + b"a,1" + end + "二,2".encode())
    assert values(cells) == [{"problem": "a", "answer": "1"}, {"problem": "二", "answer": "2"}]


def test_plain_text_is_a_problem_a_line(tmp_path):
    path = write(tmp_path / "rows.txt", "What is 1 + 1?\n\n  3乘以4是多少？ \n".encode())
    problems = list(read_problems(str(path), bad_rows=[]))
    assert [(p.prompt, p.answer, p.where) for p in problems] == [
        ("What is 1 + 1?", None, f"{path}:1"),
        ("3乘以4是多少？", None, f"{path}:3"),
    ]


def test_enormous_lines(tmp_path):
    long = "长" * 2_000_000
    assert values(write(tmp_path / "rows.jsonl", jsonl([{"problem": long}]))) == [{"problem": long}]
    assert values(write(tmp_path / "rows.csv", f"problem\n{long}\n".encode())) == [{"problem": long}]


def test_integers_beyond_64_bits_stay_exact(tmp_path):
    big = 123456789012345678901234567890
    path = write(tmp_path / "rows.jsonl", jsonl([{"problem": "q", "answer": big, "other": [big]}]))
    (problem,) = read_problems(str(path), bad_rows=[])
    assert problem.answer == str(big)
    assert problem.metadata["other"] == [big]


def test_zstd_frames_one_after_another(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    lines = jsonl().splitlines(keepends=True)
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(b"".join(zstandard.ZstdCompressor().compress(line) for line in lines))
    assert values(path) == ROWS


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, suffix):
    pytest.importorskip({".jsonl.zst": "zstandard", ".parquet": "pyarrow"}.get(suffix, "gzip"))
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(jsonl())
    with pytest.raises(InputError) as caught:
        values(path)
    kind = {".jsonl.gz": "a gzip file", ".jsonl.zst": "a zstd file"}.get(suffix, "a readable parquet file")
    assert caught.value.message.startswith(f"{path} is not {kind} (")
    assert caught.value.advice == "Check that it was copied whole and that its name tells what it is"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_file_cut_off_keeps_its_rows_and_says_so(tmp_path, suffix):
    rows = [{"problem": f"{number:05d} " + "".join(chr(97 + (number * k) % 26) for k in range(80))} for number in range(20_000)]
    whole = write(tmp_path / f"whole.jsonl{suffix}", jsonl(rows)).read_bytes()
    path = tmp_path / f"cut.jsonl{suffix}"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    bad_rows = []
    read = values(path, bad_rows)
    assert 0 < len(read) < len(rows)
    assert read == rows[: len(read)]
    (bad,) = bad_rows
    assert bad.where == f"{path}:{len(read)}"
    assert bad.reason.startswith("the file is damaged after this row (")


@pytest.mark.parametrize(("suffix", "package"), [(".jsonl.zst", "zstandard"), (".parquet", "pyarrow")])
def test_missing_packages(tmp_path, monkeypatch, suffix, package):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"reading \.\w+ files needs .* Run: pip install 'tamis\[data\]'"):
        values(path)


def test_csv_resumes_right_after_a_broken_record(tmp_path):
    path = write(tmp_path / "rows.csv", b'problem,answer\n"What is 2+2?,4\n"What is 3?",3\nq,1\n"never closed,5\nlast,9\n')
    bad_rows = []
    assert [row["problem"] for row in values(path, bad_rows)] == ["What is 3?", "q", "last"]
    assert [bad.where for bad in bad_rows] == [f"{path}:2", f"{path}:5"]
    assert all(bad.reason.startswith("broken quoting") for bad in bad_rows)


cell = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=20)


@given(st.lists(st.tuples(cell.filter(bool), cell, cell), max_size=8), st.sampled_from([",", "\t"]))
def test_csv_round_trip(tmp_path_factory, rows, delimiter):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("problem", "answer", "备注"), *rows])
    path = tmp_path_factory.mktemp("csv") / ("rows.csv" if delimiter == "," else "rows.tsv")
    path.write_bytes(text.getvalue().encode())
    assert values(path) == [dict(zip(("problem", "answer", "备注"), row, strict=True)) for row in rows]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | cell,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(cell, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(cell, json_values, max_size=4), max_size=5), st.booleans())
def test_jsonl_round_trip(tmp_path_factory, rows, ascii_only):
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows), encoding="utf-8", newline="\n")
    assert values(path) == rows


@given(st.binary(max_size=300))
def test_no_bytes_can_break_a_reader(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    for suffix in (".jsonl", ".csv", ".tsv", ".txt", ".jsonl.gz"):
        path = folder / f"rows{suffix}"
        path.write_bytes(content)
        bad_rows = []
        with suppress(InputError):
            for problem in read_problems(str(path), bad_rows=bad_rows):
                assert json.dumps(problem.to_json(), ensure_ascii=False).encode()
        assert not any("\n" in str(bad) for bad in bad_rows)
