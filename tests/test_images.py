from __future__ import annotations

import os
import struct
from io import BytesIO
from random import Random

import pytest

from tamis.errors import InputError
from tamis.images import ImageHeader, check_image, check_image_bytes, read_image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def drawn(kind: str, size: tuple[int, int] = (37, 21), **options) -> bytes:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow draws the pictures of these tests")
    out = BytesIO()
    pillow.new(options.pop("mode", "RGB"), size).save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int) -> bytes:
    header = struct.pack(">I4sII5B", 13, b"IHDR", width, height, 8, 2, 0, 0, 0) + bytes(4)
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I4s", 0, b"IEND") + bytes(4)


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as error:
        check_image_bytes(data, "a.png")
    assert "\n" not in error.value.message
    return error.value.message


@pytest.mark.parametrize("kind", FORMATS)
def test_kind_and_size_are_those_that_pillow_reads(kind):
    assert check_image_bytes(drawn(kind), "x") == ImageHeader(kind.lower(), 37, 21)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True, "exif": b"Exif\x00\x00" + bytes(40_000)}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00" + bytes(10)}),
        ("TIFF", {"big_tiff": False, "compression": "tiff_lzw"}),
        ("PNG", {"mode": "1"}),
        ("GIF", {"comment": b"c" * 600, "transparency": 0, "loop": 0}),
    ],
)
def test_headers_of_rarer_forms(kind, options):
    found = check_image_bytes(drawn(kind, (300, 2), **options), "x")
    assert (found.width, found.height) == (300, 2)


def test_the_first_frame_of_a_gif_may_be_larger_than_its_screen():
    data = bytearray(drawn("GIF", (30, 20)))
    data[6:10] = struct.pack("<2H", 7, 50)
    found = check_image_bytes(bytes(data), "x")
    assert (found.width, found.height) == (30, 50)
    pillow = pytest.importorskip("PIL.Image", reason="Pillow says what a reader sees")
    with pillow.open(BytesIO(data)) as picture:
        assert picture.size == (30, 50)
    assert "its gif header has no size" in refusal(bytes(data[:20]))


def test_bombs_torn_and_foreign_files_are_one_line():
    assert refusal(png(50_000, 50_000)) == "the image a.png has 50000 x 50000 pixels; 89,478,485 is the most"
    assert refusal(png(0, 5)) == "the image a.png has no pixels: 0 x 5"
    assert refusal(png(5, 5)[:-12]) == "the image a.png is torn: the PNG has no end"
    assert refusal(bytes(21 << 20)) == "the image a.png has 21.0 MB; 20 MB is the most"
    assert refusal(b"") == "the file a.png is empty"
    assert refusal(b"<html>") == "the file a.png is no image (jpeg, png, gif, bmp, tiff, webp)"
    assert refusal(b"\xff\xd8\xff\xe0\x00") == "the image a.png is torn or damaged: its jpeg header has no size"
    assert check_image_bytes(png(5, 5) + b"trailing", "x").width == 5


def test_a_damaged_header_is_refused_and_never_anything_else():
    pictures, random = [drawn(kind) for kind in FORMATS], Random(0)
    for _ in range(3000):
        data = bytearray(random.choice(pictures))
        for _ in range(random.randrange(1, 8)):
            data[random.randrange(2, min(len(data), 300))] = random.randrange(256)
        cut = bytes(data[: random.randrange(1, len(data))])
        for broken in (bytes(data), cut):
            try:
                found = check_image_bytes(broken, "x")
            except InputError:
                continue
            assert 0 < found.width * found.height <= 89_478_485


def test_files(tmp_path):
    (tmp_path / "a").write_bytes(png(5, 6))
    assert check_image(tmp_path / "a") == ImageHeader("png", 5, 6)
    assert read_image(str(tmp_path / "a")) == (ImageHeader("png", 5, 6), png(5, 6))
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "gone", "No such file"),
        (tmp_path, "is no file"),
        (tmp_path / "pipe", "is no file"),
        ("\x00", "no path"),
    ):
        with pytest.raises(InputError, match=reason):
            check_image(path)
