"""A folder of pictures as problems."""

from __future__ import annotations

from pathlib import Path

import pytest
from images import png

from tamis.errors import InputError
from tamis.sources.images import read_images


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "images"
    for name in ("b.PNG", "a.png", "图/一.Jpeg", "a/a.png", "notes.txt", ".hidden.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    return root


def test_images_come_in_order_named_by_their_place(folder):
    bad_rows: list = []
    flat = list(read_images(folder, bad_rows=bad_rows))
    assert [problem.id for problem in flat] == ["a.png", "b.PNG"]
    deep = list(read_images(folder, recursive=True, bad_rows=bad_rows))
    assert [problem.id for problem in deep] == ["a/a.png", "a.png", "b.PNG", "图/一.Jpeg"]
    assert all(Path(problem.images[0]).read_bytes() == png() for problem in deep)
    assert [problem.id for problem in read_images(folder, recursive=True, limit=3, bad_rows=bad_rows)] == [
        "a/a.png", "a.png", "b.PNG"
    ]  # fmt: skip
    assert bad_rows == []


def test_what_is_no_image_or_too_large_is_left_out(folder):
    (folder / "a.png").write_bytes(b"<html>")
    (folder / "bomb.webp").write_bytes(png(100_000, 100_000))
    (folder / "empty.bmp").write_bytes(b"")
    bad_rows: list = []
    assert [problem.id for problem in read_images(folder, bad_rows=bad_rows)] == ["b.PNG"]
    assert [Path(row.where).name for row in bad_rows] == ["a.png", "bomb.webp", "empty.bmp"]
    assert "100000 x 100000" in str(bad_rows[1])


def test_links_that_lead_out_are_not_followed(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "in.png").symlink_to(folder / "a.png")
    (folder / "loop").symlink_to(folder)
    bad_rows: list = []
    found = [problem.id for problem in read_images(folder, recursive=True, bad_rows=bad_rows)]
    assert found == ["a/a.png", "a.png", "b.PNG", "in.png", "图/一.Jpeg"]
    assert [Path(row.where).name for row in bad_rows] == ["loop", "out.png"]


@pytest.mark.parametrize(
    ("name", "words"), [("nowhere", "no such folder"), ("images/a.png", "is a file"), ("empty", "holds no images")]
)
def test_a_folder_that_cannot_be(folder, tmp_path, name, words):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(InputError, match=words):
        list(read_images(tmp_path / name, bad_rows=[]))


def test_a_folder_of_bad_images_says_what_is_wrong_with_the_first(tmp_path):
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"none of the 1 images .*x\.png: the file is no image"):
        list(read_images(tmp_path, bad_rows=[]))
