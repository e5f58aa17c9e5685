"""Train the embedded vision model from nothing: a tiny Qwen2-VL that reads the arrows of small block diagrams.

    python -m tamis.demo.train_vision --minutes 30 --out DIR

Seeded, but the schedule follows the clock of the processor: two runs of the same length are alike, not equal. The figures of
the shipped model, and the log of the run that made it, are in VISION_CARD.md beside this file.

While it is trained, the picture side has small heads of its own that are thrown away: for each patch, which box stands there,
to which boxes its arrows go and from which they come, and which two boxes the arrow ends in the patch join.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.utils import logging

from tamis.demo import VISION_PROMPTS
from tamis.demo.diagrams import LABELS, generate
from tamis.demo.vision_examples import CONTEXT, GRID, IGNORED, PATCH, PATCHES, Example, example, preprocessor, train_tokenizer

_ALIKE = "sdpa_alike"


def _attend_alike(
    module: nn.Module,  # noqa: ARG001 - the signature is transformers'
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,  # noqa: ARG001
    **options: Any,  # noqa: ARG001
) -> tuple[Tensor, None]:
    """Attention within pictures of PATCHES patches each, which lie one after another in (1, H, B * PATCHES, D)."""
    apart = (t[0].unflatten(1, (-1, PATCHES)).transpose(0, 1) for t in (query, key, value))
    out = nn.functional.scaled_dot_product_attention(*apart)  # (B, H, PATCHES, D)
    return out.transpose(1, 2).flatten(0, 1)[None], None


AttentionInterface.register(_ALIKE, _attend_alike)


def new_model(seed: int, tokenizer: PreTrainedTokenizerFast) -> Qwen2VLForConditionalGeneration:
    """A Qwen2-VL of 1.3 M parameters: patches of 16 pixels that are not merged, 4 layers that see, 2 that write."""
    torch.manual_seed(seed)
    special = {
        name: tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("vision_start", "vision_end", "image_pad", "video_pad")
    }
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 4,
            "embed_dim": 128,
            "hidden_size": 128,
            "num_heads": 4,
            "mlp_ratio": 3,
            "patch_size": PATCH,
            "spatial_merge_size": 1,
            "temporal_patch_size": 2,
        },
        image_token_id=special["image_pad"],
        video_token_id=special["video_pad"],
        vision_start_token_id=special["vision_start"],
        vision_end_token_id=special["vision_end"],
        tie_word_embeddings=True,
    )
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.model.visual.config._attn_implementation = _ALIKE
    return model


class Heads(nn.Module):
    """What is read off the patches during training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.box = nn.Linear(width, len(LABELS) + 1)
        self.links = nn.Linear(width, 2 * len(LABELS))
        self.ends = nn.Linear(width, 2 * len(LABELS))

    def forward(self, seen: Tensor, box: Tensor, links: Tensor, ends: Tensor) -> Tensor:
        """The loss of the three readings of what is seen (B * PATCHES, d)."""
        seen = self.norm(seen)
        boxes = nn.functional.cross_entropy(self.box(seen), box.flatten())
        there = links[..., 0, 0].flatten() >= 0
        logits = self.links(seen)[there]
        linked = nn.functional.binary_cross_entropy_with_logits(logits, links.flatten(0, 1).flatten(1)[there])
        joined = self.ends(seen).unflatten(1, (2, -1)).flatten(0, 1)
        return boxes * 4 + linked + nn.functional.cross_entropy(joined, ends.flatten(), ignore_index=IGNORED)


