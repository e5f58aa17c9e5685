"""BLEU and ROUGE against the packages that define them, and on text that those do not know."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tamis.likeness.texts import Bleu, common_length, rouge, words

ENGLISH = [
    ("The cat sat on the mat.", "A cat is on the mat, and it sat."),
    ("We mark (each) box; there are 4!", "We mark each box; so there're four."),
    ("none of it", "completely different words here"),
    ("", "an empty answer"),
]
CHINESE = [("先标出每个方块，再数一数。", "先标出方块，然后数一数，共有 4 个。"), ("Answer 是 4", "答案是 4。")]


@pytest.mark.parametrize(("pairs", "tokenizer"), [(ENGLISH, "13a"), (CHINESE, "zh")])
def test_bleu_of_a_set_is_that_of_sacrebleu(pairs, tokenizer):
    sacrebleu = pytest.importorskip("sacrebleu")
    bleu = Bleu()
    counts = np.array([bleu.counts(text, reference) for text, reference in pairs])
    texts, references = zip(*pairs, strict=True)
    expected = sacrebleu.corpus_bleu(texts, [references], tokenize=tokenizer).score
    assert bleu.of_set(counts) == pytest.approx(expected, abs=1e-9)
    assert expected > 5
    for row, (text, reference) in zip(counts, pairs, strict=True):
        assert bleu.of_one(row) == pytest.approx(sacrebleu.sentence_bleu(text, [reference], tokenize=tokenizer).score)


def test_rouge_of_ascii_text_is_that_of_rouge_score():
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    rng = random.Random(3)
    made = [
        (" ".join(rng.choices("abcdefg_", k=rng.randint(0, 40))), " ".join(rng.choices("abcdefg", k=30))) for _ in range(50)
    ]
    for text, reference in [*ENGLISH, *made]:
        expected = {name: score.fmeasure for name, score in scorer.score(reference, text).items()}
        assert rouge(text, reference) == pytest.approx(expected, abs=1e-12)


def test_rouge_counts_chinese_characters_and_letters_of_every_script():
    assert words("Größe: 4 个Box") == ["größe", "4", "个", "box"]
    assert rouge("共有四个", "一共四个") == pytest.approx({"rouge1": 3 / 4, "rouge2": 1 / 3, "rougeL": 3 / 4})


def test_a_rambling_text_is_measured_too():
    assert common_length(["a", "b"] * 200_000, ["b", "a"] * 50) == 100
    assert common_length([], ["a"]) == common_length(["a"], []) == 0
