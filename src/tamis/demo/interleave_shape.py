"""The shape of the embedded unified model: its configuration, its words, and its weights before they are trained."""

from __future__ import annotations

import json
import math
import random
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

from tamis.bagel.config import AutoencoderShape, LanguageShape, ModelShape, VisionShape
from tamis.bagel.model import Weights
from tamis.bagel.settings import SYSTEM_PROMPT
from tamis.bagel.transformer import Norm
from tamis.demo.ring_walks import SIDE, SIZE, TILE, generate

AUTOENCODER = AutoencoderShape(channels=32, widths=(32, 32, 32), num_blocks=1, latent_channels=4)
LATENT_PATCH = TILE // AUTOENCODER.downsample  # a token is a tile
WIDTH, LAYERS, HEADS, KV_HEADS, INNER = 128, 4, 4, 2, 256
VISION_WIDTH, VISION_LAYERS, VISION_INNER = 64, 1, 128
CONTEXT = 1024
VOCAB_SIZE = 512
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
THETA, EPS = 10_000.0, 1e-6
SHIFT = 3.0


def save_weights(module: nn.Module, path: Path) -> None:
    """Write what a module has learned, a whole file or none: whoever has mapped an older one keeps it."""
    temporary = path.with_name(f".{path.name}.tmp")
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, temporary)
    temporary.replace(path)


def train_tokenizer(out: Path, seed: int) -> None:
    """Byte-level BPE in which the words of the walks are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    walks = islice(generate(random.Random(f"words {seed}"), direct_share=0.25), 1000)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for walk in walks for text in (walk.question, *walk.thoughts)]
    tokenizer.train_from_iterator([*texts, *[SYSTEM_PROMPT] * 100], trainer)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))


def write_configuration(out: Path) -> None:
    """The JSON files of a release folder."""
    language = {
        "model_type": "qwen2",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCAB_SIZE,
        "rope_theta": THETA,
        "rms_norm_eps": EPS,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": VISION_WIDTH,
        "intermediate_size": VISION_INNER,
        "num_hidden_layers": VISION_LAYERS + 1,  # the last layer of the JSON is not part of the model
        "num_attention_heads": HEADS,
        "patch_size": TILE,
        "image_size": SIZE,
        "layer_norm_eps": EPS,
    }
    whole = {
        "model_type": "bagel",
        "latent_patch_size": LATENT_PATCH,
        "max_latent_size": SIDE,
        "vit_max_num_patch_per_side": SIDE,
        "interpolate_pos": False,
        "timestep_shift": SHIFT,
        "vae_config": {"z_channels": AUTOENCODER.latent_channels, "downsample": AUTOENCODER.downsample},
        "vae_transform": [SIZE, SIZE],
        "vit_transform": [SIZE, SIZE],
    }
    for name, row in (("llm_config.json", language), ("vit_config.json", vision), ("config.json", whole)):
        (out / name).write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")


def new_weights(seed: int) -> Weights:
    """The model, untrained; tiles have the same place in all three tables at first."""
    torch.manual_seed(seed)
    language = LanguageShape(WIDTH, INNER, LAYERS, HEADS, KV_HEADS, VOCAB_SIZE, THETA, EPS, CONTEXT)
    vision = VisionShape(VISION_WIDTH, VISION_INNER, VISION_LAYERS, HEADS, TILE, SIDE**2, EPS)
    weights = Weights(ModelShape(language, vision, AUTOENCODER, LATENT_PATCH, SIDE, SIDE))
    for name, module in weights.named_modules():
        if isinstance(module, Norm):
            nn.init.constant_(module.weight, 1.5 if "_norm" in name.rpartition("self_attn.")[2] else 1.0)
        elif isinstance(module, nn.Linear) and name.rpartition(".")[2].startswith(("o_proj", "down_proj")):
            module.weight.data /= math.sqrt(2 * LAYERS)
    table = 0.7 * torch.randn(SIDE**2, WIDTH)
    weights.vit_pos_embed.pos_embed.data.copy_(table)
    weights.latent_pos_embed.pos_embed.data.copy_(table)
    nn.init.normal_(weights.language_model.model.embed_tokens.weight, std=0.7)
    return weights