class Trainer:
    """Model, heads and the stream of diagrams."""

    def __init__(self, seed: int, batch_size: int, most_boxes: int) -> None:
        self.tokenizer = train_tokenizer(seed)
        self.model = new_model(seed, self.tokenizer).train()
        self.heads = Heads(128)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        self._grid = torch.tensor([[1, GRID, GRID]]).expand(batch_size, 3)
        self._joint = torch.tensor([0, batch_size * PATCHES], dtype=torch.int32)  # one stretch: `_attend_alike` cuts it
        self._rng = random.Random(seed + 1)
        self._diagrams = generate(self._rng, most_boxes=most_boxes)
        self._batch_size = batch_size

    def batch(self) -> tuple[list[Example], Tensor, Tensor]:
        """Examples, input ids and labels (B, T), right-padded; only the answers carry loss."""
        prompts = list(VISION_PROMPTS.values())
        found = [example(d, self._rng.choice(prompts), self.tokenizer) for d in islice(self._diagrams, self._batch_size)]
        length = max(len(e.ids) + len(e.answer) for e in found)
        ids = torch.full((len(found), length), self.tokenizer.pad_token_id)
        labels = torch.full((len(found), length), IGNORED)
        for row, e in enumerate(found):
            start, end = len(e.ids), len(e.ids) + len(e.answer)
            ids[row, :end] = torch.tensor(e.ids + e.answer)
            labels[row, start:end] = torch.tensor(e.answer)
        return found, ids, labels

    def losses(self) -> tuple[Tensor, Tensor]:
        """The loss of the answers and that of the heads, of the next batch."""
        found, ids, labels = self.batch()
        body = self.model.model
        pixels = torch.from_numpy(np.concatenate([e.patches for e in found]))
        seen = body.visual(pixels, grid_thw=self._grid, cu_seqlens=self._joint).pooler_output  # (B * PATCHES, d)
        embedded = body.get_input_embeddings()(ids)
        pictures = ids == self.model.config.image_token_id
        embedded = embedded.masked_scatter(pictures[..., None], seen)
        positions, _ = body.get_rope_index(ids, pictures.int(), image_grid_thw=self._grid)
        hidden = body.language_model(inputs_embeds=embedded, position_ids=positions, use_cache=False).last_hidden_state
        kept = labels[:, 1:] != IGNORED
        answers = nn.functional.cross_entropy(self.model.lm_head(hidden[:, :-1][kept]), labels[:, 1:][kept])
        box, links, ends = (torch.from_numpy(np.stack([getattr(e, name) for e in found])) for name in ("box", "links", "ends"))
        return answers, self.heads(seen, box, links, ends)

    def save(self, out: Path) -> None:
        """Write the model folder."""
        self.model.model.visual.config._attn_implementation = "sdpa"
        self.model.save_pretrained(out)
        self.model.model.visual.config._attn_implementation = _ALIKE
        self.tokenizer.save_pretrained(out)
        (out / "preprocessor_config.json").write_text(json.dumps(preprocessor(), indent=2) + "\n", encoding="utf-8")


def train(out: Path, *, minutes: float, batch_size: int, peak_lr: float, most_boxes: int, seed: int) -> None:
    """Train for so long (a warm-up, then cosine to 2 % of the peak) and save the model folder."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    trainer = Trainer(seed, batch_size, most_boxes)
    num_parameters = sum(p.numel() for p in trainer.model.parameters())
    print(f"{num_parameters / 1e6:.2f} M parameters, {len(trainer.tokenizer)} tokens", flush=True)
    optimizer = torch.optim.AdamW(trainer.parameters, lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.01)
    began = reported = time.process_time()  # the machine may have other things to do
    step, sums, since = 0, np.zeros(2), 0
    while (share := (time.process_time() - began) / (60 * minutes)) < 1:
        step, since = step + 1, since + 1
        rate = min(1.0, step / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * rate
        answers, heads = trainer.losses()
        (answers + heads).backward()
        nn.utils.clip_grad_norm_(trainer.parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums += answers.item(), heads.item()
        if time.process_time() - reported >= 60:
            reported = time.process_time()
            print(f"step {step} answers {sums[0] / since:.4f} heads {sums[1] / since:.4f} {reported - began:.0f} s", flush=True)
            sums, since = np.zeros(2), 0
            trainer.save(out)
    print(f"step {step}: {step * batch_size} diagrams", flush=True)
    trainer.save(out)


def main(argv: list[str]) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m tamis.demo.train_vision", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--minutes", type=float, default=25, help="of processor time (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--peak-lr", type=float, default=2e-3)
    parser.add_argument("--most-boxes", type=int, default=4, choices=(2, 3, 4, 5))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    train(
        args.out,
        minutes=args.minutes,
        batch_size=args.batch_size,
        peak_lr=args.peak_lr,
        most_boxes=args.most_boxes,
        seed=args.seed,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
