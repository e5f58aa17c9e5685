"""Pictures as data URLs: each file checked, read and encoded once for all the draws that show it."""

from __future__ import annotations

import base64
from collections import OrderedDict
from io import BytesIO
from pathlib import Path

from tamis.engines.pictures import open_picture
from tamis.errors import InputError, MissingExtra
from tamis.images import read_image

_MAX_CACHED_BYTES = 64 << 20
_RARELY_TAKEN = ("bmp", "tiff")


class DataURLs:
    """The data URL of a picture, by its path; the latest 64 MB of them are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._num_bytes = 0
        self.num_encoded = 0

    def get(self, path: str) -> str:
        """Check, read and encode, unless the same file was encoded before; a data URL is checked and stays as it is.

        Raises:
            InputError: See `tamis.images.read_image`.
        """
        if path.startswith("data:"):
            read_image(path)
            return path
        try:
            stat = Path(path).stat()
            key = (path, stat.st_mtime_ns, stat.st_size)
        except (OSError, ValueError):
            key = (path, 0, 0)  # `read_image` says why
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        header, data = read_image(path)
        kind, data = _as_png(path, header.kind, data) if header.kind in _RARELY_TAKEN else (header.kind, data)
        url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        self.num_encoded += 1
        self._kept[key] = url
        self._num_bytes += len(url)
        while self._num_bytes > _MAX_CACHED_BYTES and len(self._kept) > 1:
            self._num_bytes -= len(self._kept.popitem(last=False)[1])
        return url


def _as_png(path: str, kind: str, data: bytes) -> tuple[str, bytes]:
    """The same picture in a form that every server takes; as it stands where Pillow is not installed or cannot read it."""
    out = BytesIO()
    try:
        open_picture(path).save(out, "PNG")
    except (MissingExtra, InputError):
        return kind, data
    return "png", out.getvalue()
