"""Pictures as pixels, for models that run in this process, the way a viewer shows them.

They are turned as the camera noted, on white where they are transparent (drawings with black lines often are; servers do the
same), and of pictures that move it is the first. Pillow alone would show transparent pixels as black and 16 bits as white.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from tamis.errors import InputError, MissingExtra
from tamis.images import image_name, read_image

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDE_STEP = 256  # from 16 bits to 8


def open_picture(source: str) -> Image:
    """The picture in a file or a data URL, in RGB.

    Raises:
        MissingExtra: Pillow is not installed.
        InputError: It cannot be read: see `tamis.images.read_image`.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtra("opening images", "hf") from error

    data = read_image(source)[1]
    try:
        with Image.open(BytesIO(data)) as file:
            picture = ImageOps.exif_transpose(file)
        if picture.mode.startswith("I"):
            picture = picture.convert("I").point(lambda value: value / _WIDE_STEP).convert("L")
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # of a torn body
        raise InputError(f"the image {image_name(source)} cannot be decoded: {error}") from error
