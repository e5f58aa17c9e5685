"""The embedded unified model is trained in the contexts that the loop will show it, on walks whose truth is known."""

from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("torch", reason="torch is not installed")

import torch
from PIL import Image
from torch import Tensor

from tamis.bagel.attention import Pack
from tamis.bagel.cache import Context
from tamis.bagel.flow import Branches, Canvas, Velocities
from tamis.bagel.model import MARKS, Model
from tamis.bagel.pictures import to_patches, to_tensor
from tamis.demo import INTERLEAVE_FOLDER
from tamis.demo.interleave_lines import LineKind, Packed, Trace, features, forward, line_of
from tamis.demo.ring_walks import COLOURS, SIDE, TILE, Walk, generate


def test_walks_stay_on_the_board_and_end_where_they_say() -> None:
    walks = list(islice(generate(random.Random(0), direct_share=0.3), 300))
    assert walks == list(islice(generate(random.Random(0), direct_share=0.3), 300))
    assert {walk.language for walk in walks} == {"en", "zh"}
    for walk in walks:
        row, column = walk.start
        row += walk.moves.count("down") - walk.moves.count("up")
        column += walk.moves.count("right") - walk.moves.count("left")
        assert walk.cells[-1] == (row, column)
        assert all(0 <= place < SIDE for cell in walk.cells for place in cell)
        assert len(walk.thoughts) == (1 if walk.is_direct else len(walk.moves) + 1)
        assert walk.thoughts[-1] == f"Final Answer: {walk.answer}"
    english = next(walk for walk in walks if walk.language == "en" and not walk.is_direct)
    assert english.answer == english.board[english.cells[-1][0] * SIDE + english.cells[-1][1]]
    assert [thought.split()[-1].rstrip(".") for thought in english.thoughts[:-1]] == list(english.moves)


def test_only_the_ring_moves_in_the_pictures() -> None:
    walk = next(generate(random.Random(1)))
    before, after = walk.pixels(0), walk.pixels(1)
    changed = {(y // TILE, x // TILE) for y, x in np.argwhere((before != after).any(-1))}
    assert changed == set(walk.cells[:2])
    corner = before[walk.start[0] * TILE + 1, walk.start[1] * TILE + 1]
    assert "#" + bytes(corner.tolist()).hex() == COLOURS[walk.board[walk.start[0] * SIDE + walk.start[1]]]


def test_no_walk_is_for_both_training_and_tests() -> None:
    """The two streams share nothing, and neither the language nor the way of asking changes the side."""

    def content(walk: Walk) -> tuple[object, ...]:
        return walk.board, walk.start, walk.moves

    tests = {content(walk) for walk in islice(generate(random.Random(2), tests=True), 100)}
    for walk in islice(generate(random.Random(2)), 1000):
        assert content(walk) not in tests
        assert Walk(walk.board, walk.start, walk.moves, "zh", is_direct=True).is_for_tests is False


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(INTERLEAVE_FOLDER, device="cpu", dtype="float32")


class ByTheLoop:
    """A trace read piece by piece into a context, as the loop reads it."""

    def __init__(self, model: Model, trace: Trace, given: Image.Image, *, with_pictures: bool) -> None:
        self.model = model
        self.context = Context(model.new_cache(1), 0)
        for text in trace.given:
            self.text(text)
        if with_pictures:
            self.seen(given)

    def text(self, text: str) -> Tensor:
        ids = self.model.words.wrapped(text)
        return self.read(self.context.text(len(ids)), self.model.text_tokens(ids))

    def seen(self, picture: Image.Image) -> None:
        tokens = self.model.seen(picture)
        self.read(self.context.picture(len(tokens)), tokens)

    def clean(self, latents: Tensor, size: tuple[int, int]) -> None:
        tokens = self.model.drawn(latents, size)
        self.read(self.context.picture(len(tokens), latents=True), tokens)

    def read(self, piece: object, tokens: Tensor) -> Tensor:
        return self.model.read(Pack([piece], self.model.device), tokens)  # type: ignore[list-item]


@torch.inference_mode()
def test_a_trace_gives_in_training_what_it_gives_in_the_loop(model: Model) -> None:
    walk = next(walk for walk in generate(random.Random(3)) if len(walk.moves) == 3)
    trace = Trace(("You walk.", walk.question), tuple(walk.thoughts), 0)
    images = [walk.picture(step) for step in range(4)]
    patches = torch.stack([to_patches(to_tensor(image), TILE) for image in images])
    latents = torch.stack([model.latents_of(image, None) for image in images])
    times = torch.tensor([0.9, 0.4, 0.7])
    noise = torch.randn(latents[1:].shape, generator=torch.Generator().manual_seed(4))
    mixed = torch.lerp(latents[1:], noise, times[:, None, None])

    def trained(*kinds: LineKind) -> tuple[Packed, Tensor, Tensor]:
        packed = Packed([line_of(trace, kind, model.words) for kind in kinds], SIDE**2, model.words)
        places = [picture - 1 for picture in packed.noisy_pictures]
        seen = features(model.weights, patches)
        clean = latents[packed.clean_pictures]
        return packed, *forward(model.weights, packed, seen, mixed[places], times[places], clean)[:2]

    packed, logits, velocities = trained("seen", "full", "bare", "words")
    full, bare, words = velocities.split(3)

    reading = ByTheLoop(model, trace, images[0], with_pictures=True)
    wanted = []
    told = []
    for number, thought in enumerate(walk.thoughts):
        wanted.append(model.logits(reading.text(thought)))
        told += [*model.words.wrapped(thought)[1:], [model.words.picture_start, model.words.text_start][number == 3]]
        if number < 3:
            reading.seen(images[number + 1])
    assert packed.told.tolist() == told
    torch.testing.assert_close(logits, torch.cat(wanted), atol=2e-4, rtol=1e-4)

    whole = ByTheLoop(model, trace, images[0], with_pictures=True)
    texts = ByTheLoop(model, trace, images[0], with_pictures=False)
    for number, thought in enumerate(walk.thoughts[:-1]):
        whole.context.make_room(SIDE**2 + MARKS)
        whole.text(thought)
        texts.text(thought)
        canvas = Canvas(images[0].size, whole.context, texts.context)
        found = Velocities(model, [canvas], Branches(text=True, image=True))(mixed[number], times[number])
        for mine, its in zip((bare, full, words), found, strict=True):
            torch.testing.assert_close(mine[number], its, atol=2e-4, rtol=1e-4)
        whole.clean(latents[number + 1], images[0].size)
        whole.seen(images[number + 1])
