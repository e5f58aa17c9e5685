"""Distances of sets in closed form, BERTScore on a tiny model, and what is said where weights are not there."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import UsageError
from tamis.likeness.learned import BertScore, Inception, Lpips, frechet_distance, kernel_distance

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "cat", "dog", "sat", "ran", "on", "mat", "."]


def test_the_frechet_distance_of_independent_columns_is_a_sum_over_them():
    rng = np.random.default_rng(0)
    columns = np.linalg.qr(rng.normal(size=(60, 5)) - 0)[0]
    columns = np.linalg.qr(columns - columns.mean(axis=0))[0]  # orthogonal and of mean 0: no covariance
    first = columns[:, :4] * [3, 1, 2, 5] + [0, 1, 0, 2]
    second = columns[:, :4] * [1, 1, 4, 2] + [1, 0, 0, 0]
    widths = [(a, b) for a, b in zip(first.std(axis=0, ddof=1), second.std(axis=0, ddof=1), strict=True)]
    expected = 1 + 1 + 4 + sum((a - b) ** 2 for a, b in widths)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_fewer_pictures_than_features():
    scipy_linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(20, 6)), rng.normal(size=(30, 6)) * 2 + 1
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    gap = first.mean(axis=0) - second.mean(axis=0)
    expected = gap @ gap + np.trace(one + other - 2 * scipy_linalg.sqrtm(one @ other).real)
    assert frechet_distance(first, second) == pytest.approx(expected)
    wide = np.concatenate([first, np.zeros((20, 50))], axis=1), np.concatenate([second, np.zeros((30, 50))], axis=1)
    assert frechet_distance(*wide) == pytest.approx(expected)


def test_the_kernel_distance_by_hand():
    first, second = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    # x.y / 2 + 1 cubed: within the first 1, within the second 2^3, across 1.5^3, 2^3, 1.5^3, 1
    assert kernel_distance(first, second) == pytest.approx(1 + 8 - 2 * (3.375 + 8 + 3.375 + 1) / 4)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> str:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def test_bert_score(bert):
    score = BertScore(bert)
    assert "layer 3 of 4" in score.signature
    text, reference = "the cat sat on the mat .", "a dog ran on the mat ."
    assert score.f1(text, reference) == pytest.approx(_f1(bert, text, reference), abs=1e-6)
    assert score.f1(text, text) == pytest.approx(1)
    assert score.f1("", reference) is None
    assert score.f1("the cat " * 50, reference) == pytest.approx(score.f1("the cat " * 7, reference))  # 16 tokens are seen


def _f1(folder: str, text: str, reference: str) -> float:
    """Token by token, as the paper has it."""
    import torch
    import transformers

    tokenizer, model = transformers.AutoTokenizer.from_pretrained(folder), transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        made, wanted = (
            model(**tokenizer(each, return_tensors="pt"), output_hidden_states=True).hidden_states[3][0]
            for each in (text, reference)
        )

    def best(token: object, others: object) -> float:
        return max(float(torch.cosine_similarity(token, other, dim=0)) for other in others)

    precision = np.mean([best(token, wanted) for token in made[1:-1]])
    recall = np.mean([best(token, made) for token in wanted[1:-1]])
    return 2 * precision * recall / (precision + recall)


def test_what_is_not_there_is_said_in_one_line(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="cannot be loaded"):
        BertScore(str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", str)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for kind in (Lpips, Inception):
        with pytest.raises(UsageError, match=r"its weights are not on this machine: .*\.pth\. Put the file there"):
            kind()
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    with pytest.raises(UsageError, match="pip install torch-fidelity torchvision"):
        Inception()
