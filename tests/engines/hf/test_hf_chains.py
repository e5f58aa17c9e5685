"""Chains of embedding of answers with several steps, against a plain forward of the whole text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from engines.hf.tiny_models import draw, request

from tamis.demo import MODEL_FOLDER
from tamis.engines.chains import chain_row
from tamis.engines.hf import HFEngine
from tamis.engines.hf.hidden import HiddenSums
from tamis.records import Sample
from tamis.steps import split_steps, step_ids

QUESTIONS = (
    "Tom has 3 apples and buys 5 more. How many apples?",
    "小明有12个苹果，又买了5个，一共有多少个？",
    "What is 12 + 30 * 2?",
)


@pytest.fixture(scope="module")
def embedded() -> Iterator[HFEngine]:
    engine = HFEngine(MODEL_FOLDER, batch_size=16, device="cpu", hidden_states=True)
    yield engine
    engine.close()


def plain_chain(engine: HFEngine, sample: Sample) -> np.ndarray:
    loaded, _ = engine._open()
    turns = [{"role": "user", "content": sample.problem_id}]
    prompt = loaded.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    with torch.inference_mode():
        out = loaded.model(torch.tensor([[*prompt, *sample.stats.ids.tolist()]]), output_hidden_states=True)
    produced = slice(len(prompt) - 1, len(prompt) - 1 + len(sample.stats))
    states = torch.stack([state[0, produced] for state in out.hidden_states], 1).numpy()  # (T, L + 1, d)
    steps = split_steps(sample.text)
    of_token = step_ids(sample.stats.starts, steps)
    return np.stack([chain_row(states.mean(0)), *(chain_row(states[of_token == k].mean(0)) for k in range(len(steps)))])


@pytest.mark.parametrize("stop", [(), ("The answer",), ("\n答案是", "swer is"), ("\n",)])
def test_rows_of_steps_equal_a_plain_forward(embedded: HFEngine, stop: tuple[str, ...]) -> None:
    found = draw(embedded, [request(text, n=8, max_tokens=60, stop=stop) for text in QUESTIONS]).values()
    for sample in found:
        if sample.text:
            np.testing.assert_allclose(sample.chain.values, plain_chain(embedded, sample), rtol=2e-4, atol=2e-4)
        else:
            assert sample.chain is None
    num_steps = [len(sample.chain.values) - 1 for sample in found if sample.chain]
    assert max(num_steps) == 1 if stop == ("\n",) else sum(number > 1 for number in num_steps) > 4


def test_a_chain_needs_no_statistics_and_changes_no_text() -> None:
    items = [request(text, n=4, max_tokens=30) for text in QUESTIONS]
    results = []
    for options in ({}, {"hidden_states": True}, {"hidden_states": True, "token_stats": False}):
        engine = HFEngine(MODEL_FOLDER, batch_size=16, device="cpu", **options)
        results.append(draw(engine, items))
        engine.close()
    plain, both, alone = results
    for key, sample in both.items():
        assert plain[key].chain is None
        assert plain[key].stats.values.tobytes() == sample.stats.values.tobytes()
        assert (alone[key].text, alone[key].stats) == (sample.text, None)
        assert alone[key].chain.values.tobytes() == sample.chain.values.tobytes()


def test_sums_that_find_no_memory_cost_their_chains_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [request(text, n=4, max_tokens=30) for text in QUESTIONS]
    engine = HFEngine(MODEL_FOLDER, batch_size=16, device="cpu", hidden_states=True)
    expected = draw(engine, items)
    num_calls, plain = 0, HiddenSums._like

    def breaks(self: HiddenSums, state: torch.Tensor) -> torch.Tensor:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 6:
            raise torch.OutOfMemoryError("injected")
        return plain(self, state)

    monkeypatch.setattr(HiddenSums, "_like", breaks)
    found = draw(engine, items)
    engine.close()
    lost = [np.isnan(sample.chain.values).all() for sample in found.values()]
    assert any(lost)
    for key, sample in expected.items():
        assert found[key].error is None
        assert found[key].text == sample.text
        assert found[key].chain.values.shape == sample.chain.values.shape
        assert np.isnan(found[key].chain.values).all() or found[key].chain.values.tobytes() == sample.chain.values.tobytes()
