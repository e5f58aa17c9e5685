"""From noise to latents: the times, the guidance, the moves.

At each time the model says in which direction data lies from noise (v), for each picture up to three times: under its full
context, under the context without the last text, and under the texts alone. Pictures of several rows, in all their branches,
are one pack: its rows, positions and columns are the same at every time, only the latents change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.bagel.attention import Pack
from tamis.bagel.cache import Context
from tamis.bagel.model import MARKS, Model
from tamis.bagel.positions import grid_places
from tamis.bagel.settings import Guidance, Interleaving

_TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture to be drawn: its size, the context with a room for it, and the context of texts alone."""

    size: tuple[int, int]
    full: Context
    words: Context


def shifted(even: Tensor, shift: float) -> Tensor:
    """Even times t as s t / (1 + (s - 1) t), s the shift (Esser et al. 2403.03206): above 1, longer at noise."""
    return shift * even / (1 + (shift - 1) * even)


def times(num_steps: int, shift: float) -> Tensor:
    """The points in time (N,) from 1, noise, to 0, data."""
    return shifted(torch.linspace(1, 0, num_steps), shift)


def draw(model: Model, canvases: Sequence[Canvas], noise: Sequence[Tensor], settings: Interleaving) -> list[Tensor]:
    """Latents (N, c) of each picture, from noise of that shape, by Euler's moves x + (t' - t) v(x, t)."""
    points = times(settings.num_steps, settings.shift).to(model.device)
    spans = torch.diff(points).tolist()
    branches = Branches.needed(settings.guidance)
    guided = Velocities(model, canvases, branches)
    plain = guided if branches == Branches() else None
    x = torch.cat(list(noise)).to(model.device)  # (sum of N, c)
    low, high = settings.guidance.interval
    for point, time, span in zip(points, points.tolist(), spans, strict=False):
        if low < time <= high:
            x = x + span * guided.guided(x, point, settings.guidance)
        else:
            plain = plain or Velocities(model, canvases, Branches())
            x = x + span * plain.guided(x, point, settings.guidance)
    return list(x.split(guided.lengths))


@dataclass(frozen=True, slots=True)
class Branches:
    """Under which contexts beside the full one a velocity is wanted."""

    text: bool = False
    image: bool = False

    @staticmethod
    def needed(guidance: Guidance) -> Branches:
        """What guidance asks for; without that by text there is none by pictures either."""
        text = guidance.text_scale > 1
        return Branches(text, text and guidance.image_scale > 1)


class Velocities:
    """The velocities of several pictures in one forward pass."""

    def __init__(self, model: Model, canvases: Sequence[Canvas], branches: Branches) -> None:
        self._model = model
        self._branches = branches
        grids = [model.latent_grid(canvas.size) for canvas in canvases]
        self.lengths = [height * width for height, width in grids]
        places = [grid_places(*grid, model.shape.latent_side) for grid in grids]
        self._places = torch.cat(places).to(model.device)
        pieces = []
        if branches.text:  # before the full one, with which it shares its room
            pieces += [c.full.noisy_without_text(n + MARKS) for c, n in zip(canvases, self.lengths, strict=True)]
        pieces += [canvas.full.noisy(n + MARKS) for canvas, n in zip(canvases, self.lengths, strict=True)]
        if branches.image:
            pieces += [canvas.words.noisy(n + MARKS) for canvas, n in zip(canvases, self.lengths, strict=True)]
        self._pack = Pack(pieces, model.device)
        width = model.shape.language.hidden
        self._tokens = torch.cat(
            [model.marked(torch.zeros(p.num_tokens - MARKS, width, device=model.device, dtype=model.dtype)) for p in pieces]
        )

    def __call__(self, x: Tensor, time: Tensor) -> list[Tensor]:
        """Velocities of latents, all (sum of N, c), at a time: without the text if wanted, full, of the words if wanted."""
        model = self._model
        latents = model.latent_tokens(x, time, self._places)
        count = 1 + self._branches.text + self._branches.image
        tokens = self._tokens.index_copy(0, self._pack.latents, latents.repeat(count, 1))
        hidden = model.read(self._pack, tokens)[self._pack.latents]
        return list(model.velocity(hidden).chunk(count))

    def guided(self, x: Tensor, time: Tensor, guidance: Guidance) -> Tensor:
        """The velocity (sum of N, c) by which to move: plain without branches."""
        found = [v.split(self.lengths) for v in self(x, time)]
        if not self._branches.text:
            return torch.cat(found[0])
        without_text, full = found[:2]
        of_words = found[2] if self._branches.image else [None] * len(full)
        return torch.cat([guide(*each, guidance) for each in zip(full, without_text, of_words, strict=True)])


def guide(v: Tensor, without_text: Tensor, of_words: Tensor | None, guidance: Guidance) -> Tensor:
    """The guided velocity (N, c) of one picture: v with the last text, v_T without it, v_I of the texts alone.

    u = v_T + text_scale (v - v_T), then w = v_I + image_scale (u - v_I); u (`text_channel`) or w gets at most the length of v.
    """
    driven = without_text + guidance.text_scale * (v - without_text)
    if guidance.renorm == "text_channel":
        driven = _renormed(driven, v, guidance.renorm_min, whole=False)
    if of_words is not None:
        driven = of_words + guidance.image_scale * (driven - of_words)
    if guidance.renorm == "text_channel":
        return driven
    return _renormed(driven, v, guidance.renorm_min, whole=guidance.renorm == "global")


def _renormed(driven: Tensor, v: Tensor, least: float, *, whole: bool) -> Tensor:
    """Guidance may not lengthen a velocity: of each token, or of the whole picture."""
    if whole:
        ratio = v.norm() / (driven.norm() + _TINY)
    else:
        ratio = v.norm(dim=-1, keepdim=True) / (driven.norm(dim=-1, keepdim=True) + _TINY)
    return driven * ratio.clamp(least, 1)
