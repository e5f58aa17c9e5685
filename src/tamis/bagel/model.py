"""The unified model: it reads texts and pictures into contexts, says what comes next, and where noise should move.

picture --resize--> vision tower --connector--> tokens that are seen
        `---------> autoencoder --patches-----> latent tokens, clean (time 0) or noisy, that are drawn
text ----------------------------embedding----> tokens that are read
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from tamis.bagel.attention import Pack
from tamis.bagel.autoencoder import Autoencoder
from tamis.bagel.cache import Cache
from tamis.bagel.config import ModelShape, read_shape
from tamis.bagel.offload import num_bytes, num_kept, offload
from tamis.bagel.pictures import (
    SizeRule,
    from_patches,
    on_white,
    to_patches,
    to_picture,
    to_pixels,
    to_tensor,
)
from tamis.bagel.positions import NUM_TIME_FEATURES, grid_places, time_features
from tamis.bagel.transformer import Attend, LanguageModel
from tamis.bagel.vision import TanhMlp, VisionTower
from tamis.bagel.weights import fill, find_autoencoder, find_weights
from tamis.bagel.words import Words
from tamis.engines.device import find_device
from tamis.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MARKS = 2
"""Tokens that stand around every picture."""


class Weights(nn.Module):
    """All that lies in the weights file, under its names."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        width = shape.language.hidden
        self.language_model = LanguageModel(shape.language)
        self.vit_model = VisionTower(shape.vision)
        self.connector = TanhMlp(shape.vision.hidden, width, width)
        self.vit_pos_embed = _Table(shape.vision_side**2, width)
        self.latent_pos_embed = _Table(shape.latent_side**2, width)
        self.vae2llm = nn.Linear(shape.latent_width, width)
        self.llm2vae = nn.Linear(width, shape.latent_width)
        self.time_embedder = _TimeEmbedder(width)


class _Table(nn.Module):
    def __init__(self, num_places: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(num_places, width))


class _TimeEmbedder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(NUM_TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times: Tensor) -> Tensor:
        return self.mlp(time_features(times).to(next(self.parameters()).dtype))


