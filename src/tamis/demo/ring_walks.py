"""Walks of a ring over a board of coloured tiles: puzzles whose steps can be drawn, with their true traces, seeded.

A picture shows the board and the ring where the walk begins; the question names the moves. Each step is a text that says on
which colour the ring stands and repeats one move, and a picture of the board after it; the answer is the colour of the last
tile. Which puzzles are for tests is decided by their content.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import MissingExtra
from tamis.identity import lot

if TYPE_CHECKING:
    from PIL.Image import Image

Language = Literal["en", "zh"]
Cell = tuple[int, int]
"""Row and column."""

SIDE = 4  # tiles
TILE = 12  # pixels
SIZE = SIDE * TILE
FEWEST, MOST = 2, 3  # moves

COLOURS = {
    "red": "#d62728",
    "green": "#2ca02c",
    "blue": "#1f5fd0",
    "yellow": "#ffd92f",
    "purple": "#8b2fc9",
    "orange": "#ff8c1a",
}
MOVES: dict[str, Cell] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_CHINESE = {
    **{"red": "红", "green": "绿", "blue": "蓝", "yellow": "黄", "purple": "紫", "orange": "橙"},
    **{"up": "上", "down": "下", "left": "左", "right": "右"},
}
_QUESTIONS: dict[Language, str] = {
    "en": "The ring moves: {}. Which colour does it end on?",
    "zh": "圆环移动：{}。它最后停在什么颜色上？",
}
_AT_ONCE: dict[Language, str] = {"en": " Answer at once.", "zh": "直接回答。"}
_THOUGHTS: dict[Language, str] = {"en": "On {}. Move {}: {}.", "zh": "现在是{}。第{}步：{}。"}
_MARK = "<image_start>[{}_image_{}]<image_end>"

_TEST_SHARE = 16  # one puzzle of so many is for tests
_SCALE = 8  # tiles are drawn larger, then reduced: smooth edges


@dataclass(frozen=True, slots=True)
class Walk:
    """A board, row by row, where the ring begins, and how it moves; `is_direct` asks for the answer without steps."""

    board: tuple[str, ...]
    start: Cell
    moves: tuple[str, ...]
    language: Language
    is_direct: bool = False

    @property
    def cells(self) -> list[Cell]:
        """Where the ring stands before the first move and after each."""
        cells = [self.start]
        for move in self.moves:
            cells.append((cells[-1][0] + MOVES[move][0], cells[-1][1] + MOVES[move][1]))
        return cells

    @property
    def colours(self) -> list[str]:
        """The colours of these tiles."""
        return [self._word(self.board[row * SIDE + column]) for row, column in self.cells]

    @property
    def answer(self) -> str:
        """The colour of the last tile."""
        return self.colours[-1]

    @property
    def question(self) -> str:
        """What is asked of the first picture."""
        comma = ", " if self.language == "en" else "、"
        question = _QUESTIONS[self.language].format(comma.join(map(self._word, self.moves)))
        return question + (_AT_ONCE[self.language] if self.is_direct else "")

    @property
    def thoughts(self) -> list[str]:
        """The texts of the true trace, each but the last followed by a picture."""
        steps = (
            []
            if self.is_direct
            else zip(self.colours, range(1, len(self.moves) + 1), map(self._word, self.moves), strict=False)
        )
        texts = [_THOUGHTS[self.language].format(*step) for step in steps]
        return [*texts, f"Final Answer: {self.answer}"]

    def pixels(self, step: int) -> NDArray[np.uint8]:
        """The board (SIZE, SIZE, 3) after so many moves."""
        tiles = _tiles()
        place = self.cells[step][0] * SIDE + self.cells[step][1]
        rows = np.stack([tiles[colour, index == place] for index, colour in enumerate(self.board)])
        grid = rows.reshape(SIDE, SIDE, TILE, TILE, 3).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(grid.reshape(SIZE, SIZE, 3))

    def picture(self, step: int) -> Image:
        """The same as a picture."""
        from PIL import Image

        return Image.fromarray(self.pixels(step))

    @property
    def is_for_tests(self) -> bool:
        """Whether no model is trained on it: by what it shows and asks, in whatever language or way."""
        return lot("walk", self.board, self.start, self.moves) % _TEST_SHARE == 0

    def _word(self, word: str) -> str:
        return word if self.language == "en" else _CHINESE[word]


def generate(rng: random.Random, *, tests: bool = False, direct_share: float = 0.0) -> Iterator[Walk]:
    """Yield walks for ever, those for tests or the others; the same generator state gives the same stream."""
    colours = sorted(COLOURS)
    while True:
        board = tuple(rng.choices(colours, k=SIDE * SIDE))
        start = rng.randrange(SIDE), rng.randrange(SIDE)
        moves = _moves(rng, start, rng.randint(FEWEST, MOST))
        language: Language = rng.choice(("en", "zh"))
        walk = Walk(board, start, moves, language, is_direct=rng.random() < direct_share)
        if walk.is_for_tests == tests:
            yield walk


def write_problems(folder: Path, count: int, seed: int) -> tuple[Path, Path]:
    """Write walks for tests as rows that `tamis interleave` reads: with steps to draw, and the same to be answered at once."""
    images = folder.resolve() / "images"
    images.mkdir(parents=True, exist_ok=True)
    walks = list(islice(generate(random.Random(f"problems {seed}"), tests=True), count))
    by_steps, at_once = folder / "by-steps.jsonl", folder / "at-once.jsonl"
    for path, is_direct in ((by_steps, False), (at_once, True)):
        rows = []
        for number, walk in enumerate(walks, 1):
            for step in range(len(walk.moves) + 1):
                walk.picture(step).save(images / f"walk-{number:04}-{step}.png")
            rows.append(_row(f"walk-{number:04}", replace(walk, is_direct=is_direct), images))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8", newline="\n")
    return by_steps, at_once


def _row(name: str, walk: Walk, images: Path) -> dict[str, str]:
    numbers = range(1, len(walk.thoughts))
    *steps, last = walk.thoughts
    marked = [f"{step} {_MARK.format('reasoning', number)}" for number, step in zip(numbers, steps, strict=True)]
    return {
        "sample_id": name,
        "Question": f"{walk.question} {_MARK.format('problem', 1)}",
        "Text Reasoning Trace": "\n".join([*marked, last]),
        "Final Answer": walk.answer,
        "problem_image_1": str(images / f"{name}-0.png"),
        **{f"reasoning_image_{number}": str(images / f"{name}-{number}.png") for number in numbers},
    }


def _moves(rng: random.Random, cell: Cell, count: int) -> tuple[str, ...]:
    """Moves that stay on the board and never take back the one before."""
    moves: list[str] = []
    before = cell
    for _ in range(count):
        ways = {move: (cell[0] + step[0], cell[1] + step[1]) for move, step in MOVES.items()}
        open_ways = [m for m, to in ways.items() if to != before and 0 <= to[0] < SIDE and 0 <= to[1] < SIDE]
        move = rng.choice(open_ways)
        before, cell = cell, ways[move]
        moves.append(move)
    return tuple(moves)


@cache
def _tiles() -> dict[tuple[str, bool], NDArray[np.uint8]]:
    """Every tile (TILE, TILE, 3), without and with the ring."""
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise MissingExtra("drawing boards", "bagel") from error
    tiles = {}
    for colour, code in COLOURS.items():
        for has_ring in (False, True):
            large = Image.new("RGB", (TILE * _SCALE, TILE * _SCALE), "white")
            pen = ImageDraw.Draw(large)
            pen.rectangle([_SCALE // 2] * 2 + [TILE * _SCALE - _SCALE // 2 - 1] * 2, fill=code)
            if has_ring:
                middle, outer = TILE * _SCALE / 2, 4.2 * _SCALE
                corners = [middle - outer, middle - outer, middle + outer, middle + outer]
                pen.ellipse(corners, fill="white", outline="black", width=int(1.6 * _SCALE))
            tiles[colour, has_ring] = np.array(large.reduce(_SCALE))
    return tiles
