"""Are the fast token counts exactly those of the Hugging Face tokenizer? On real generations and on generated strings.

    python benchmarks/check_token_counts.py [--tokenizer FOLDER ...] [--strings 20000]

Against `AutoTokenizer`: all texts of the real generations beside the checkout (skipped with a line where they are not there)
and strings made to find a difference: every character of Unicode, emoji, control characters, special tokens whole and torn,
runs of blanks, strings of a million characters. Prints what was compared and ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_BLANKS = (
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    "\v",
    "\f",
    "\x85",
    "\xa0",
    "\u2003",
    "\u2028",
    "\u3000",
    "\x1c",
    "\x1f",
)
_EMOJI = ("👍🏽", "👩‍👩‍👧‍👦", "🇫🇷", "✅", "🤔", "❤️", "1️⃣", "🫠", "🏴\U000e0067\U000e0062\U000e007f", "⭐️")
_ASCII = (
    "the",
    " The",
    "answer",
    " is",
    "\\boxed{",
    "}",
    "x^2",
    "1234",
    "3.14",
    "'s",
    "'LL",
    "don't",
    "_",
    "--",
    "==",
    "#",
    "(",
    ")",
)
_MARKS = "\u0300\u0301\u0308\u0327\u0344\u05b0\u064b\u093c\u0e31\u1161\u11a8\u3099\u20d0\ufe0f\u200d\u200b\ufeff"


def _character(rng: random.Random) -> str:
    """Of every plane; each block of 256 characters alike; no half of a surrogate pair."""
    while True:
        plane = rng.choice((0, 0, 0, 0, 1, 1, 2, 3, 14, 15, 16, rng.randrange(17)))
        code = plane << 16 | rng.randrange(0x10000)
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def _word(rng: random.Random, marks: Sequence[str]) -> str:
    kinds: tuple[Callable[[], str], ...] = (
        lambda: rng.choice(_ASCII),
        lambda: rng.choice(_ASCII),
        lambda: rng.choice(_BLANKS) * rng.choice((1, 1, 2, 3, 9)),
        lambda: _character(rng),
        lambda: chr(rng.randrange(0x20)),
        lambda: chr(rng.randrange(0x80, 0x500)),
        lambda: chr(rng.randrange(0x4E00, 0xA000)) * rng.choice((1, 2, 7)),
        lambda: chr(rng.randrange(0xAC00, 0xD7A4)),
        lambda: rng.choice(_EMOJI),
        lambda: rng.choice("aeiouñAcgᄒ가") + rng.choice(_MARKS) + rng.choice(("", rng.choice(_MARKS))),
        lambda: rng.choice(marks) if marks else "",
        lambda: rng.choice(marks)[rng.randrange(3) : -rng.randrange(1, 3)] if marks else "",
        lambda: chr(rng.randrange(0x21, 0x7F)) * rng.randrange(1, 40),
    )
    return rng.choice(kinds)()


def strings(num: int, marks: Sequence[str], seed: int = 0) -> Iterator[str]:
    """Strings made to find a difference; `marks` are the special tokens."""
    rng = random.Random(seed)
    for _ in range(num):
        yield "".join(_word(rng, marks) for _ in range(rng.choice((1, 2, 3, 5, 8, 13, 30, 80))))


def every_character() -> Iterator[str]:
    """Each character of Unicode alone, doubled and beside marks, fifty in a string."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 50):
        yield "".join(
            f"a{sign} {sign}b1{sign}{sign}  {sign}e{sign}\u0301{sign}\u0327\u0301 '{sign}" for sign in every[start : start + 50]
        )


def long_strings(marks: Sequence[str], num_characters: int = 1_000_000) -> Iterator[str]:
    """Of a million characters and more."""
    for unit in ("a", " ", "\n", "0", "中", "x ", "👍", "    return x\n", "e\u0301", "\t", *marks[:1]):
        yield unit * (num_characters // len(unit))
    yield "".join(strings(num_characters // 60, marks, seed=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", nargs="*", default=[str(DATA / "tokenizers" / name) for name in ("qwen2.5", "qwen3")])
    parser.add_argument("--strings", type=int, default=20_000)
    options = parser.parse_args()
    from transformers import AutoTokenizer

    from tamis.counting import open_counter

    num_wrong = 0
    for folder in options.tokenizer:
        counter, reference = open_counter(folder), AutoTokenizer.from_pretrained(folder)
        marks = [token.content for token in reference.added_tokens_decoder.values()]
        print(f"{folder}: counted by {counter.how}")
        for name, texts in _sources(marks, options.strings):
            began, num, num_characters, wrong = time.process_time(), 0, 0, 0
            for text in texts:
                num, num_characters = num + 1, num_characters + len(text)
                expected = len(reference(text, add_special_tokens=False, verbose=False)["input_ids"])
                if counter.count(text) != expected:
                    wrong += 1
                    print(f"  differs: {text[:80]!r}: {counter.count(text)}, not {expected}")
            seconds = time.process_time() - began
            print(f"  {name}: {num} texts, {num_characters} characters, {wrong} differ ({seconds:.0f} CPU-s)", flush=True)
            num_wrong += wrong
    return 1 if num_wrong else 0


def _sources(marks: Sequence[str], num: int) -> Iterator[tuple[str, Iterator[str]]]:
    files = sorted((DATA / "generations").glob("*.jsonl"))
    if not files:
        print(f"  no real generations at {DATA}: skipped")
    for path in files:
        yield path.name, real_texts(path)
    yield "generated strings", strings(num, marks)
    yield "every character", every_character()
    yield "long strings", long_strings(marks)


def real_texts(path: Path) -> Iterator[str]:
    """The texts of a file of generations."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield from (sample["text"] for sample in json.loads(line)["samples"])


if __name__ == "__main__":
    sys.exit(main())
