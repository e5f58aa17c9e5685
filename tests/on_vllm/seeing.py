"""A random checkpoint of the kind of Qwen2.5-VL, which sees pictures."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from on_vllm.checkpoints import END_ID, SPECIAL, tokenizer
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

EYES = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
PATCH = 28  # pixels a side that become one token
_PART = "{% if c['type'] == 'text' %}{{ c['text'] }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}" + _PART + "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vision_model(folder: Path) -> Path:
    """Two layers that see, two that write, in fp32, with what the processor of pictures reads."""
    words = tokenizer(512, (*SPECIAL, *EYES), TEMPLATE)
    start, end, image, video = words.convert_tokens_to_ids(list(EYES))
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "max_position_embeddings": 1024, "tie_word_embeddings": False,
            "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
            "eos_token_id": END_ID, "pad_token_id": 0, "bos_token_id": None,
        },
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 64,
            "patch_size": PATCH // 2, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1],
        },
        image_token_id=image, video_token_id=video, vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(4)
        model.lm_head.weight.normal_(std=0.3)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    looks = {
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": PATCH**2, "max_pixels": 64 * PATCH**2, "patch_size": PATCH // 2, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(looks))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"processor_class": "Qwen2_5_VLProcessor"}))
    return folder
