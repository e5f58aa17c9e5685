"""Train the autoencoder of the embedded unified model, on boards: the first part of `train_interleave`."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from tamis.bagel.autoencoder import SCALE, SHIFT, Autoencoder
from tamis.bagel.config import AUTOENCODER_FILE
from tamis.demo.interleave_shape import AUTOENCODER, save_weights
from tamis.demo.ring_walks import SIDE, TILE, Walk, generate

_KL_WEIGHT = 2e-4
_SPREAD_WEIGHT = 0.02
_BATCH_SIZE = 8
_PEAK_LR = 3e-3
_CUT_SHARE = 0.65  # of the time quarters of boards are enough: it is all but local


def train_autoencoder(out: Path, *, minutes: float, seed: int) -> None:
    """Train for so many minutes of processor time and write the file into the folder `out`."""
    torch.manual_seed(seed)
    model = Autoencoder(AUTOENCODER)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_LR, betas=(0.9, 0.98), weight_decay=0.0)
    rng = random.Random(f"autoencoder {seed}")
    boards = _boards(rng)
    began = reported = time.process_time()
    step = 0
    while (share := (time.process_time() - began) / (60 * minutes)) < 1:
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = _PEAK_LR * min(1.0, step / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        images = as_images([next(boards) for _ in range(_BATCH_SIZE)])
        images = _quarter(images, rng) if share < _CUT_SHARE else images[: _BATCH_SIZE // 2]
        loss, error = _loss(model, images)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if time.process_time() - reported >= 20:
            reported = time.process_time()
            psnr = -10 * math.log10(error / 4)  # of values from -1 to 1
            print(f"autoencoder: step {step} loss {loss.item():.4f} PSNR {psnr:.1f} dB {reported - began:.0f} s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    save_weights(model, out / AUTOENCODER_FILE)


def load_autoencoder(folder: Path) -> Autoencoder:
    """The one that lies in a folder."""
    model = Autoencoder(AUTOENCODER)
    model.load_state_dict(load_file(folder / AUTOENCODER_FILE))
    return model.requires_grad_(requires_grad=False)


def as_images(boards: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Boards (H, W, 3) as images (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(boards)).permute(0, 3, 1, 2).float() / 127.5 - 1


def moments(model: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread (B, z, h, w) of the latents of images, scaled as the model's own are."""
    mean, log_variance = model.encoder(images).chunk(2, 1)
    return SCALE * (mean - SHIFT), SCALE * torch.exp(log_variance / 2)


def _boards(rng: random.Random) -> Iterator[NDArray[np.uint8]]:
    walks: Iterator[Walk] = generate(rng)
    while True:
        walk = next(walks)
        yield walk.pixels(rng.randint(0, len(walk.moves)))


def _quarter(images: Tensor, rng: random.Random) -> Tensor:
    """A square of half the side, of whole tiles."""
    row, column = (TILE * rng.randint(0, SIDE // 2) for _ in range(2))
    half = TILE * SIDE // 2
    return images[:, :, row : row + half, column : column + half].contiguous()


def _loss(model: Autoencoder, images: Tensor) -> tuple[Tensor, float]:
    """What is minimised, and the mean squared error."""
    mean, spread = moments(model, images)
    latents = mean + spread * torch.randn_like(mean)
    found = model.decoder(latents / SCALE + SHIFT)
    squared = nn.functional.mse_loss(found, images)
    kl = 0.5 * (mean**2 + spread**2 - 1 - 2 * spread.log()).mean()
    channels = latents.transpose(0, 1).flatten(1)
    wide = channels.mean(1).square().mean() + (channels.std(1) - 1).square().mean()
    loss = squared + nn.functional.l1_loss(found, images) + _KL_WEIGHT * kl + _SPREAD_WEIGHT * wide
    return loss, squared.item()
