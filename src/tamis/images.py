"""Pictures before anybody opens them: kind and size by their headers, read by hand; a decompression bomb is never decoded.

What is not found: a picture whose header is right and whose body is torn. Of a PNG it is checked that its chunks end.
"""

from __future__ import annotations

import base64
import stat
import struct
from dataclasses import dataclass
from io import SEEK_CUR, BytesIO
from pathlib import Path
from typing import BinaryIO

from tamis.errors import InputError

MAX_IMAGE_BYTES = 20 << 20
MAX_IMAGE_PIXELS = 89_478_485
"""What Pillow, with which servers read pictures, takes without a warning of decompression bombs."""

_KINDS = "jpeg, png, gif, bmp, tiff, webp"
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that are followed by the size
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_JPEG_END, _JPEG_DATA = 0xD9, 0xDA
_MOST_FILLING = 1000  # bytes between two markers
_GIF_COLOURS, _GIF_EXTENSION, _GIF_FRAME = 0x80, b"!", b","
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes of a picture say: its kind (`png`, `jpeg`, ...) and its size in pixels."""

    kind: str
    width: int
    height: int


def check_image(path: str | Path) -> ImageHeader:
    """Kind and size of the picture in a file, of which only the header is read.

    Raises:
        InputError: It cannot be read, is no picture by its first bytes, or has too many bytes or pixels.
    """
    return _open_image(path, is_whole=False)[0]


def read_image(source: str | Path) -> tuple[ImageHeader, bytes]:
    """The same of a file or a data URL, and all of its bytes.

    Raises:
        InputError: As `check_image`, or a data URL is no base64.
    """
    if not str(source).startswith("data:"):
        return _open_image(source, is_whole=True)
    name = image_name(source)
    try:
        data = base64.b64decode(str(source).partition(";base64,")[2], validate=True)
    except ValueError:
        raise InputError(f"the image {name} is no base64") from None
    return check_image_bytes(data, name), data


def image_name(source: str | Path) -> str:
    """What a picture is called in messages: its path, or how its data URL begins."""
    return f"{str(source)[:22]}..." if str(source).startswith("data:") else str(source)


def check_image_bytes(data: bytes, name: str) -> ImageHeader:
    """The same of bytes; `name` stands for them in messages.

    Raises:
        InputError: As `check_image`.
    """
    return _check(BytesIO(data), len(data), name)


def _open_image(path: str | Path, *, is_whole: bool) -> tuple[ImageHeader, bytes]:
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"the image {path} is no file")
        with Path(path).open("rb") as file:
            header = _check(file, found.st_size, str(path))
            file.seek(0)
            return header, file.read(MAX_IMAGE_BYTES) if is_whole else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise InputError(f"cannot read the image {path}: {reason}") from None


def _check(file: BinaryIO, num_bytes: int, name: str) -> ImageHeader:
    if num_bytes > MAX_IMAGE_BYTES:
        raise InputError(f"the image {name} has {num_bytes / (1 << 20):.1f} MB; {MAX_IMAGE_BYTES >> 20} MB is the most")
    start = file.read(32)
    kind = _kind(start)
    if kind is None:
        raise InputError(f"the file {name} is {f'no image ({_KINDS})' if start else 'empty'}")
    try:
        width, height = _size(kind, start, file)
    except (struct.error, EOFError, IndexError):
        raise InputError(f"the image {name} is torn or damaged: its {kind} header has no size") from None
    if not (width and height):
        raise InputError(f"the image {name} has no pixels: {width} x {height}")
    if width * height > MAX_IMAGE_PIXELS:
        raise InputError(f"the image {name} has {width} x {height} pixels; {MAX_IMAGE_PIXELS:,} is the most")
    if kind == "png" and not _png_ends(file):
        raise InputError(f"the image {name} is torn: the PNG has no end")
    return ImageHeader(kind, width, height)


def _kind(start: bytes) -> str | None:
    for kind, signatures in (
        ("png", (b"\x89PNG\r\n\x1a\n",)),
        ("jpeg", (b"\xff\xd8\xff",)),
        ("gif", (b"GIF87a", b"GIF89a")),
        ("bmp", (b"BM",)),
        ("tiff", (b"II*\x00", b"MM\x00*")),
    ):
        if start.startswith(signatures):
            return kind
    return "webp" if start[:4] == b"RIFF" and start[8:12] == b"WEBP" else None


def _size(kind: str, start: bytes, file: BinaryIO) -> tuple[int, int]:
    """Width and height; struct.error, EOFError or IndexError where the header breaks off."""
    match kind:
        case "png":
            if start[12:16] != b"IHDR":
                raise EOFError
            return _pair(">II", start, 16)
        case "gif":
            return _gif_size(start, file)
        case "bmp":
            is_old = struct.unpack_from("<I", start, 14)[0] == 12
            width, height = _pair("<HH" if is_old else "<ii", start, 18)
            return abs(width), abs(height)  # upside down is negative
        case "webp":
            return _webp_size(start)
        case "jpeg":
            return _jpeg_size(file)
    return _tiff_size(start, file)


def _pair(form: str, data: bytes, place: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, data, place)
    return int(first), int(second)


def _gif_size(start: bytes, file: BinaryIO) -> tuple[int, int]:
    """Of the screen, or of the first frame where that is larger: then a reader makes the screen larger too."""
    width, height = _pair("<HH", start, 6)
    flags = start[10]
    file.seek(13 + (3 << (flags & 7) + 1 if flags & _GIF_COLOURS else 0))
    while (block := file.read(1)) == _GIF_EXTENSION:
        file.seek(1, SEEK_CUR)
        while size := file.read(1)[0]:
            file.seek(size, SEEK_CUR)
    if block != _GIF_FRAME:
        raise EOFError
    left, top, frame_width, frame_height = struct.unpack("<4H", file.read(8))
    return max(width, left + frame_width), max(height, top + frame_height)


def _webp_size(start: bytes) -> tuple[int, int]:
    chunk = start[12:16]
    if chunk == b"VP8X":
        width, height = _pair("<II", start[24:27] + b"\x00" + start[27:30] + b"\x00", 0)
        return width + 1, height + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", start, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = _pair("<HH", start, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(2)
    while True:
        marker = _jpeg_marker(file)
        if marker in (_JPEG_END, _JPEG_DATA):  # nobody has said its size
            raise EOFError
        if marker in _JPEG_BARE:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _JPEG_FRAMES:
            height, width = _pair(">HH", file.read(5), 1)
            return width, height
        if length < 2:
            raise EOFError
        file.seek(length - 2, SEEK_CUR)


def _jpeg_marker(file: BinaryIO) -> int:
    """The next marker: a byte after one 0xFF or, as filling, several."""
    if file.read(1) == b"\xff":
        for _ in range(_MOST_FILLING):
            if (byte := file.read(1)) != b"\xff":
                return byte[0] if byte else _JPEG_END
    return _JPEG_END


def _tiff_size(start: bytes, file: BinaryIO) -> tuple[int, int]:
    order = "<" if start.startswith(b"II") else ">"
    file.seek(struct.unpack_from(order + "I", start, 4)[0])
    (num_entries,) = struct.unpack(order + "H", file.read(2))
    sizes = {}
    for _ in range(num_entries):
        entry = file.read(12)
        tag, form = struct.unpack_from(order + "HH", entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            (sizes[tag],) = struct.unpack_from(order + ("H" if form == 3 else "I"), entry, 8)
    if len(sizes) < 2:
        raise EOFError
    return sizes[_TIFF_WIDTH], sizes[_TIFF_HEIGHT]


def _png_ends(file: BinaryIO) -> bool:
    file.seek(8)
    while len(head := file.read(8)) == 8:
        if head[4:] == b"IEND":
            return True
        file.seek(struct.unpack(">I", head[:4])[0] + 4, SEEK_CUR)
    return False
