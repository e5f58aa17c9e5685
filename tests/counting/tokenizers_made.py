"""Small byte-level BPE tokenizers, trained in a moment, and what may be odd about one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MARKS = ("<|im_end|>", "<think>", "</think>")
TEXTS = (
    "The answer is 42, so the answer to the question is that it is what it is.",
    "def add(x, y):\n    return x + y\n\n        # indented\n",
    "因此，答案是七。因此，这个问题的答案是七。",
    "Ελληνικά και Русский текст, été à la plage, naïve café",
    "👍🏽 ✅ \\boxed{\\frac{1}{2}} \\boxed{12}",
)


def made(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None, pattern: str = QWEN, size: int = 600) -> str:
    """A folder with a tokenizer.json, changed as told."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == GPT2)
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = byte_level if pattern == GPT2 else pre_tokenizers.Sequence([split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, *TEXTS], trainer)
    content = json.loads(tokenizer.to_str())
    content["normalizer"] = {"type": "NFC"}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"] = [
        {"id": len(content["model"]["vocab"]) + number, "content": mark, **flags, "special": number == 0}
        for number, mark in enumerate(MARKS)
    ]
    change(content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(folder)
