"""Train the embedded unified model from nothing: a BAGEL of 1.5 M parameters that moves a ring over a board, drawing each step.

    python -m tamis.demo.train_interleave --minutes 15 --out DIR

First the autoencoder, then the mixture of transformers: cross-entropy of the texts and the squared error of the velocities,
x_t = (1 - t) x + t noise, v = noise - x, in the contexts that the loop will show (`interleave_lines`). What is drawn has a
small head of its own that is thrown away: on which tile does the ring stand? Seeded, but the schedule follows the clock of the
processor: two runs of the same length are alike, not equal. The figures of the shipped model are in INTERLEAVE_CARD.md beside
this file.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tamis.bagel.flow import shifted
from tamis.bagel.pictures import to_patches
from tamis.bagel.settings import SYSTEM_PROMPT
from tamis.bagel.words import Words
from tamis.demo.interleave_lines import LineKind, Packed, Trace, features, forward, line_of
from tamis.demo.interleave_shape import (
    LATENT_PATCH,
    SHIFT,
    WIDTH,
    new_weights,
    save_weights,
    train_tokenizer,
    write_configuration,
)
from tamis.demo.ring_walks import SIDE, TILE, Walk, generate
from tamis.demo.train_interleave_autoencoder import as_images, load_autoencoder, moments, train_autoencoder

_WEIGHTS_FILE = "model.safetensors"
_DIRECT_SHARE = 0.25  # asked to answer at once
_SYSTEM_SHARE = 0.25  # of batches
_KINDS: tuple[LineKind, ...] = ("full", "bare", "words")
_KIND_SHARES = (0.84, 0.08, 0.08)  # contexts under which a picture is drawn; the latter two for guidance
_FLOW_WEIGHT = 4.0
_NEAR_WEIGHT = 4.0  # of the tile that the ring leaves and of those beside it, where that of the others is 1
_RING_WEIGHT = 2.0


class Pool:
    """Walks with the moments of the latents of their drawn pictures, encoded once."""

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        autoencoder = load_autoencoder(folder)
        self.walks = list(islice(generate(random.Random(f"walks {seed}"), direct_share=_DIRECT_SHARE), count))
        self._means: list[Tensor] = []
        self._spreads: list[Tensor] = []
        drawn = [walk.pixels(step) for walk in self.walks for step in range(1, num_pictures(walk))]
        with torch.inference_mode():
            for start in range(0, len(drawn), 16):
                mean, spread = moments(autoencoder, as_images(drawn[start : start + 16]))
                self._means += mean
                self._spreads += spread
        starts = np.cumsum([0, *(num_pictures(walk) - 1 for walk in self.walks)])
        self._starts = starts.tolist()

    def latents(self, index: int) -> list[Tensor]:
        """Latents (N, c) of the drawn pictures of a walk, each at a point of its posterior."""
        found = []
        for at in range(self._starts[index], self._starts[index + 1]):
            point = self._means[at] + self._spreads[at] * torch.randn_like(self._means[at])
            found.append(to_patches(point, LATENT_PATCH))
        return found


def num_pictures(walk: Walk) -> int:
    """Of its trace, the given one among them."""
    return len(walk.thoughts)


def _tile_weights(walk: Walk, step: int) -> Tensor:
    """By where the ring was, and not by where it goes: else rings would be drawn wherever one may be."""
    row, column = walk.cells[step - 1]
    weights = [_NEAR_WEIGHT if abs(y - row) + abs(x - column) <= 1 else 1.0 for y in range(SIDE) for x in range(SIDE)]
    return torch.tensor(weights)


class Trainer:
    """The model and the stream of traces."""

    def __init__(self, out: Path, *, pool_size: int, batch_size: int, seed: int, goes_on: bool) -> None:
        self.weights = new_weights(seed)
        if goes_on:
            self.weights.load_state_dict(load_file(out / _WEIGHTS_FILE))
        self.ring = nn.Linear(WIDTH, 1)  # thrown away
        self._words = Words(out)
        self._pool = Pool(out, pool_size, seed)
        self._rng = random.Random(f"batches {seed}")
        self._batch_size = batch_size

    def losses(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the texts (a line's sum), of the velocities, and of the place of the ring, of the next batch."""
        chosen = self._rng.sample(range(len(self._pool.walks)), self._batch_size)
        while all(self._pool.walks[index].is_direct for index in chosen):  # nothing would be drawn
            chosen = self._rng.sample(range(len(self._pool.walks)), self._batch_size)
        system = (SYSTEM_PROMPT,) if self._rng.random() < _SYSTEM_SHARE else ()
        lines = []
        images: list[np.ndarray] = []
        latents: dict[int, Tensor] = {}
        tiles: dict[int, Tensor] = {}  # how much those of each picture weigh
        rings: dict[int, int] = {}  # on which of them it stands
        for index in chosen:
            walk = self._pool.walks[index]
            trace = Trace((*system, walk.question), tuple(walk.thoughts), len(images))
            lines.append(line_of(trace, "seen", self._words))
            if not walk.is_direct:
                lines.append(line_of(trace, self._rng.choices(_KINDS, _KIND_SHARES)[0], self._words))
            latents |= dict(enumerate(self._pool.latents(index), len(images) + 1))
            tiles |= {len(images) + step: _tile_weights(walk, step) for step in range(1, num_pictures(walk))}
            rings |= {len(images) + step: row * SIDE + column for step, (row, column) in enumerate(walk.cells)}
            images += [walk.pixels(step) for step in range(num_pictures(walk))]
        packed = Packed(lines, SIDE**2, self._words)
        patches = torch.vmap(lambda image: to_patches(image, TILE))(as_images(images))
        targets = torch.stack([latents[picture] for picture in packed.noisy_pictures])
        clean = [latents[picture] for picture in packed.clean_pictures]
        times = shifted(torch.rand(len(targets)), SHIFT)
        noise = torch.randn_like(targets)
        mixed = torch.lerp(targets, noise, times[:, None, None])
        logits, velocities, drawn = forward(
            self.weights,
            packed,
            features(self.weights, patches),
            mixed,
            times,
            torch.stack(clean) if clean else targets[:0],
        )
        texts = nn.functional.cross_entropy(logits, packed.told, reduction="sum") / self._batch_size
        errors = (velocities - (noise - targets)).square().mean(-1)  # (P, N)
        flow = (errors * torch.stack([tiles[picture] for picture in packed.noisy_pictures])).mean()
        stands = torch.tensor([rings[picture] for picture in packed.noisy_pictures])
        found = nn.functional.cross_entropy(self.ring(drawn)[..., 0], stands, reduction="none")
        return texts, flow, (times * found).mean()

    def save(self, out: Path) -> None:
        """Write the weights."""
        save_weights(self.weights, out / _WEIGHTS_FILE)


