from __future__ import annotations

import base64
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")

from PIL import Image

from tamis.engines.pictures import open_picture
from tamis.errors import InputError


def file(folder, picture: Image.Image, kind: str = "PNG", **options) -> str:
    picture.save(folder / "a", kind, **options)
    return str(folder / "a")


def pixels(source: str) -> list[list[list[int]]]:
    picture = open_picture(source)
    assert picture.mode == "RGB"
    return np.asarray(picture).tolist()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 255))
    assert pixels(file(tmp_path, picture.convert(mode))) == [[[255, 255, 255], [0, 0, 0]]]


def test_half_transparent_is_half_white(tmp_path):
    assert pixels(file(tmp_path, Image.new("RGBA", (1, 1), (0, 0, 0, 128)))) == [[[127, 127, 127]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(tmp_path, kind):
    picture = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    assert pixels(file(tmp_path, picture, kind)) == [[[0] * 3, [128] * 3, [255] * 3]]


def test_a_picture_is_turned_as_the_camera_noted(tmp_path):
    picture = Image.new("RGB", (2, 1))
    picture.putpixel((1, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    assert pixels(file(tmp_path, picture, exif=exif)) == [[[0, 0, 0]], [[255, 0, 0]]]


def test_inks_become_lights_and_of_a_film_it_is_the_first_frame(tmp_path):
    (row,) = pixels(file(tmp_path, Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(np.array(row[0]) - [255, 0, 0]).max() < 3
    frames = [Image.new("RGB", (1, 1), colour) for colour in ("lime", "red")]
    assert pixels(file(tmp_path, frames[0], "GIF", save_all=True, append_images=frames[1:])) == [[[0, 255, 0]]]


def test_a_data_url_is_the_picture_that_it_holds():
    out = BytesIO()
    Image.new("L", (1, 1), 7).save(out, "PNG")
    assert pixels("data:image/png;base64," + base64.b64encode(out.getvalue()).decode()) == [[[7, 7, 7]]]
    with pytest.raises(InputError, match=r"^the image data:image/png;base64,\.\.\. is no base64$"):
        open_picture("data:image/png;base64,%")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damage that it can live with
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_damaged_picture_is_refused_or_read(tmp_path, kind):
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(256, size=(20, 30, 3), dtype=np.uint8))
    data = np.frombuffer((tmp_path / "a").read_bytes() if file(tmp_path, whole, kind) else b"", np.uint8)
    for _ in range(60):
        damaged = data.copy()
        damaged[rng.integers(len(data), size=4)] = rng.integers(256, size=4)
        (tmp_path / "b").write_bytes(damaged.tobytes())
        with suppress(InputError):  # and nothing else
            assert open_picture(str(tmp_path / "b")).mode == "RGB"
