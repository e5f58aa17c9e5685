"""Pictures for a page of limited size: every sample has its share of the room, and its pictures are made smaller to fit it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.engines.pictures import open_picture
from tamis.errors import TamisError
from tamis.view.trace_card import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = (448, 320, 224, 160, 96)
"""Pixels of the longer side, at most; what has no room at the last has none."""

_LEAST = 1 << 10  # bytes a picture, below which no attempt is made
_MOST = 100  # pictures in hand
_FEW_COLOURS = 64
_FEW_PIXELS = 64 * 64


class Room:
    """The bytes that embedded pictures may take.

    Attributes:
        num_linked: Pictures that had no room.
        num_reduced: Embedded pictures that are smaller than their files.
    """

    def __init__(self, num_bytes: int, num_samples: int, link: Callable[[Path], str]) -> None:
        """Share out so many bytes among so many samples; `link` says how the page refers to a file."""
        self._left, self._num_samples, self._link = num_bytes, num_samples, link
        self._share = 0
        self.num_linked = self.num_reduced = 0

    def begin_sample(self) -> None:
        """Give the next sample its share; what earlier ones left is shared out among all that come."""
        self._share = self._left // max(1, self._num_samples)
        self._num_samples -= 1

    def embed(self, files: Sequence[Path]) -> list[Picture]:
        """Pictures of the sample: all of them embedded, as large as fits, or all of them links."""
        if len(files) > _MOST or self._share < _LEAST * len(files):
            self.num_linked += len(files)
            return [Picture(file.name, link=self._link(file)) for file in files]
        opened = [_File(file) for file in files]
        has_room = self._fit(opened)
        return [self._shown(each, has_room) for each in opened]

    def _fit(self, files: Sequence[_File]) -> bool:
        """Reduce them together until they fit."""
        for side in SIDES:
            for file in files:
                file.reduce(side)
            num_bytes = sum(len(file.source) for file in files)
            if num_bytes <= self._share:
                self._share -= num_bytes
                self._left -= num_bytes
                return True
        return False

    def _shown(self, file: _File, has_room: bool) -> Picture:  # noqa: FBT001
        name = file.path.name
        if file.picture is None:
            return Picture(name, note=file.complaint)
        if not has_room:
            self.num_linked += 1
            return Picture(name, link=self._link(file.path))
        is_reduced = file.picture.size != file.size
        self.num_reduced += is_reduced
        return Picture(name, file.source, file.picture.size, self._link(file.path) if is_reduced else "")


class _File:
    """A picture on its way into the page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = self.complaint = ""
        self.picture: Image | None = None
        self.size = (0, 0)  # of the file
        try:
            self.picture = open_picture(str(path))
            self.size = self.picture.size
            _shrink(self.picture, SIDES[0])  # before the next one is opened
        except TamisError as error:
            self.complaint = error.message

    def reduce(self, side: int) -> None:
        """Make `source` anew, no larger than this."""
        if self.picture is not None:
            _shrink(self.picture, side)
            self.source = _data_url(self.picture, is_exact=side == SIDES[0])


def _shrink(picture: Image, side: int) -> None:
    from PIL.Image import Resampling

    picture.thumbnail((side, side), Resampling.BILINEAR)  # half the time of the default


def _data_url(picture: Image, *, is_exact: bool) -> str:
    """Drawings of few colours as PNG, all else as JPEG: of many colours a PNG takes longer than all else that is done here.

    A small picture is seen enlarged, and shows what JPEG does to it: where it can be exact, it is PNG too.
    """
    is_small = picture.width * picture.height <= _FEW_PIXELS
    kind = "png" if (is_exact and is_small) or picture.getcolors(_FEW_COLOURS) else "jpeg"
    buffer = BytesIO()
    picture.save(buffer, format=kind, **({"quality": 85, "subsampling": 0} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