def train(
    out: Path, *, minutes: float, pool_size: int, batch_size: int, peak_lr: float, seed: int, goes_on: bool = False
) -> None:
    """Train the transformer for so many minutes of processor time (a warm-up, then cosine) and save it."""
    trainer = Trainer(out, pool_size=pool_size, batch_size=batch_size, seed=seed, goes_on=goes_on)
    parameters = [*trainer.weights.parameters(), *trainer.ring.parameters()]
    print(f"{sum(p.numel() for p in parameters) / 1e6:.2f} M parameters", flush=True)
    optimizer = torch.optim.AdamW(parameters, lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.01)
    began = reported = time.process_time()  # the machine may have other things to do
    step, sums, since = 0, np.zeros(3), 0
    while (share := (time.process_time() - began) / (60 * minutes)) < 1:
        step, since = step + 1, since + 1
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * min(1.0, step / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        texts, flow, ring = trainer.losses()
        (texts + _FLOW_WEIGHT * flow + _RING_WEIGHT * ring).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums += texts.item(), flow.item(), ring.item()
        if time.process_time() - reported >= 20:
            reported = time.process_time()
            means = "texts {:.3f} flow {:.4f} ring {:.3f}".format(*(sums / since))
            print(f"step {step} {means} {reported - began:.0f} s", flush=True)
            sums, since = np.zeros(3), 0
            trainer.save(out)
    print(f"step {step}: {step * batch_size} walks", flush=True)
    trainer.save(out)


def main(argv: list[str]) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m tamis.demo.train_interleave", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument(
        "--minutes", type=float, default=15, help="of processor time for the transformer (default: %(default)s)"
    )
    parser.add_argument(
        "--autoencoder-minutes", type=float, default=2, help="0: the one that lies there (default: %(default)s)"
    )
    parser.add_argument("--pool", type=int, default=3000, help="walks (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--peak-lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--go-on", action="store_true", help="with the words, autoencoder and weights that lie there")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if not args.go_on:
        train_tokenizer(args.out, args.seed)
        write_configuration(args.out)
    if args.autoencoder_minutes and not args.go_on:
        train_autoencoder(args.out, minutes=args.autoencoder_minutes, seed=args.seed)
    torch.manual_seed(args.seed)
    train(
        args.out,
        minutes=args.minutes,
        pool_size=args.pool,
        batch_size=args.batch_size,
        peak_lr=args.peak_lr,
        seed=args.seed,
        goes_on=args.go_on,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
