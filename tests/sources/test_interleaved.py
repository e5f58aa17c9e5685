"""Rows of problems in texts and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from images import png

from tamis.errors import InputError, UsageError
from tamis.records import Image
from tamis.sources.interleaved import laid_out, read_interleaved

MARK_1, MARK_2 = "<image_start>[problem_image_1]<image_end>", "<image_start>[problem_image_2]<image_end>"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory, and beside it a folder of data."""
    for name in ("here/a.png", "data/b.png", "outside/c.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png())
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def write(place: Path, *rows: dict | str) -> Path:
    path = place / "data/rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row(question: str = f"看 {MARK_1} 和 {MARK_2}。", **fields: object) -> dict:
    return {"Question": question, "problem_image_1": "a.png", "problem_image_2": "b.png", **fields}


def read(path: Path, **options):
    bad_rows: list = []
    return list(read_interleaved(path, bad_rows=bad_rows, **options)), bad_rows


def test_pictures_stand_where_their_placeholders_are(place):
    (problem,), bad_rows = read(write(place, row(f"{MARK_2}看 {MARK_1}{MARK_2} 吧")))
    second = Image(str(place / "data/b.png"))  # not in the working directory, but beside the file
    assert problem.items == (second, "看", Image("a.png"), second, "吧")
    assert problem.images == (Image("a.png"), second)
    assert (problem.sample_id, problem.values["problem_image_1"], bad_rows) == (0, "a.png", [])


def test_or_behind_the_text(place):
    rows = [row(), row("No placeholder at all."), row(f" {MARK_1} ")]
    problems, _ = read(write(place, *rows), order="after")
    images = problems[0].images
    assert [problem.items for problem in problems] == [("看 和 。", *images), ("No placeholder at all.", *images), images]


def test_a_bad_row_is_named_and_the_rest_goes_on(place):
    (place / "data/bomb.png").write_bytes(png(100_000, 100_000))
    (place / "data/torn.png").write_bytes(png()[:-20])
    (place / "data/page.png").write_text("<html>", encoding="utf-8")
    cases = {
        "the placeholder [problem_image_2] has no image": row(problem_image_2=None),
        "problem_image_2: has no placeholder": row(f"only {MARK_1}"),
        "the placeholder [reasoning_image_1] has no image": row("<image_start>[reasoning_image_1]<image_end>"),
        "a placeholder that is not": row(f"{MARK_1}{MARK_2} and <image_start>[problem"),
        "no such image: gone.png": row(problem_image_1="gone.png"),
        "100000 x 100000": row(problem_image_1="bomb.png"),
        "is torn": row(problem_image_1="torn.png"),
        "is no image": row(problem_image_1="page.png"),
        "no such image: a\0b": row(problem_image_1="a\0b"),
        "no such image: xxxx": row(problem_image_1="x" * 5000),
        "is a number, not the path of an image": row(problem_image_1=7),
        "Question: is missing": {"problem_image_1": "a.png"},
        "Question: is empty": row(" "),
        "Question: is a list, not text": row(["x"]),
        "Final Answer: is an object": row(**{"Final Answer": {}}),
        "Text Reasoning Trace: is a number": row(**{"Text Reasoning Trace": 1}),
        "sample_id: is no whole number": row(sample_id=1.5),
        "'line 3' is what rows without an id": row(id="line 3"),
        "torn or invalid JSON": '{"Question": ',
        "a list, not an object": "[1]",
    }  # fmt: skip
    problems, bad_rows = read(write(place, row(), *cases.values(), row()))
    assert [problem.sample_id for problem in problems] == [0, len(cases) + 1]
    assert [bad.where.rpartition(":")[2] for bad in bad_rows] == [str(number) for number in range(2, len(cases) + 2)]
    for bad, words in zip(bad_rows, cases, strict=True):
        assert words in str(bad)
        assert "\n" not in str(bad)


def test_ids_are_given_or_the_place_in_the_file_and_come_once(place):
    path = write(place, row(), row(id="图一"), row(sample_id=1), row(id="1"), row(id=0), row())
    problems, bad_rows = read(path)
    assert [problem.sample_id for problem in problems] == [0, "图一", 1, 5]
    assert [(bad.field, bad.reason) for bad in bad_rows] == [
        ("sample_id", "'1' was given to an earlier row"), ("sample_id", "0 was given to an earlier row")
    ]  # fmt: skip


def test_a_slice_is_of_places_in_the_file(place):
    path = write(place, '{"torn', row(), row(), "", '{"torn', row(), '{"torn')
    problems, bad_rows = read(path, start=2, end=6)
    assert [problem.sample_id for problem in problems] == [2, 5]
    assert [bad.where.rpartition(":")[2] for bad in bad_rows] == ["5"]
    with pytest.raises(UsageError, match="the lines 3 to 3 are none"):
        read(path, start=3, end=3)
    with pytest.raises(InputError, match="ends before --start-idx 40"):
        read(path, start=40)
    with pytest.raises(UsageError, match="--start-idx is -1"):
        read(path, start=-1)


def test_restricted_paths_stay_inside(place):
    (place / "data/link.png").symlink_to(place / "outside/c.png")
    outside = str(place / "outside/c.png")
    rows = [row(problem_image_2=path) for path in (outside, "../outside/c.png", "link.png", "b.png")]
    problems, bad_rows = read(write(place, *rows))
    assert (len(problems), bad_rows) == (4, [])
    problems, bad_rows = read(write(place, *rows), is_restricted=True)
    assert [problem.sample_id for problem in problems] == [3]
    assert all("lies outside" in bad.reason for bad in bad_rows)


def test_other_files_are_refused(place):
    with pytest.raises(UsageError, match=r"is not a \.jsonl file"):
        read(place / "data/rows.csv")


def test_blank_stretches_and_unknown_placeholders(place):
    picture = Image("x.png")
    assert laid_out(f" a {MARK_1}  {MARK_1} {MARK_2}", {"problem_image_1": picture}) == ("a", picture, picture, MARK_2)
