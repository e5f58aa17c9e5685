"""Train the embedded adapter: a LoRA over the embedded model that teaches it remainders.

    python -m tamis.demo.train_adapter --out DIR

Seeded: the same versions of torch, transformers and peft on the same machine give the same weights. The figures of the shipped
adapter, and the log of the run that made it, are in ADAPTER_CARD.md beside this file.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.demo import MODEL_FOLDER
from tamis.demo.problems import DemoProblem, generate
from tamis.demo.remainders import remainder
from tamis.demo.train import batches, examples

BASE = "embedded"
RANK, ALPHA = 16, 32
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KEPT_SHARE = 0.2  # of what the model knows already, so that it forgets less of it


def problems(rng: random.Random) -> Iterator[DemoProblem]:
    """The training stream: remainders, and some of the embedded model's own problems."""
    new, known = generate(rng, test=False, families=[remainder]), generate(rng, test=False)
    while True:
        yield next(known if rng.random() < KEPT_SHARE else new)


def train(out: Path, *, steps: int, batch_size: int, peak_lr: float, seed: int, threads: int) -> None:
    """Train for `steps` steps (warm-up, then cosine to 0) and save the adapter in half precision."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(MODEL_FOLDER)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM")
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL_FOLDER), config)
    trained = [p for p in model.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in trained)} parameters", flush=True)
    base = model.base_model.model  # with the adapter in its layers
    optimizer = torch.optim.AdamW(trained, lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.0)
    rng = random.Random(seed + 1)
    stream = batches(examples(tokenizer, rng, problems(rng)), batch_size)
    began, running = time.monotonic(), 0.0
    for step, (ids, labels) in enumerate(islice(stream, steps), 1):
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * min(1.0, step / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]  # (B, T-1, d)
        kept = labels[:, 1:] != -100
        logits = base.lm_head(hidden[kept])  # (kept, V)
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][kept])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running += loss.item()
        if step % 100 == 0 or step == steps:
            print(f"step {step} loss {running / (step % 100 or 100):.4f} {time.monotonic() - began:.0f} s", flush=True)
            running = 0.0
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(weights, out / "adapter_model.safetensors", metadata={"format": "pt"})
    config.base_model_name_or_path = BASE
    config.inference_mode = True
    config.target_modules = TARGETS  # PEFT has made a set of them, whose order changes
    config.save_pretrained(str(out))


def main(argv: list[str]) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m tamis.demo.train_adapter", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write the adapter to")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--peak-lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    train(args.out, steps=args.steps, batch_size=args.batch_size, peak_lr=args.peak_lr, seed=args.seed, threads=args.threads)


if __name__ == "__main__":
    main(sys.argv[1:])
