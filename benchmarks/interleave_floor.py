"""What interleaved reasoning costs at least, for bench_interleave.py: FLOPs from shapes, and how fast the machine is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from interleave_plain import Phases, RandomModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tamis.bagel.autoencoder import Autoencoder
from tamis.bagel.config import LanguageShape
from tamis.bagel.settings import Interleaving
from tamis.bagel.vision import VisionTower


def matmul_speed(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a large product, the best of some."""
    width, clock = (8192, Phases(device)) if device.type == "cuda" else (1024, Phases(device))
    one = torch.randn(width, width, device=device, dtype=dtype)
    times = []
    for _ in range(8):
        started = clock.now()
        one @ one
        times.append(clock.now() - started)
    return 2 * width**3 / min(times)


@dataclass
class Counted:
    """A context of which only the length is known: what reading costs."""

    shape: LanguageShape
    length: int = 0

    def read(self, num_tokens: int, *, is_text: bool = False, keeps: bool = True) -> float:
        """FLOPs of a text or a picture."""
        shape = self.shape
        linear = 2 * shape.hidden * (shape.hidden + shape.num_kv_heads * shape.head_dim) + 3 * shape.hidden * shape.intermediate
        pairs = num_tokens * self.length + (num_tokens * (num_tokens + 1) // 2 if is_text else num_tokens**2)
        self.length += num_tokens * keeps
        return shape.num_layers * (2 * linear * num_tokens + 4 * shape.hidden * pairs)


def floor(model: RandomModel, settings: Interleaving, question: str, num_tokens: int, size: int) -> dict[str, float]:
    """FLOPs of a row by phase, nothing being read twice into a context."""
    shape, words = model.shape, model.words
    side = model.vision_rule.size(size, size)[0] // shape.vision.patch
    num_seen, num_latents = side**2 + 2, (size // shape.latent_stride) ** 2 + 2
    latent = (1, shape.autoencoder.latent_channels, size // shape.autoencoder.downsample, size // shape.autoencoder.downsample)
    encode = _on_meta(lambda: Autoencoder(shape.autoencoder).encoder, (1, 3, size, size))
    decode = _on_meta(lambda: Autoencoder(shape.autoencoder).decoder, latent)
    view = _on_meta(lambda: VisionTower(shape.vision), (side**2, 3 * shape.vision.patch**2), torch.arange(side**2))
    entry = 2 * side**2 * shape.language.hidden * (shape.vision.hidden + shape.language.hidden)
    head = 2 * shape.language.hidden * shape.language.vocab_size
    seen, full, alone = (Counted(shape.language) for _ in range(3))
    given = [len(words.wrapped(text)) for text in (settings.system_prompt, question)]
    work = {"reading": view + entry + encode, "writing": 0.0, "drawing": 0.0}
    work["reading"] += sum(seen.read(each, is_text=True) for each in given) + seen.read(num_seen)
    full.length = alone.length = sum(given)  # shared with `seen`
    work["reading"] += full.read(num_latents) + full.read(num_seen)
    for number in range(settings.max_iterations + 1):
        work["writing"] += seen.read(num_tokens + 1, is_text=True) + (num_tokens + 1) * head
        if number == settings.max_iterations:
            return work
        seen.length += 1
        without = replace(full)
        work["reading"] += sum(each.read(num_tokens + 2, is_text=True) for each in (full, alone))
        move = sum(each.read(num_latents, keeps=False) for each in (full, without, alone))
        work["drawing"] += (settings.num_steps - 1) * move
        work["reading"] += decode + encode + view + entry + full.read(num_latents) + full.read(num_seen) + seen.read(num_seen)
    raise AssertionError


def _on_meta(make: Callable[[], nn.Module], shape: tuple[int, ...], *others: Tensor) -> int:
    """FLOPs of a module, from shapes alone."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        make()(torch.empty(shape), *(other.to("meta") for other in others))
    return counter.get_total_flops()