class Model:
    """A release, loaded. Everything runs where the weights are."""

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        autoencoder_dtype: str = "float32",
        weights: str = "",
        max_bytes: int | None = None,
        latent_rule: SizeRule | None = None,
        vision_rule: SizeRule | None = None,
    ) -> None:
        """Load the model of a release folder; `weights` is the name of its file where there are several.

        The device "auto" is a GPU where there is one; the numbers "auto" are bfloat16 there and float32 on a CPU. Weights
        beyond `max_bytes` stay in the memory of the host (see `offload`).

        Raises:
            UsageError: There are no such numbers, or no such device.
            EngineError: The folder is not whole, or the memory does not suffice.
        """
        folder = Path(folder).expanduser()
        self.device = find_device(device)
        self.dtype = find_dtype(("float32" if self.device.type == "cpu" else "bfloat16") if dtype == "auto" else dtype)
        files, autoencoder_files = find_weights(folder, weights), find_autoencoder(folder)
        self.shape = read_shape(folder, files.shapes, autoencoder_files.shapes)
        self.words = Words(folder)
        self.latent_rule = latent_rule or SizeRule(*self.shape.latent_sides, self.shape.latent_stride)
        self.vision_rule = vision_rule or SizeRule(*self.shape.vision_sides, self.shape.vision.patch)
        with torch.device("meta"):
            self.weights = Weights(self.shape)
            self.autoencoder = Autoencoder(self.shape.autoencoder)
        numbers = find_dtype(autoencoder_dtype)
        layers = self.weights.language_model.model.layers
        kept = len(layers)
        if max_bytes is not None:
            layer = num_bytes(layers[0], self.dtype)
            others = num_bytes(self.weights, self.dtype) + num_bytes(self.autoencoder, numbers) - kept * layer
            kept = num_kept(max_bytes, others, layer, kept)
        is_whole = kept == len(layers)
        fill(self.weights, files, self.device if is_whole else torch.device("cpu"), self.dtype)
        if not is_whole:
            offload(self.weights, layers, kept, self.device)
        fill(self.autoencoder, autoencoder_files, self.device, numbers)

    # --- contexts -------------------------------------------------------------------------------------------------

    def new_cache(self, num_slots: int) -> Cache:
        """An empty cache for so many contexts."""
        return Cache(self.shape.language, num_slots, self.device, self.dtype)

    def read(self, pack: Pack, tokens: Tensor) -> Tensor:
        """Run the tokens (T, d) of a pack, piece after piece; what the last norm gives of them (T, d)."""
        return self.weights.language_model.model(pack.spread(tokens), pack)[pack.rows]

    def step(self, step: Attend, ids: Tensor) -> Tensor:
        """One token (slots,) of every slot: the logits (slots, V) of the next, fp32."""
        language = self.weights.language_model
        rows = torch.nn.functional.pad(language.model.embed_tokens(ids), (0, 0, 0, step.split - len(ids)))
        return self.logits(language.model(rows, step))[: len(ids)]

    def logits(self, hidden: Tensor) -> Tensor:
        """Of what the last norm gives (T, d) the logits (T, V), fp32."""
        return self.weights.language_model.lm_head(hidden).float()

    # --- what enters ----------------------------------------------------------------------------------------------

    def text_tokens(self, ids: list[int]) -> Tensor:
        """Tokens (T, d) of ids."""
        return self.weights.language_model.model.embed_tokens(torch.tensor(ids, device=self.device))

    def resized(self, picture: Image.Image) -> Image.Image:
        """A picture as it enters everything else: in RGB, in the size of its latents."""
        return self.latent_rule.resize(on_white(picture))

    def seen(self, picture: Image.Image) -> Tensor:
        """A resized picture as tokens that are seen, between its marks (N + 2, d)."""
        image = to_tensor(self.vision_rule.resize(picture))
        patch = self.shape.vision.patch
        height, width = image.shape[1] // patch, image.shape[2] // patch
        places = grid_places(height, width, self.shape.vision_side).to(self.device)
        patches = to_patches(image, patch).to(self.device, self.dtype)
        tokens = self.weights.connector(self.weights.vit_model(patches, places)) + self.weights.vit_pos_embed.pos_embed[places]
        return self.marked(tokens)

    def latents_of(self, picture: Image.Image, noise: Tensor | None) -> Tensor:
        """Clean latents (N, c) fp32 of a resized picture; `noise` (z, H/8, W/8) says where in the posterior."""
        image = to_tensor(picture).to(self.device)
        return to_patches(self.autoencoder.encode(image, noise), self.shape.latent_patch)

    def latent_grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width, in latent tokens, of a picture of width and height `size`."""
        return size[1] // self.shape.latent_stride, size[0] // self.shape.latent_stride

    def latent_tokens(self, latents: Tensor, time: Tensor, places: Tensor) -> Tensor:
        """Latents (N, c) at a time, a number or (N,), at their places (N,), as tokens (N, d)."""
        weights = self.weights
        embedded = weights.vae2llm(latents.to(self.dtype)) + weights.time_embedder(time.reshape(-1))
        return embedded + weights.latent_pos_embed.pos_embed[places]

    def drawn(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """Clean latents (N, c) of a picture of that size as tokens between marks (N + 2, d)."""
        places = grid_places(*self.latent_grid(size), self.shape.latent_side).to(self.device)
        return self.marked(self.latent_tokens(latents, torch.zeros(1, device=self.device), places))

    def marked(self, tokens: Tensor) -> Tensor:
        """Tokens of a picture (N, d) between its marks (N + 2, d)."""
        marks = self.text_tokens([self.words.picture_start, self.words.picture_end])
        return torch.cat([marks[:1], tokens, marks[1:]])

    # --- what comes out -------------------------------------------------------------------------------------------

    def velocity(self, hidden: Tensor) -> Tensor:
        """Of what the last norm gives of latent tokens (N, d): from data to noise (N, c), fp32."""
        return self.weights.llm2vae(hidden).float()

    def image(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """The image (3, H, W), about [-1, 1], of latents (N, c)."""
        return self.autoencoder.decode(from_patches(latents, self.shape.latent_patch, *self.latent_grid(size)))

    def picture(self, latents: Tensor, size: tuple[int, int]) -> Image.Image:
        """The picture of latents (N, c)."""
        return to_picture(to_pixels(self.image(latents, size)))


def find_dtype(name: str) -> torch.dtype:
    """Numbers by their name.

    Raises:
        UsageError: There are none of that name.
    """
    if name not in DTYPES:
        raise UsageError(f"dtype: no such type: {name}", f"Use auto or one of: {', '.join(DTYPES)}")
    return DTYPES[name]
