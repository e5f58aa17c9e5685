"""Contexts hold the keys and values of the published code, texts continue as they do there, velocities point where they do."""

from __future__ import annotations

import pytest
import torch
from bagel.release import (
    SYSTEM_PROMPT,
    expected,
    facts,
    held,
    read_latents,
    read_seen,
    read_text,
    settings_of,
    worst,
)
from torch import Tensor

from tamis.bagel import attention
from tamis.bagel.attention import Step
from tamis.bagel.cache import Cache, Context
from tamis.bagel.config import LanguageShape
from tamis.bagel.flow import Branches, Canvas, Velocities, draw
from tamis.bagel.model import MARKS, Model
from tamis.bagel.settings import Guidance

CLOSE = 1e-4
SIZE = (64, 48)
NUM_LATENTS = 12


@pytest.mark.parametrize("name", sorted(facts("05_prefill")["contexts"]))
def test_prefill_and_greedy_text(model: Model, name: str) -> None:
    wanted = {
        key.removeprefix(f"{name}."): value for key, value in expected("05_prefill").items() if key.startswith(f"{name}.")
    }
    context = Context(model.new_cache(1), 0)
    hidden: list[Tensor] = []
    text = torch.empty(0)
    for entry in facts("05_prefill")["contexts"][name]["trace"]:
        if isinstance(entry["step"], str):
            text = read_text(model, context, entry["step"])
            hidden.append(text)
        else:
            picture, as_latents = entry["step"]
            if as_latents:
                hidden.append(read_latents(model, context, picture))
            hidden.append(read_seen(model, context, picture))
        assert context.mark == (entry["kv_len"], entry["rope"])
    for index, got in enumerate(hidden):
        assert worst(got, wanted[f"hidden_{index}"]) < CLOSE
    keys, values = held(context)
    assert worst(keys, wanted["key_cache"]) < CLOSE
    assert worst(values, wanted["value_cache"]) < CLOSE
    assert worst(model.logits(text), wanted["text_logits"]) < CLOSE
    ids, logits = _greedy(model, context, len(wanted["greedy_logits"]))
    assert ids[: len(wanted["greedy_ids"])] == wanted["greedy_ids"].tolist()
    assert worst(logits, wanted["greedy_logits"]) < CLOSE
    assert worst((logits[:1] / 0.3).softmax(-1), wanted["first_probs_t03"]) < CLOSE


def _greedy(model: Model, context: Context, count: int) -> tuple[list[int], Tensor]:
    ids, logits = [model.words.text_start], []
    for _ in range(count):
        column, position = context.mark
        step = Step(context.cache, torch.tensor([column]), torch.tensor([position]), column + 1)
        logits.append(model.step(step, torch.tensor(ids[-1:]))[0])
        ids.append(int(logits[-1].argmax()))
        context.advance(1)
    return ids, torch.stack(logits)


@pytest.fixture(scope="module")
def canvas(model: Model) -> Canvas:
    """The contexts of 06_flow: system prompt, question and picture; the room; the text that calls for a picture."""
    with torch.inference_mode():
        full, words = Context(model.new_cache(1), 0), Context(model.new_cache(1), 0)
        (_, question), (_, picture), (_, thought) = facts("06_flow")["items"]
        for text in (SYSTEM_PROMPT, question):
            read_text(model, full, text)
            read_text(model, words, text)
        read_latents(model, full, picture)
        read_seen(model, full, picture)
        full.make_room(NUM_LATENTS + MARKS)
        read_text(model, full, thought)
        read_text(model, words, thought)
    return Canvas(SIZE, full, words)


def test_the_three_contexts(canvas: Canvas) -> None:
    wanted, sizes = expected("06_flow"), facts("06_flow")["contexts"]
    full, words, room = canvas.full, canvas.words, NUM_LATENTS + MARKS
    before = sizes["cfg_text"]["kv_len"]
    assert (full.length - room, full.position) == tuple(sizes["full"].values())
    assert words.mark == tuple(sizes["cfg_img"].values())
    for name, got in (
        ("full", held(full, [*range(before), *range(before + room, full.length)])),
        ("cfg_text", held(full, list(range(before)))),
        ("cfg_img", held(words)),
    ):
        assert worst(got[0], wanted[f"key_cache_{name}"]) < CLOSE
        assert worst(got[1], wanted[f"value_cache_{name}"]) < CLOSE
    for name, piece in (
        ("full", full.noisy(room)),
        ("cfg_text", full.noisy_without_text(room)),
        ("cfg_img", words.noisy(room)),
    ):
        assert [piece.position] * room == wanted[f"packed_position_ids_{name}"].tolist()


