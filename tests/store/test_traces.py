"""The folder of a run of interleaved reasoning: what stands in it, whatever happened to the disk before."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from tamis.errors import RunFolderError
from tamis.store.traces import TraceFolder


@pytest.fixture
def drawn(tmp_path: Path) -> list[Path]:
    """Two pictures of a model, elsewhere."""
    files = [tmp_path / f"{number}.png" for number in (1, 2)]
    for file, colour in zip(files, ("red", "blue"), strict=True):
        Image.new("RGB", (4, 4), colour).save(file)
    return files


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def write(folder: Path, sample_id: int | str, line: int, parts: list[str | Path], **more: object) -> None:
    traces = TraceFolder(folder)
    traces.write(sample_id, line, {"Question": "数一数"}, parts, **more)  # type: ignore[arg-type]
    traces.close()


def test_texts_and_pictures_in_their_order(tmp_path: Path, drawn: list[Path]) -> None:
    run = tmp_path / "run"
    write(run, 7, 1, ["先看。", drawn[0], "Then.", drawn[1], "4"])
    (row,) = rows(run)
    names = [str(run / "output_images" / "7" / f"output_image_{number}.png") for number in (1, 2)]
    assert row["output_images"] == names
    assert row["output_parts"] == [
        {"text": "先看。"},
        {"image": names[0]},
        {"text": "Then."},
        {"image": names[1]},
        {"text": "4"},
    ]
    assert (row["output_reasoning"], row["num_reasoning_steps"], row["Question"]) == ("先看。\n\nThen.\n\n4", 3, "数一数")
    assert [Path(name).read_bytes() for name in names] == [file.read_bytes() for file in drawn]


def test_a_file_system_without_second_names(tmp_path: Path, drawn: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "run", 0, 1, [drawn[0]])
    drawn[0].write_bytes(b"changed")
    with Image.open(tmp_path / "run" / "output_images" / "0" / "output_image_1.png") as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)


def test_what_is_there_is_not_written_again_and_what_was_lost_is(tmp_path: Path, drawn: list[Path]) -> None:
    run, parts = tmp_path / "run", ["a", drawn[0]]
    write(run, "x", 1, parts)
    before = (run / "results.jsonl").read_bytes()
    write(run, "x", 1, parts)
    assert (run / "results.jsonl").read_bytes() == before
    picture = next((run / "output_images").glob("*/*.png"))
    for remains in (None, b""):
        picture.unlink()
        if remains is not None:
            picture.write_bytes(remains)
        write(run, "x", 1, parts)
        assert picture.stat().st_size > 0
        assert picture.read_bytes() == drawn[0].read_bytes()


def test_a_later_attempt_replaces_pictures_and_line(tmp_path: Path, drawn: list[Path]) -> None:
    run = tmp_path / "run"
    traces = TraceFolder(run)
    traces.write("b", 2, {}, ["half", *drawn], error="engine: gone")
    traces.write("a", 1, {}, ["4"])
    traces.write("b", 2, {}, ["whole", drawn[1]])
    assert [row["sample_id"] for row in rows(run)] == ["b", "a", "b"]
    traces.arrange()
    traces.write("c", 3, {}, ["5"])
    traces.close()
    assert [(row["sample_id"], row["output_reasoning"], "error" in row) for row in rows(run)] == [
        ("a", "4", False), ("b", "whole", False), ("c", "5", False)
    ]  # fmt: skip
    assert [path.name for path in (run / "output_images").glob("*/*.png")] == ["output_image_1.png"]


@pytest.mark.parametrize("size", [1, 30])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, size: int) -> None:
    run = tmp_path / "run"
    write(run, 0, 1, ["whole"])
    write(run, 1, 2, ["torn"])
    file = run / "results.jsonl"
    file.write_bytes(file.read_bytes()[:-size])
    write(run, 2, 3, ["later"])
    assert [row["sample_id"] for row in rows(run)] == [0, 2]


def test_pictures_of_the_problem_as_the_model_saw_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    turned, grey = Image.new("RGB", (6, 2), "red"), Image.new("CMYK", (3, 3))
    exif = turned.getexif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / "turned.jpg", exif=exif)
    grey.save(tmp_path / "cmyk.jpg")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    given = [tmp_path / name for name in ("turned.jpg", "torn.png", "cmyk.jpg")]
    write(run, "../../up", 1, [], problem_images=given)
    (folder,) = (run / "output_images").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["problem_image_1.png", "problem_image_3.png"]
    with Image.open(folder / "problem_image_1.png") as picture:
        assert picture.size == (2, 6)


def test_one_writer_and_a_disk_that_refuses(tmp_path: Path, drawn: list[Path]) -> None:
    run = tmp_path / "run"
    traces = TraceFolder(run)
    with pytest.raises(RunFolderError):
        TraceFolder(run)
    (run / "output_images" / "0").write_text("a file in the way")
    with pytest.raises(RunFolderError, match="cannot write"):
        traces.write(0, 1, {}, [drawn[0]])
    traces.write(1, 2, {}, [drawn[0]])
    traces.close()
    assert [row["sample_id"] for row in rows(run)] == [1]
