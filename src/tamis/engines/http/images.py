"""Pictures as data URLs: each file read and encoded once for all the draws that show it."""

from __future__ import annotations

import base64
from collections import OrderedDict
from pathlib import Path

from tamis.errors import InputError

MAX_IMAGE_BYTES = 20 << 20
_MAX_CACHED_BYTES = 64 << 20
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)


class DataURLs:
    """The data URL of a picture, by its path; the latest 64 MB of them are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._num_bytes = 0
        self.num_encoded = 0

    def get(self, path: str) -> str:
        """Read and encode, unless the same file was encoded before.

        Raises:
            InputError: It cannot be read, is no picture by its first bytes, or is larger than 20 MB.
        """
        if path.startswith("data:image/"):
            return path
        try:
            stat = Path(path).stat()
            key = (path, stat.st_mtime_ns, stat.st_size)
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if stat.st_size > MAX_IMAGE_BYTES:
                raise InputError(f"the image {path} has {stat.st_size >> 20} MB; {MAX_IMAGE_BYTES >> 20} MB is the most")
            data = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no path"
            raise InputError(f"cannot read the image {path}: {reason}") from None
        url = f"data:image/{_kind(path, data)};base64,{base64.b64encode(data).decode()}"
        self.num_encoded += 1
        self._kept[key] = url
        self._num_bytes += len(url)
        while self._num_bytes > _MAX_CACHED_BYTES and len(self._kept) > 1:
            self._num_bytes -= len(self._kept.popitem(last=False)[1])
        return url


def _kind(path: str, data: bytes) -> str:
    for start, kind in _KINDS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise InputError(f"the file {path} is no image (jpeg, png, gif, bmp, tiff, webp)")