@pytest.mark.parametrize("index", range(3))
def test_velocities(model: Model, canvas: Canvas, index: int) -> None:
    wanted = expected("06_flow")
    x, time = wanted[f"x_{index}"], wanted[f"t_{index}"]
    whole = Velocities(model, [canvas], Branches(text=True, image=True))
    for got, name in zip(whole(x, time), ("cfg_text", "full", "cfg_img"), strict=True):
        assert worst(got, wanted[f"v_{index}_{name}"]) < CLOSE
    for renorm in ("text_channel", "global", "channel"):
        for least in (0.0, 0.7):
            got = whole.guided(x, time, Guidance(4.0, 2.0, renorm=renorm, renorm_min=least))
            assert worst(got, wanted[f"v_{index}_{renorm}_min{least}"]) < CLOSE
        by_text = Guidance(4.0, 1.0, renorm=renorm)
        got = Velocities(model, [canvas], Branches.needed(by_text)).guided(x, time, by_text)
        assert worst(got, wanted[f"v_{index}_{renorm}_textonly"]) < CLOSE
    by_picture = Guidance(1.0, 2.0)
    got = Velocities(model, [canvas], Branches.needed(by_picture)).guided(x, time, by_picture)
    assert worst(got, wanted[f"v_{index}_imgonly"]) < CLOSE


@pytest.mark.parametrize("run", sorted(facts("07_sampler")["runs"]))
def test_sampler(model: Model, canvas: Canvas, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, info = expected("07_sampler"), facts("07_sampler")
    steps: list[Tensor] = []
    guided = Velocities.guided

    def recording(self: Velocities, x: Tensor, time: Tensor, guidance: Guidance) -> Tensor:
        steps.append(x)
        return guided(self, x, time, guidance)

    monkeypatch.setattr(Velocities, "guided", recording)
    settings = settings_of({**info["defaults"], **info["runs"][run]})
    (latents,) = draw(model, [canvas], [wanted["init_noise"]], settings)
    assert worst(torch.stack(steps), wanted[f"{run}.x_steps"]) < 2e-3
    assert worst(latents, wanted[f"{run}.final"]) < 2e-3
    image = (model.image(latents, SIZE) / 2 + 0.5).clamp(0, 1)
    assert worst(image[None], wanted[f"{run}.image01"]) < 2e-3


def test_a_long_text_is_read_in_blocks(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Remove the square. " * 12
    found = []
    for block_tokens in (10_000, 7):
        monkeypatch.setattr(attention, "BLOCK_TOKENS", block_tokens)
        context = Context(model.new_cache(1), 0)
        read_seen(model, context, "p1")
        context.make_room(6)
        found.append((read_text(model, context, text), *held(context)))
    for one, other in zip(*found, strict=True):
        assert worst(one, other) < 1e-4


def test_a_cache_that_could_not_grow_in_all_its_layers_grows_later(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = model.new_cache(2)
    cache.reserve(5)
    cache.keys[0][0] = 3.0
    room = [1]  # tensors until memory runs out

    def limited(self: Tensor, *size: int) -> Tensor:
        if not room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        room[0] -= 1
        return torch.zeros(*size)

    with monkeypatch.context() as patched:
        patched.setattr(Tensor, "new_zeros", limited)
        with pytest.raises(torch.OutOfMemoryError):
            cache.reserve(600)
    cache.reserve(900)
    assert {tensor.shape[2] for tensor in (*cache.keys, *cache.values)} == {cache.num_columns}
    assert cache.num_columns >= 900
    assert bool((cache.keys[0][0, :, :256] == 3.0).all())


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize(("head_dim", "groups"), [(32, 1), (32, 3), (16, 2), (128, 7)])
def test_a_step_gives_a_slot_the_same_beside_any_number_of_others(num_threads: int, head_dim: int, groups: int) -> None:
    num_slots, num_heads, num_columns = 8, 2, 300
    shape = LanguageShape(groups * num_heads * head_dim, 0, 1, groups * num_heads, num_heads, 0, 1.0, 1.0, 0)
    generator = torch.Generator().manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        found = []
        held_columns = torch.randn(num_slots, num_heads, num_columns, head_dim, generator=generator)
        counts = (groups * num_heads, num_heads, num_heads)
        q, k, v = (torch.randn(num_slots, count, head_dim, generator=generator) for count in counts)
        for size in (1, 2, 3, 5, num_slots):
            cache = Cache(shape, size, torch.device("cpu"), torch.float32)
            cache.reserve(num_columns)
            for tensor in (cache.keys[0], cache.values[0]):
                tensor[:, :, :num_columns] = held_columns[:size]
            columns = torch.tensor([70, *[250] * 7])[:size]
            step = Step(cache, columns, columns, 251)
            rows = [torch.nn.functional.pad(each[:size], (0, 0, 0, 0, 0, step.num_rows - size)) for each in (q, k, v)]
            found.append(step(0, *rows)[0])
        assert all(torch.equal(each, found[0]) for each in found)
    finally:
        torch.set_num_threads(before)
