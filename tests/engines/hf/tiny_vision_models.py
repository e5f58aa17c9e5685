"""Random vision-language models of a few thousand weights, and pictures to show them."""

from __future__ import annotations

import atexit
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from engines.hf.tiny_models import CONTEXT, EOS_ID, byte_tokenizer
from PIL import Image
from tokenizers import AddedToken
from transformers import AutoConfig, AutoModelForImageTextToText

IMAGE, VIDEO, START, END = "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"
TEMPLATE = (
    "{% for m in messages %}<|user|>{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}BEFOREIMAGEAFTER{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|answer|>{% endif %}"
)
GRID_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_PIXELS = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


@cache
def vision_folder(kind: str) -> Path:
    """A folder with a random model that sees, its tokenizer and its image processor."""
    has_grids = kind in GRID_TYPES
    before, after = (START, END) if has_grids else ("", "")
    template = TEMPLATE.replace("BEFORE", before).replace("IMAGE", IMAGE).replace("AFTER", after)
    tokenizer = byte_tokenizer(template)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(t, special=True) for t in (IMAGE, VIDEO, START, END)]}
    )
    image, video, start, end = tokenizer.convert_tokens_to_ids([IMAGE, VIDEO, START, END])
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT,
        "eos_token_id": EOS_ID, "pad_token_id": 0, "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]},
    }  # fmt: skip
    places = {"image_token_id": image, "video_token_id": video, "vision_start_token_id": start, "vision_end_token_id": end}
    if has_grids:
        sizes = {
            "qwen2_vl": {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2},
            "qwen2_5_vl": {
                "hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24, "window_size": 32,
                "fullatt_block_indexes": [1],
            },
            "qwen3_vl": {
                "hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24, "deepstack_visual_indexes": [0],
                "num_position_embeddings": 16,
            },
        }[kind]  # fmt: skip
        vision = {"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2, **sizes}
        if kind == "qwen3_vl":
            text |= {"head_dim": 8}
        processor = {
            "image_processor_type": "Qwen2VLImageProcessor",
            "patch_size": 8,
            "merge_size": 2,
            "temporal_patch_size": 2,
        }
        processor |= {"size": {"shortest_edge": 256, "longest_edge": 4096}}
    else:
        text |= {"model_type": "llama", "rope_parameters": None}
        vision = {
            "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
        }  # fmt: skip
        places = {"image_token_index": image, "vision_feature_select_strategy": "default", "vision_feature_layer": -1}
        processor = {"image_processor_type": "CLIPImageProcessor", "size": {"height": 32, "width": 32}, "do_center_crop": False}
    config = AutoConfig.for_model(kind, text_config=text, vision_config=vision, **places)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(4.0)
    folder = Path(mkdtemp(prefix=f"tamis-tiny-{kind}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | _PIXELS))
    if not has_grids:
        whole = {"processor_class": "LlavaProcessor", "patch_size": 8, "image_token": IMAGE, "num_additional_image_tokens": 1}
        (folder / "processor_config.json").write_text(json.dumps(whole | {"vision_feature_select_strategy": "default"}))
    return folder


@cache
def picture(width: int, height: int, seed: int) -> Path:
    """A picture of noise."""
    folder = Path(mkdtemp(prefix="tamis-picture-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pixels = np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    return folder / "noise.png"
