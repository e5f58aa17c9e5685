"""Block diagrams with a known netlist: labelled boxes and coloured arrows, drawn with Pillow, seeded.

A netlist is written as lines `A -> B`; `edge_f1` compares a written one with the true one.

    python -m tamis.demo.diagrams DIR --count 100       # writes pictures, each with its netlist in a .txt beside it
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.errors import MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Edge = tuple[str, str]
Point = tuple[float, float]

SIZE = 112  # pixels
PITCH, MARGIN = 32, 24  # of the 3 x 3 places where boxes may stand
LABELS = "ABCDEF"

_HALF_BOX = (9.0, 9.0)
_CLEARANCE = 15.0  # an arrow keeps this far from the middle of boxes that it does not join
_HEAD = 6.5  # length of an arrow's head
_SHIFT = 3.0  # a box stands at most so far from its place
_SCALE = 3  # drawn larger, then reduced: smooth edges
_FILLS = ("#fff6dd", "#e3f0ff", "#e6f7e6", "#f6e6f7", "#eeeeee", "#ffe9e0")
_STROKES = ("#d62728", "#1f5fd0", "#1a8f2e", "#e08000", "#8b2fc9", "#008f9c")
_ARROW = re.compile(r"(?<![^\W_])([^\W_]{1,16})[^\w\n<>=-]{0,4}(?:[-=]{1,4}>|→|⇒)(?=[^\w\n<>=-]{0,4}([^\W_]{1,16}))")


@dataclass(frozen=True, slots=True)
class Diagram:
    """Where the boxes stand, which arrows join them, and the colours."""

    boxes: Mapping[str, Point]  # label -> the middle
    edges: tuple[Edge, ...]  # sorted
    fills: tuple[str, ...]  # one a box
    strokes: tuple[str, ...]  # one an edge, all different

    @property
    def netlist(self) -> str:
        """The truth: a line `A -> B` for each arrow, sorted."""
        return "\n".join(f"{source} -> {target}" for source, target in self.edges)

    def ends(self, edge: Edge) -> tuple[Point, Point]:
        """Where an arrow begins and ends: at the borders of its boxes."""
        source, target = (self.boxes[label] for label in edge)
        return _border(source, target, 1.0), _border(target, source, 2.0)


def generate(rng: random.Random, *, most_boxes: int = 4) -> Iterator[Diagram]:
    """Yield diagrams of 2 to `most_boxes` boxes (5 or fewer) for ever; the same generator state gives the same stream."""
    places = [(MARGIN + PITCH * column, MARGIN + PITCH * row) for row in range(3) for column in range(3)]
    while True:
        labels = rng.sample(LABELS, rng.randint(2, most_boxes))
        boxes = {
            label: (x + rng.uniform(-_SHIFT, _SHIFT), y + rng.uniform(-_SHIFT, _SHIFT))
            for label, (x, y) in zip(labels, rng.sample(places, len(labels)), strict=True)
        }
        pairs = [pair for pair in combinations(labels, 2) if _is_clear(boxes, pair)]
        count = min(len(pairs), max(1, len(labels) - 1 + rng.randint(-1, 1)))
        edges = sorted(pair if rng.random() < 0.5 else pair[::-1] for pair in rng.sample(pairs, count))
        if edges:
            yield Diagram(
                boxes, tuple(edges), tuple(rng.choices(_FILLS, k=len(boxes))), tuple(rng.sample(_STROKES, len(edges)))
            )


def draw(diagram: Diagram) -> Image:
    """The picture, SIZE x SIZE.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingExtra("drawing diagrams", "hf") from error

    picture = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), "white")
    pen = ImageDraw.Draw(picture)
    for edge, colour in zip(diagram.edges, diagram.strokes, strict=True):
        _draw_arrow(pen, *diagram.ends(edge), colour)
    font = ImageFont.load_default(14 * _SCALE)
    for (label, (x, y)), fill in zip(diagram.boxes.items(), diagram.fills, strict=True):
        corners = [(_SCALE * (c + sign * half)) for sign in (-1, 1) for c, half in zip((x, y), _HALF_BOX, strict=True)]
        pen.rectangle(corners, fill=fill, outline="black", width=_SCALE)
        pen.text((_SCALE * x, _SCALE * y), label, fill="black", font=font, anchor="mm")
    return picture.reduce(_SCALE)


def write_diagrams(folder: Path, count: int, seed: int, *, most_boxes: int = 4) -> list[Path]:
    """Write pictures into a folder, each with its netlist beside it (`truth_file`); the paths of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    rng = random.Random(f"pictures {seed}")  # none of the streams that models are trained on
    for number, diagram in enumerate(islice(generate(rng, most_boxes=most_boxes), count), 1):
        path = folder / f"diagram-{number:04}.png"
        draw(diagram).save(path)
        truth_file(path).write_text(diagram.netlist + "\n", encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def truth_file(picture: Path) -> Path:
    """Where the netlist of a picture is."""
    return picture.with_suffix(".txt")


def read_edges(text: str) -> set[Edge]:
    """The arrows that a text names: `A -> B`, also `=>` and `→`, in lists, in chains `A -> B -> C`; capitals do not matter."""
    return {(source.upper(), target.upper()) for source, target in _ARROW.findall(text)}


def edge_f1(written: str, truth: str) -> float:
    """The harmonic mean of precision and recall of the arrows in a written netlist; 0 where it names none of the true ones."""
    found, true = read_edges(written), read_edges(truth)
    return 2 * len(found & true) / (len(found) + len(true)) if found or true else 1.0


def _is_clear(boxes: Mapping[str, Point], pair: Edge) -> bool:
    """Whether a straight arrow between two boxes passes by all others."""
    (x0, y0), (x1, y1) = (boxes[label] for label in pair)
    length = math.hypot(x1 - x0, y1 - y0)
    for label, (x, y) in boxes.items():
        if label in pair:
            continue
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
        aside = abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length
        if 0 < along < length and aside < _CLEARANCE:
            return False
    return True


def _border(box: Point, other: Point, gap: float) -> Point:
    """The point on the way from one box's middle to another's where the first has just been left."""
    dx, dy = other[0] - box[0], other[1] - box[1]
    share = min((half + gap) / abs(d) for half, d in zip(_HALF_BOX, (dx, dy), strict=True) if d)
    return box[0] + share * dx, box[1] + share * dy


def _draw_arrow(pen: ImageDraw, tail: Point, tip: Point, colour: str) -> None:
    """A dot, a shaft and a head."""
    length = math.hypot(tip[0] - tail[0], tip[1] - tail[1])
    ux, uy = (tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length
    neck = (tip[0] - _HEAD * ux, tip[1] - _HEAD * uy)
    sides = [(neck[0] - sign * _HEAD * 0.6 * uy, neck[1] + sign * _HEAD * 0.6 * ux) for sign in (-1, 1)]
    pen.line([_scaled(tail), _scaled(neck)], fill=colour, width=2 * _SCALE)
    pen.polygon([_scaled(point) for point in (tip, *sides)], fill=colour)
    pen.circle(_scaled(tail), 2.2 * _SCALE, fill=colour)


def _scaled(point: Point) -> Point:
    return _SCALE * point[0], _SCALE * point[1]


def main(argv: list[str]) -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(prog="python -m tamis.demo.diagrams", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder to write to")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--most-boxes", type=int, default=4, choices=(2, 3, 4, 5))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    write_diagrams(args.folder, args.count, args.seed, most_boxes=args.most_boxes)


if __name__ == "__main__":
    main(sys.argv[1:])
