"""The other side of bench_interleave.py: the published procedure in the plain way, and what both sides share.

One row after the other; in every iteration all contexts are built twice from nothing, once for the text and once for the
picture; a picture takes three forward passes a step; keys and values of a context are put together anew at every pass. The
modules, kernels and formulas are those of `tamis.bagel`. Kinder than the published code: the autoencoder is on the device, no
cache is copied, contexts for guidance are not built for texts, and ids are kept and not tokenised again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tamis.bagel.attention import _attention
from tamis.bagel.autoencoder import Autoencoder
from tamis.bagel.chance import Chance
from tamis.bagel.config import AutoencoderShape, LanguageShape, ModelShape, VisionShape
from tamis.bagel.flow import guide, times
from tamis.bagel.model import Model, Weights
from tamis.bagel.pictures import SizeRule
from tamis.bagel.positions import grid_places
from tamis.bagel.settings import Interleaving, Puzzle
from tamis.bagel.words import Words
from tamis.demo import INTERLEAVE_FOLDER
from tamis.engines.hf.sampler import inverse_cdf

SHAPES = {
    "small": ModelShape(
        LanguageShape(256, 704, 4, 8, 2, 512, 1e6, 1e-6, 32_768),
        VisionShape(128, 256, 3, 4, 14, 4900, 1e-6),
        AutoencoderShape(32, (32, 32, 64, 64), 1, 16),
        latent_patch=2,
        latent_side=64,
        vision_side=70,
    ),
    "7b": ModelShape(
        LanguageShape(3584, 18_944, 28, 28, 4, 152_064, 1e6, 1e-6, 32_768),
        VisionShape(1152, 4304, 26, 16, 14, 4900, 1e-6),
        AutoencoderShape(128, (128, 256, 512, 512), 2, 16),
        latent_patch=2,
        latent_side=64,
        vision_side=70,
    ),
}
_FAR = 1e4  # a logit that decides


class RandomModel(Model):
    """A model of a shape with random weights, made where they stay; the tokenizer is the embedded one."""

    def __init__(self, shape: ModelShape, size: int, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype, self.shape = torch.device(device), dtype, shape
        self.words = Words(INTERLEAVE_FOLDER)
        self.known = self.words._tokenizer.get_vocab_size()
        self.latent_rule, self.vision_rule = SizeRule(1024, size, 16), SizeRule(980, size, 14)
        with torch.device("meta"):
            self.weights, self.autoencoder = Weights(shape).to(dtype), Autoencoder(shape.autoencoder)
        if dtype == torch.float64:
            self.autoencoder.double()
        generator = torch.Generator(self.device).manual_seed(0)
        for module in (self.weights, self.autoencoder):
            module.to_empty(device=self.device).requires_grad_(requires_grad=False)
            for name, tensor in module.named_parameters():
                if tensor.ndim > 1:
                    tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
                else:
                    tensor.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)

    def force(self, logits: Tensor, lengths: list[int], wanted: int) -> None:
        """Let texts (R,) end after so many tokens, neither before nor later, and hold what the tokenizer knows."""
        logits[:, self.known :] = -_FAR
        ends = torch.tensor([_FAR if length >= wanted else -_FAR for length in lengths])
        logits[:, self.words.text_end] = ends.to(logits)


class Phases:
    """Seconds by what they were spent on: of the processor, or by the clock where a GPU does the work."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what happens meanwhile."""
        started = self.now()
        yield
        self.seconds[name] += self.now() - started

    def now(self) -> float:
        """When all work that was given out is done."""
        if not self._on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


class Seen:
    """A context: keys and values of all layers, and the next position."""

    def __init__(self, num_layers: int) -> None:
        self.layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers
        self.position = 0

    def copy(self) -> Seen:
        """What it holds now; tensors are never changed."""
        other = Seen(0)
        other.layers, other.position = list(self.layers), self.position
        return other


class Attending:
    """See `transformer.Attend`: rows of one context, a text (causal) or a picture."""

    def __init__(self, seen: Seen, num_rows: int, split: int, *, is_text: bool, keeps: bool, device: torch.device) -> None:
        offsets = torch.arange(num_rows) if is_text else torch.zeros(num_rows, dtype=torch.long)
        self.split, self.positions = split, (seen.position + offsets).to(device)
        self._seen, self._keeps = seen, keeps
        before = seen.layers[0][0].shape[1] if seen.layers[0] else 0
        causal = is_text and num_rows > 1
        mask = torch.ones(num_rows, before + num_rows, dtype=torch.bool, device=device).tril(before)
        self._mask = mask if causal else None

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = k.transpose(0, 1), v.transpose(0, 1)
        if past := self._seen.layers[layer]:
            keys, values = torch.cat([past[0], keys], 1), torch.cat([past[1], values], 1)
        if self._keeps:
            self._seen.layers[layer] = keys, values
        return _attention(q, keys, values, self._mask)


