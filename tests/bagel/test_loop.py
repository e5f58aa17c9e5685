"""The loop: what the published code makes of a row, whatever else is solved beside it; and rows that cannot be solved."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from bagel.release import (
    LOOPS,
    SYSTEM_PROMPT,
    drawn,
    expected,
    facts,
    open_release,
    pixels,
    puzzle,
    read_seen,
    read_text,
    settings_of,
    source,
    texts,
    worst,
)
from PIL import Image
from torch import Tensor

from tamis.bagel import loop
from tamis.bagel.attention import Pack
from tamis.bagel.cache import Context
from tamis.bagel.chance import Chance
from tamis.bagel.flow import Canvas, draw
from tamis.bagel.loop import interleave
from tamis.bagel.model import MARKS, Model
from tamis.bagel.settings import Guidance, Interleaving, Puzzle, Solution, Thought
from tamis.errors import UsageError

SMALL = Interleaving(system_prompt=SYSTEM_PROMPT, temperature=1.0, max_tokens=24, max_iterations=2, num_steps=5, size=(32, 48))


def solve(model: Model, puzzles: Sequence[Puzzle], settings: Interleaving) -> dict[str, Solution]:
    return {solution.id: solution for solution in interleave(model, puzzles, settings)}


def some_puzzles() -> list[Puzzle]:
    items = [facts(name)["input_items"] for name in LOOPS[::2]]
    items += [[["text", "Which?"], ["image", "p4"]], [["image", "p2"], ["text", "Cross out 5."]]]
    return [puzzle(items[number % 5], str(number), 1000 + number) for number in range(10)]


def assert_same(one: Solution, other: Solution) -> None:
    assert (one.ending, len(one.parts)) == (other.ending, len(other.parts))
    for mine, yours in zip(one.parts, other.parts, strict=True):
        if isinstance(mine, Thought):
            assert mine.text == yours.text
            assert np.array_equal(mine.stats.values, yours.stats.values)
        else:
            assert torch.equal(pixels(mine), pixels(yours))


@pytest.mark.parametrize("name", LOOPS)
def test_what_the_published_code_makes_of_a_row(model: Model, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, info = expected(name), facts(name)
    contexts: list[dict[str, list[int]]] = []
    latents: list[Tensor] = []

    class Given(Chance):
        def noise(self, kind: str, index: int, shape: tuple[int, ...]) -> Tensor:
            return wanted[f"{'noise' if kind == 'picture' else 'vae_eps'}_{index}"].reshape(shape)

    def recording(model: Model, canvases: Sequence[Canvas], noise: Sequence[Tensor], settings: Interleaving) -> list[Tensor]:
        (canvas,) = canvases
        room = len(noise[0]) + MARKS
        short = canvas.full.noisy_without_text(room)
        full = [canvas.full.length - room, canvas.full.position]
        contexts.append({"full": full, "cfg_text": [short.first, short.position], "cfg_img": list(canvas.words.mark)})
        latents.extend(draw(model, canvases, noise, settings))
        return latents[-1:]

    monkeypatch.setattr(loop, "draw", recording)
    height, width = info["default_image_shape_hw"]
    settings = settings_of(
        info["hyper"],
        system_prompt=SYSTEM_PROMPT,
        temperature=0.0,
        max_tokens=32,
        size=None if any(kind == "image" for kind, _ in info["input_items"]) else (width, height),
        problem_latents=True,
        sampled_latents=info["vae_posterior"] == "sample",
    )
    (solution,) = interleave(model, [puzzle(info["input_items"])], settings, chance=Given)
    assert (solution.ending, solution.error) == ("stop", None)
    assert texts(solution) == info["texts"]
    thoughts = [part for part in solution.parts if isinstance(part, Thought)]
    for index, thought in enumerate(thoughts):
        assert thought.stats.ids.tolist() == wanted[f"token_ids_{index}"].tolist()[1:-1]
    assert contexts == [{k: v for k, v in each.items() if k != "image_shape"} for each in info["generation_contexts"]]
    for index, picture in enumerate(drawn(solution)):
        assert worst(latents[index], wanted[f"latent_{index}"]) < 2e-3
        assert worst(pixels(picture), wanted[f"image_uint8_{index}"]) <= 1


@pytest.mark.parametrize("problem_latents", [False, True])
def test_a_row_does_not_depend_on_the_others(model: Model, problem_latents: bool) -> None:
    settings = replace(SMALL, problem_latents=problem_latents)
    puzzles = some_puzzles()
    alone = solve(model, puzzles, replace(settings, batch_size=1))
    assert {len(solution.parts) for solution in alone.values()} > {1, 3}
    for batch_size, pack_tokens in ((3, 60), (8, 32_768)):
        random.Random(batch_size).shuffle(puzzles)
        together = solve(model, puzzles, replace(settings, batch_size=batch_size, pack_tokens=pack_tokens))
        assert together.keys() == alone.keys()
        for name, solution in together.items():
            assert_same(solution, alone[name])


@pytest.mark.parametrize(("temperature", "get"), [(0.0, drawn), (1.0, texts)])
def test_other_seeds_give_other_texts_and_pictures(model: Model, temperature: float, get: Callable[[Solution], list]) -> None:
    settings = replace(SMALL, temperature=temperature)
    items = facts(LOOPS[0])["input_items"]
    one, other = (solve(model, [puzzle(items, "a", seed)], settings)["a"] for seed in (3, 4))
    assert get(one)[0] != get(other)[0]


def test_candidates_of_a_problem_read_it_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [["text", "Which?"], ["image", "p4"], ["text", "Cross it out."]]
    puzzles = [puzzle(items, str(number), 50 + number) for number in range(5)]
    puzzles.insert(2, puzzle(items[:2], "other", 7))
    settings = replace(SMALL, max_iterations=1)
    alone = {each.id: solve(model, [each], settings)[each.id] for each in puzzles}
    num_seen = 0
    see = model.seen

    def counted(picture: Image.Image) -> Tensor:
        nonlocal num_seen
        num_seen += 1
        return see(picture)

    monkeypatch.setattr(model, "seen", counted)
    together = solve(model, puzzles, settings)
    num_drawn = sum(not isinstance(part, Thought) for each in together.values() for part in each.parts)
    assert num_seen - num_drawn == 2  # of the problem, and of the other
    for name, solution in alone.items():
        assert_same(together[name], solution)


def test_problem_pictures_are_only_seen_unless_asked(model: Model) -> None:
    """The first picture, drawn by hand from contexts of their own."""
    items = facts(LOOPS[0])["input_items"]
    settings = replace(SMALL, temperature=0.0)
    solution = solve(model, [puzzle(items, seed=7)], settings)["a"]
    full, words = Context(model.new_cache(1), 0), Context(model.new_cache(1), 0)
    for text in (SYSTEM_PROMPT, items[0][1]):
        read_text(model, full, text)
        read_text(model, words, text)
    read_seen(model, full, items[1][1])
    full.make_room(12 + MARKS)
    for context in (full, words):
        read_text(model, context, texts(solution)[0])
    (latents,) = draw(model, [Canvas((64, 48), full, words)], [Chance(7).noise("picture", 0, (12, 64))], settings)
    assert worst(pixels(drawn(solution)[0]), pixels(model.picture(latents, (64, 48)))) <= 1


def test_statistics_are_of_the_drawn_tokens(model: Model) -> None:
    items = facts(LOOPS[0])["input_items"]
    thought = solve(model, [puzzle(items)], SMALL)["a"].parts[0]
    assert isinstance(thought, Thought)
    context = Context(model.new_cache(1), 0)
    read_text(model, context, SYSTEM_PROMPT)
    read_text(model, context, items[0][1])
    read_seen(model, context, items[1][1])
    logps = model.logits(read_text(model, context, thought.text)).log_softmax(-1)
    ids = torch.from_numpy(thought.stats.ids).long()
    assert model.words.ids(thought.text) == ids.tolist()
    got = torch.from_numpy(thought.stats.column("logp"))
    assert worst(got, logps[: len(ids)].gather(1, ids[:, None])[:, 0]) < 1e-4


def test_the_models_own_sign_of_an_answer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end of a text the model begins an answer rather than a picture: of two marks the more probable one.

    The answer is a text of its own, which follows at once.
    """
    items = facts(LOOPS[0])["input_items"]
    settings = replace(SMALL, temperature=0.0, stop_rule="signal", max_iterations=1)
    context = Context(model.new_cache(1), 0)
    read_text(model, context, SYSTEM_PROMPT)
    read_text(model, context, items[0][1])
    read_seen(model, context, items[1][1])
    logits = model.logits(read_text(model, context, facts(LOOPS[0])["texts"][0])[-1])
    words = model.words
    for begins_answer in (True, False):
        other = open_release()
        head = other.weights.language_model.lm_head.weight
        marks = [words.text_start, words.picture_start]
        if bool(logits[marks[0]] > logits[marks[1]]) != begins_answer:
            head[marks] = head[marks[::-1]]
        solution = solve(other, [puzzle(items)], settings)["a"]
        assert [isinstance(part, Thought) for part in solution.parts] == [True, begins_answer, True][: len(solution.parts)]
        assert texts(solution)[0] == facts(LOOPS[0])["texts"][0]
        if not begins_answer:
            continue
        assert solution.ending in ("stop", "length")
        context.clear()
        for role, item in (("text", SYSTEM_PROMPT), *items, ("text", texts(solution)[0])):
            (read_text if role == "text" else read_seen)(other, context, item)
        answer = solution.parts[1]
        assert isinstance(answer, Thought)
        ids = [words.text_start, *answer.stats.ids.tolist()]
        hidden = other.read(Pack([context.text(len(ids))], other.device), other.text_tokens(ids))
        assert other.logits(hidden).argmax(-1).tolist()[: len(ids) - 1] == ids[1:]
        monkeypatch.setattr(loop, "ANSWER_MARKS", ("remove",))  # the thought has said it already
        assert len(solve(other, [puzzle(items)], settings)["a"].parts) == 1


