"""Random models of a few thousand weights, and how to draw from them in a test."""

from __future__ import annotations

import asyncio
import atexit
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from tamis.engines.hf import HFEngine
from tamis.identity import sample_keys, sample_seed
from tamis.records import Draw, Message, Prompt, Request, Sample, Sampling

PAD, EOS, USER, ANSWER = "<|pad|>", "<|end|>", "<|user|>", "<|answer|>"
EOS_ID = 1
CONTEXT = 256
SIZES = {
    "qwen2": {"num_key_value_heads": 2, "intermediate_size": 48, "tie_word_embeddings": True},
    "llama": {"num_key_value_heads": 4, "intermediate_size": 48, "tie_word_embeddings": False},
    "gpt2": {},
    "gemma2": {"num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 8, "sliding_window": 12},
    "mistral": {"num_key_value_heads": 2, "intermediate_size": 48, "sliding_window": 12},
    "bloom": {},
}
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "<|user|>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}"
)


def byte_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """Four special tokens, the 256 bytes, and some Chinese merges that end inside a character."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([PAD, EOS, USER, ANSWER, *alphabet])}
    of_byte = {
        byte: pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(chr(byte))[0][0] for byte in range(33, 127)
    }
    merges = [
        (of_byte[ord("t")], of_byte[ord("h")]),
        (of_byte[ord("t")] + of_byte[ord("h")], of_byte[ord("e")]),
        ("ä", "½"),
        ("å", "¥"),
    ]
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (PAD, EOS, USER, ANSWER)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, extra_special_tokens=[USER, ANSWER],
        chat_template=template, model_max_length=CONTEXT, clean_up_tokenization_spaces=False,
    )  # fmt: skip


@cache
def model_folder(
    kind: str = "qwen2", *, template: bool = False, seed: int = 0, scale: float = 4.0, vocab_size: int = 272
) -> Path:
    """A folder with a random model; larger weights than an initialisation gives, so that its choices differ."""
    tokenizer = byte_tokenizer(CHAT_TEMPLATE if template else None)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": CONTEXT}
    if kind == "bloom":
        sizes = {"hidden_size": 32, "n_layer": 3, "n_head": 4}
    ends = {"eos_token_id": EOS_ID, "pad_token_id": 0, "bos_token_id": None}
    config = AutoConfig.for_model(kind, vocab_size=vocab_size, **ends, **sizes, **SIZES[kind])
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(scale)
    folder = Path(mkdtemp(prefix=f"tamis-tiny-{kind}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def request(text: str, *, draws: Iterable[int] | None = None, raw: bool = False, **sampling: Any) -> Request:
    """A request whose problem id is its text; `n` draws, or those named."""
    settings = Sampling(**{"max_tokens": 24, **sampling})
    prompt = Prompt((Message("user", text),), raw=raw)
    indices = list(range(settings.n) if draws is None else draws)
    keys = sample_keys(text, prompt, settings, indices)
    return Request(
        text,
        prompt,
        settings,
        tuple(Draw(k, i, sample_seed(settings.seed, text, i)) for k, i in zip(keys, indices, strict=True)),
    )


async def stream(requests: Iterable[Request]) -> AsyncIterator[Request]:
    """The requests one by one."""
    for item in requests:
        yield item


def draw(engine: HFEngine, requests: Sequence[Request]) -> dict[str, Sample]:
    """All samples by key."""

    async def collect() -> dict[str, Sample]:
        return {sample.key: sample async for sample in engine.stream(stream(requests))}

    return asyncio.run(collect())


def samples_of(found: dict[str, Sample], request_: Request) -> list[Sample]:
    """The samples of one request in the order of its draws."""
    return [found[d.key] for d in request_.draws]


PROMPTS = (
    "What is 2 + 3?",
    "解方程 2x + 3 = 11，求 x。",
    "a",
    "The the thé: emoji 🙂 and 中文字符 mixed, a longer prompt than the others",
)
