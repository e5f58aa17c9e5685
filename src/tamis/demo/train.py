"""Train the embedded model from nothing: tokenizer, weights, model folder.

    python -m tamis.demo.train --steps 1800 --out DIR

Seeded: the same versions of torch, transformers and tokenizers on the same machine give the same weights. The
figures of the shipped model, and the log of the run that made it, are in MODEL_CARD.md beside this file.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AttentionInterface, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tamis.demo.problems import DemoProblem, generate
from tamis.prompts import MATH_PROMPT

VOCAB_SIZE = 1024
CONTEXT = 2048
RAW_SHARE = 0.1  # share of prompts without the chat template, so that --no-chat-template works too
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def question(problem: DemoProblem) -> str:
    """The user's turn: the source document's template, as `tamis infer` fills it."""
    return MATH_PROMPT.replace("{problem}", problem.problem)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with digits kept apart, trained on the training stream alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = (f"{question(p)}\n{p.solution}" for p in islice(generate(random.Random(seed), test=False), 20_000))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


_FP32_ATTENTION = "sdpa_fp32"


def _attend_in_fp32(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    # The backward pass of bf16 attention on CPU takes half of a training step; in fp32 it takes a tenth.
    with torch.autocast("cpu", enabled=False):
        out, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **options)
    return out.to(query.dtype), None


AttentionInterface.register(_FP32_ATTENTION, _attend_in_fp32)
AttentionMaskInterface.register(_FP32_ATTENTION, sdpa_mask)


def new_model(seed: int, vocab_size: int) -> Qwen2ForCausalLM:
    """A Qwen2 of 2.8 M parameters, tied embeddings."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=2,
        attn_implementation=_FP32_ATTENTION,
    )
    return Qwen2ForCausalLM(config)


Example = tuple[list[int], list[int]]
"""Ids of the prompt and of the answer."""


def examples(tokenizer: PreTrainedTokenizerFast, rng: random.Random, problems: Iterable[DemoProblem]) -> Iterator[Example]:
    """Problems as the model sees them."""
    backend = tokenizer.backend_tokenizer
    for problem in problems:
        text = question(problem)
        if rng.random() >= RAW_SHARE:
            text = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        yield backend.encode(text).ids, backend.encode(problem.solution + "<|im_end|>").ids


def batches(stream: Iterator[Example], batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Input ids and labels (B, T), right-padded; the prompt and the padding carry no loss (-100)."""
    while True:
        pool = sorted(islice(stream, 8 * batch_size), key=lambda pair: len(pair[0]) + len(pair[1]))
        groups = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        random.Random(len(pool[0][0])).shuffle(groups)
        for group in groups:
            length = max(len(prompt) + len(answer) for prompt, answer in group)
            ids = torch.zeros(batch_size, length, dtype=torch.long)
            labels = torch.full((batch_size, length), -100)
            for row, (prompt, answer) in enumerate(group):
                end = len(prompt) + len(answer)
                ids[row, :end] = torch.tensor(prompt + answer)
                labels[row, len(prompt) : end] = torch.tensor(answer)
            yield ids, labels


def train(out: Path, *, steps: int, batch_size: int, peak_lr: float, seed: int, threads: int) -> None:
    """Train for `steps` steps (warm-up, then cosine to 2 % of the peak) and save the model folder."""
    torch.set_num_threads(threads)
    tokenizer = train_tokenizer(seed)
    model = new_model(seed, len(tokenizer)).train()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens", flush=True)
    body: Any = torch.compile(model.model, dynamic=True)  # needs a C++ compiler; 1.8x faster here
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.01)
    began, num_tokens, running = time.monotonic(), 0, 0.0
    rng = random.Random(seed + 1)
    stream = examples(tokenizer, rng, generate(rng, test=False))
    for step, (ids, labels) in enumerate(islice(batches(stream, batch_size), steps), 1):
        rate = min(1.0, step / 300) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = body(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]  # (B, T-1, d)
            kept = labels[:, 1:] != -100
            logits = model.lm_head(hidden[kept])  # (kept, V)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][kept])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        num_tokens += ids.numel()
        running += loss.item()
        if step % 500 == 0 or step == steps:
            elapsed = time.monotonic() - began
            print(f"step {step} loss {running / (step % 500 or 500):.4f} tokens {num_tokens} {elapsed:.0f} s", flush=True)
            running = 0.0
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)


def main(argv: list[str]) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m tamis.demo.train", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--steps", type=int, default=1_800)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--peak-lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    train(args.out, steps=args.steps, batch_size=args.batch_size, peak_lr=args.peak_lr, seed=args.seed, threads=args.threads)


if __name__ == "__main__":
    main(sys.argv[1:])