def test_endings(model: Model) -> None:
    items = facts(LOOPS[0])["input_items"]
    greedy = replace(SMALL, temperature=0.0)
    by_limit = solve(model, [puzzle(items)], replace(greedy, max_iterations=0))["a"]
    assert (by_limit.ending, len(by_limit.parts)) == ("iterations", 1)
    cut = solve(model, [puzzle(items)], replace(greedy, max_tokens=3))["a"]
    assert (cut.ending, len(cut.parts)) == ("length", 1)
    assert len(cut.parts[0].stats) == 3


def test_bad_rows_do_not_touch_the_others(model: Model) -> None:
    """One has a torn picture, one is too long, one makes the model give what is no number."""
    broken = open_release()
    broken.weights.language_model.model.embed_tokens.weight[broken.words.ids("中")] = float("nan")
    data = BytesIO()
    source("p1").save(data, "PNG")
    torn = Image.open(BytesIO(data.getvalue()[:-60]))
    good = [*some_puzzles()[:2], Puzzle("after", ("with",), 5)]
    bad = [Puzzle("torn", ("What?", torn), 1), Puzzle("long", ("a b " * 3000,), 1), Puzzle("nan", ("中" * 30,), 1)]
    alone = solve(model, good, replace(SMALL, batch_size=1))
    for batch_size in (1, 2):
        solutions = solve(broken, [*good[:2], *bad, good[2]], replace(SMALL, batch_size=batch_size))
        said = {name: (s.error.boundary, s.error.message) for name, s in solutions.items() if s.error}
        assert {name: boundary for name, (boundary, _) in said.items()} == {"torn": "input", "long": "input", "nan": "engine"}
        assert "positions" in said["long"][1]
        for name, solution in alone.items():
            assert_same(solution, solutions[name])