class Plain:
    """Solves one puzzle after the other."""

    def __init__(self, model: RandomModel, settings: Interleaving, num_tokens: int) -> None:
        self._model, self._settings, self._num_tokens = model, settings, num_tokens
        self.phases = Phases(model.device)

    def solve(self, puzzle: Puzzle) -> list[list[int] | Image.Image]:
        """The ids of its texts and its pictures, in turns."""
        model, chance = self._model, Chance(puzzle.seed)
        items: list[list[int] | Image.Image] = [model.words.wrapped(self._settings.system_prompt)]
        items += [model.words.wrapped(item) if isinstance(item, str) else model.resized(item) for item in puzzle.items]
        given = len(items)
        for num_drawn in range(self._settings.max_iterations + 1):
            seen = self._new()
            with self.phases.of("reading"):
                for item in items:
                    self._text(seen, item) if isinstance(item, list) else self._picture(seen, model.seen(item))
            with self.phases.of("writing"):
                ids = self._write(seen, chance)
            items.append([model.words.text_start, *ids, model.words.text_end])
            if num_drawn < self._settings.max_iterations:
                items.append(self._draw(items, chance, num_drawn))
        return [item[1:-1] if isinstance(item, list) else item for item in items[given:]]

    def _write(self, seen: Seen, chance: Chance) -> list[int]:
        model, ids = self._model, list[int]()
        token = model.words.text_start
        while True:
            step = Attending(seen, 1, 1, is_text=True, keeps=True, device=model.device)
            logits = model.step(step, torch.tensor([token], device=model.device))
            seen.position += 1
            model.force(logits, [len(ids)], self._num_tokens)
            weights = torch.softmax(logits / self._settings.temperature, -1)
            number = torch.from_numpy(np.array([chance.number()])).to(model.device)
            token = int(inverse_cdf(weights, number))
            if token == model.words.text_end:
                return ids
            ids.append(token)

    def _draw(self, items: list[list[int] | Image.Image], chance: Chance, num_drawn: int) -> Image.Image:
        model, settings = self._model, self._settings
        full, words = self._new(), self._new()
        before = full
        pictures = [item for item in items if isinstance(item, Image.Image)]
        with self.phases.of("reading"):
            for item in items:
                if isinstance(item, list):
                    before = full.copy()
                    self._text(full, item)
                    self._text(words, item)
                    continue
                side = model.shape.autoencoder.downsample
                size = (model.shape.autoencoder.latent_channels, item.height // side, item.width // side)
                noise = chance.noise("reading", pictures.index(item), size)
                self._picture(full, model.drawn(model.latents_of(item, noise), item.size), split=2)
                self._picture(full, model.seen(item))
        size = pictures[-1].size
        grid = model.latent_grid(size)
        places = grid_places(*grid, model.shape.latent_side).to(model.device)
        with self.phases.of("drawing"):
            x = chance.noise("picture", num_drawn, (len(places), model.shape.latent_width)).to(model.device)
            points = times(settings.num_steps, settings.shift).to(model.device)
            for point, span in zip(points, torch.diff(points).tolist(), strict=False):
                found = []
                for context in (full, before, words):
                    tokens = model.marked(model.latent_tokens(x, point, places))
                    hidden = self._picture(context, tokens, split=2, keeps=False)
                    found.append(model.velocity(hidden[2:]))
                x = x + span * guide(*found, settings.guidance)
        with self.phases.of("reading"):
            return model.picture(x, size)

    def _new(self) -> Seen:
        return Seen(self._model.shape.language.num_layers)

    def _text(self, seen: Seen, ids: list[int]) -> None:
        self._read(seen, self._model.text_tokens(ids), len(ids), is_text=True)
        seen.position += len(ids)

    def _picture(self, seen: Seen, tokens: Tensor, split: int = 0, *, keeps: bool = True) -> Tensor:
        """Marks first, where the others are latents: within a picture order is nothing."""
        hidden = self._read(seen, torch.cat([tokens[:1], tokens[-1:], tokens[1:-1]]), split or len(tokens), keeps=keeps)
        seen.position += keeps
        return hidden

    def _read(self, seen: Seen, rows: Tensor, split: int, *, is_text: bool = False, keeps: bool = True) -> Tensor:
        attend = Attending(seen, len(rows), split, is_text=is_text, keeps=keeps, device=self._model.device)
        return self._model.weights.language_model.model(rows, attend)
