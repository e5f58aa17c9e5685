"""What the embedded vision model is trained on: diagrams as patches and tokens, and what is to be read off each patch."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tamis.demo import VISION_PROMPTS
from tamis.demo.diagrams import LABELS, SIZE, Diagram, draw, generate

PATCH = 16
GRID = SIZE // PATCH
PATCHES = GRID * GRID
CONTEXT = 1024
VOCAB_SIZE = 320
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IGNORED = -100


class Example(NamedTuple):
    """One diagram as the model and its extra heads see it."""

    patches: np.ndarray  # (PATCHES, 3 * 2 * PATCH * PATCH)
    ids: list[int]
    answer: list[int]
    box: np.ndarray  # (PATCHES,): which box stands in the patch, len(LABELS) for none
    links: np.ndarray  # (PATCHES, 2, len(LABELS)): from and to which boxes its arrows lead; -1 where no box stands
    ends: np.ndarray  # (PATCHES, 2): source and target of the arrow of which an end lies there, IGNORED elsewhere


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with a few merges, trained on prompts and netlists."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    netlists = [diagram.netlist for diagram in islice(generate(random.Random(seed)), 400)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        [*netlists, *(list(VISION_PROMPTS.values()) * 200), *(["user\n", "assistant\n"] * 400)], trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def preprocessor() -> dict[str, Any]:
    """The configuration of the picture's way to patches: shrunk to SIZE x SIZE pixels, values from -1 to 1."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        "patch_size": PATCH,
        "merge_size": 1,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": SIZE * SIZE // 4, "longest_edge": SIZE * SIZE},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


def patches_of(diagram: Diagram) -> np.ndarray:
    """A drawn diagram as `preprocessor` describes it: (PATCHES, 3 * 2 * PATCH * PATCH)."""
    pixels = np.asarray(draw(diagram), np.float32) / 127.5 - 1  # (SIZE, SIZE, 3)
    blocks = pixels.reshape(GRID, PATCH, GRID, PATCH, 3).transpose(0, 2, 4, 1, 3)  # (row, column, colour, y, x)
    return np.repeat(blocks[:, :, :, None], 2, axis=3).reshape(PATCHES, -1)


def _patch_at(point: tuple[float, float]) -> int:
    return int(point[1] // PATCH) * GRID + int(point[0] // PATCH)


def example(diagram: Diagram, prompt: str, tokenizer: PreTrainedTokenizerFast) -> Example:
    """One diagram under one prompt."""
    box = np.full(PATCHES, len(LABELS))
    links = np.full((PATCHES, 2, len(LABELS)), -1.0, np.float32)
    ends = np.full((PATCHES, 2), IGNORED)
    at = {label: _patch_at(middle) for label, middle in diagram.boxes.items()}
    for label, patch in at.items():
        box[patch] = LABELS.index(label)
        links[patch] = 0.0
    for edge in diagram.edges:
        source, target = edge
        links[at[source], 0, LABELS.index(target)] = 1.0
        links[at[target], 1, LABELS.index(source)] = 1.0
        for end in diagram.ends(edge):
            ends[_patch_at(end)] = LABELS.index(source), LABELS.index(target)
    encode = tokenizer.backend_tokenizer.encode
    picture = "<|vision_start|>" + "<|image_pad|>" * PATCHES + "<|vision_end|>"
    question = f"<|im_start|>user\n{picture}{prompt}<|im_end|>\n<|im_start|>assistant\n"
    return Example(patches_of(diagram), encode(question).ids, encode(diagram.netlist + "<|im_end|>").ids, box, links, ends)