@pytest.mark.parametrize("name", ["_seat", "_write", "_draw_pack"])
def test_where_memory_runs_out_fewer_rows_are_solved_at_a_time(
    model: Model, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that holds two rows, if neither is the one with 60 words."""
    puzzles = some_puzzles()
    expected = solve(model, puzzles, SMALL)
    large = Puzzle("large", (" 60" * 60,), 5)
    num_times = 0
    method = getattr(loop._Loop, name)

    def limited(solving: loop._Loop, *arguments: object) -> None:
        nonlocal num_times
        method(solving, *arguments)
        rows = [row for row in solving._slots.rows if row]
        if len(rows) > 2 or any(row.puzzle.id == "large" for row in rows):
            num_times += 1
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop._Loop, name, limited)
    found = solve(model, [*puzzles[:4], large, *puzzles[4:]], replace(SMALL, batch_size=6))
    assert num_times > 2
    failed = found.pop("large")
    assert failed.error is not None
    assert (failed.error.boundary, failed.error.message) == ("engine", "out of memory with this row alone")
    assert found.keys() == expected.keys()
    for place, solution in expected.items():
        assert_same(found[place], solution)


@pytest.mark.parametrize(
    "settings",
    [
        Interleaving(temperature=-1),
        Interleaving(num_steps=1),
        Interleaving(size=(100, 64)),
        Interleaving(size=(2048, 64)),
        Interleaving(guidance=Guidance(interval=(0.9, 0.4))),
        Interleaving(guidance=Guidance(text_scale=float("nan"))),
        Interleaving(guidance=Guidance(image_scale=float("inf"))),
    ],
)
def test_settings_that_cannot_be(model: Model, settings: Interleaving) -> None:
    with pytest.raises(UsageError):
        interleave(model, [], settings)
