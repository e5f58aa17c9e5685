"""Texts against references: BLEU and ROUGE.

Both work on words. Those of BLEU are sacrebleu's `13a` or, where the reference has Chinese characters, its `zh`, in which each
of them is a word. Those of ROUGE are runs of letters and digits in small letters, which of ASCII text are those of the package
rouge-score, and again each Chinese character; that package knows ASCII alone, and would find nothing in any other text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sacrebleu.metrics.bleu import BLEU

    Floats = NDArray[np.float64]

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CHINESE = re.compile(f"[{_CJK}]")
_WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+")
_ORDERS = 4


class Bleu:
    """BLEU of single texts and of a whole set, from the same counts: n-grams found and present, and two lengths."""

    def __init__(self) -> None:
        """Load the tokenizers.

        Raises:
            MissingExtra: sacrebleu is not installed.
        """
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as error:
            raise MissingExtra("BLEU", "metrics") from error
        self._bleu: type[BLEU] = BLEU
        self._by_script = {
            is_chinese: BLEU(tokenize="zh" if is_chinese else "13a", effective_order=True) for is_chinese in (False, True)
        }

    @property
    def signature(self) -> str:
        """How it is computed, as sacrebleu writes it, for the version and both tokenizers."""
        import sacrebleu

        return f"nrefs:1|case:mixed|eff:no|tok:13a, zh for references in Chinese|smooth:exp|version:{sacrebleu.__version__}"

    def counts(self, text: str, reference: str) -> Floats:
        """What one text adds to the score of a set: (2 + 2 x 4,)."""
        found = self._by_script[bool(_CHINESE.search(reference))].sentence_score(text, [reference])
        return np.array([found.sys_len, found.ref_len, *found.counts, *found.totals], np.float64)

    def of_set(self, counts: Floats) -> float:
        """The score of a set, 0 to 100, of the counts of its texts (n, 10)."""
        return self._score(counts.sum(axis=0), is_effective=False)

    def of_one(self, counts: Floats) -> float:
        """The score of one text, by the n-grams that it is long enough for."""
        return self._score(counts, is_effective=True)

    def _score(self, sums: Floats, *, is_effective: bool) -> float:
        lengths, found, present = np.split(sums.astype(int), [2, 2 + _ORDERS])
        how: dict[str, Any] = {"smooth_method": "exp", "effective_order": is_effective}
        score = self._bleu.compute_bleu(found.tolist(), present.tolist(), int(lengths[0]), int(lengths[1]), **how)
        return min(100.0, float(score.score))  # a sum of logarithms rounds beyond it


def words(text: str) -> list[str]:
    """The words of a text, for ROUGE."""
    return _WORD.findall(text.lower())


def rouge(text: str, reference: str) -> dict[str, float]:
    """`rouge1`, `rouge2`, `rougeL`: F1, 0 to 1, of words, of pairs of words, and of the longest common subsequence."""
    made, wanted = words(text), words(reference)
    common = {1: _num_common(made, wanted, 1), 2: _num_common(made, wanted, 2)}
    scores = {f"rouge{n}": _f1(num, len(made) - n + 1, len(wanted) - n + 1) for n, num in common.items()}
    return {**scores, "rougeL": _f1(common_length(made, wanted), len(made), len(wanted))}


def _num_common(made: Sequence[str], wanted: Sequence[str], n: int) -> int:
    grams = [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for tokens in (made, wanted)]
    return (grams[0] & grams[1]).total()


def _f1(num_common: int, num_made: int, num_wanted: int) -> float:
    return 2 * num_common / (num_made + num_wanted) if num_common else 0.0


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence; a bit a word of the first (Hyyrö 2004), so that long texts are quick."""
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << i
    all_bits = (1 << len(first)) - 1
    row = all_bits
    for word in second:
        matches = row & places.get(word, 0)
        row = (row + matches | row - matches) & all_bits
    return len(first) - row.bit_count()
