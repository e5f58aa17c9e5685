"""The proof of a fast count: it is that of `tokenizers` on strings made to find a difference."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tamis.counting.counter import TokenCounter
from tamis.counting.kept import digest_of, find_proof, keep_proof
from tamis.counting.locate import find_tokenizer

_NUM_SHUFFLED = 200

_WORDS = (
    "The answer is \\boxed{42}.\n\n## Step 1: $x^2 - 3x + 2 = 0$, so (x-1)(x-2)=0; 'quoted' it's I'LL WE'VE she'd",
    "def f(x):\n    return {\n        'a': [1, 2,  3],\n\t\t\"b\": x ** 2,   # note\n    }\r\n\r\n  \n   end  ",
    "因此，答案是 \\boxed{7}。中文，标点！ 日本語のテキスト、カタカナ 한국어 문장",
    "Ελληνικά Русский текст עברית العربية हिन्दी ไทย tiếng Việt",
    "é e\u0301 ﬁ Å Å ½ ² ① Ⅷ ٣ ३ ﷺ ẞ ſ 'ſ 'S K İ ı ǆ n̈ ɐ ʼn ᄒ\u1161\u11ab 각 \u0344",
    "👍🏽 👩‍👩‍👧‍👦 🇫🇷 ✅ ⭐ → ⇒ ∀x∈ℝ ∫₀^∞ e⁻ˣ dx 🤔🤔 𝒜𝔹 𠀀 🫠",
    "a  b   c    d\u00a0e\u00a0\u00a0f\u2003g\u3000h\u2028i\u0085j\v\fk \t l\t m\n\t n \n o",
    "\x00\x01\x1b[31m\x7f\u200b\u200d\ufeff\ufffd\ue000\U0010ffff",
    "1234567890 12,345.678 1e-10 0x1F v2.0.1 3/4 50% $5 €6 #7 a1b2 _x_ --flag !!! ... ??? ((( ]]] <<>> \\\\ // ~~",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa hahahahahaha abababababa ------------------ ................ ==== 000000000000",
    "supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "", " ", "  ", "\n", " \n", "\n ",
    "\n x", "x\n y", "\t\n  z", "   x", "x   ", "\n\n\n  x", "  \n  \n", "\r", "\r\n \r\n", "'", "'s", " 's", "x's", "'re're",
)  # fmt: skip


def open_counter(model: str, *, few: bool = False) -> TokenCounter:
    """The counter of a model: a folder with a tokenizer.json, such a file, or a name on the hub.

    Where fastokens does not load or disagrees with `tokenizers` on any probe, all is left to `tokenizers`.

    Args:
        model: Whose tokenizer.
        few: The texts are so few that loading the fast way would take longer than it saves.

    Raises:
        InputError: There is no tokenizer.json, or it is not one.
        MissingExtra: The packages of the extra `summarise` are not installed.
    """
    path = find_tokenizer(model)
    if few:
        counter = TokenCounter(path, "the input is small")
        counter.reference()
        return counter
    digest = digest_of(path)
    aside = find_proof(digest)
    if aside is None:
        aside = _examine(path)
        keep_proof(digest, aside)
    return TokenCounter(path, aside)


def _examine(path: Path) -> str:
    """Why fastokens cannot count for this tokenizer; "": it can."""
    counter = TokenCounter(path)
    marks = [str(token.content) for token in counter.reference().get_added_tokens_decoder().values()]
    try:
        counter.count("")
    except ValueError as error:  # a tokenizer that it does not know
        return " ".join(f"fastokens: {error}".split())[:200]
    for text in _probes(marks):
        if counter.count(text) != counter.count_slowly(text):
            return f"fastokens disagrees on {text[:40]!r}"
    return ""


def _probes(marks: Sequence[str]) -> Iterator[str]:
    yield from (*_WORDS, " ".join(_WORDS), "".join(reversed(_WORDS)))
    yield from (f"a{mark} b{mark}{mark}  \n{mark[:-1]}" for mark in marks)
    rng, pieces = random.Random(0), [*"".join(_WORDS), *_WORDS[-20:], *marks]
    for _ in range(_NUM_SHUFFLED):
        yield "".join(rng.choices(pieces, k=rng.randrange(1, 60)))
