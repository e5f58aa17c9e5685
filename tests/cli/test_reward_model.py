"""A reward model on the command line, from candidates to the best file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.commands import DRAWING, rows
from engines.hf.test_reward import reward_folder

from tamis.engines.hf.reward import RewardModel


def test_the_answer_of_the_highest_reward_is_chosen(tamis, place, monkeypatch):
    folder = reward_folder(place / "reward", "qwen2", template="closed")
    assert tamis("generate", *DRAWING, "--output-dir", "drawn").code == 0
    candidates = next(Path("drawn").glob("*_candidates_*"))
    asked = ("--candidates", candidates, "--reward-model", folder, "--device", "cpu", "--output-dir")
    ran = tamis("evaluate", "--method", "reward", *asked, "one")
    assert ran.code == 0, ran.err
    model = RewardModel(folder, device="cpu")
    for row, drawn in zip(rows(next(Path("one").glob("*_best_*"))), rows(candidates), strict=True):
        rewards = [model.rewards(drawn["question"], [sample["text"]])[0] for sample in drawn["candidates"]]
        assert row["score"] == pytest.approx(rewards[row["index"]], abs=1e-4)
        answered = [reward for reward, s in zip(rewards, drawn["candidates"], strict=True) if "boxed" in s["text"]]
        assert row["score"] == pytest.approx(max(answered), abs=1e-4)
    monkeypatch.setattr(RewardModel, "__init__", None)  # all is known by now: the model is not loaded again
    ran = tamis("evaluate", "--method", "weighted-reward", "--reward-steps", "prod", *asked, "two")
    assert ran.code == 0, ran.err
    votes = rows(next(Path("two").glob("*_best_*")))[1]["votes"]
    assert set(votes) == {"7", "8"}
    assert all(0 < vote < 4 for vote in votes.values())
