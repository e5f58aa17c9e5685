"""What whoever listens to vLLM's draws is told, and what becomes of those who want no more."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from on_vllm.requests import EIGHT, draw, request

from tamis.engines.vllm.store import STORE
from tamis.records import Draw


@pytest.mark.parametrize("stop", [(), ("w1", " w2")])
def test_the_samples_are_the_same_with_and_without_a_listener(engine, stop):
    requests = [request(text, n=2, max_tokens=24, stop=stop) for text in EIGHT]
    told: dict[str, list[str]] = defaultdict(list)

    def listen(one: Draw, text: str) -> bool:
        told[one.key].append(text)
        return True

    plain = draw(engine, requests)
    heard = draw(engine, [replace(item, on_text=listen) for item in requests])
    for key, sample in heard.items():
        assert (sample.text, sample.finish_reason) == (plain[key].text, plain[key].finish_reason)
        np.testing.assert_array_equal(sample.stats.ids, plain[key].stats.ids)
        assert all(sample.text.startswith(text) for text in told[key])
        assert all(len(a) < len(b) for a, b in pairwise(told[key]))
    assert max(map(len, told.values())) > 1
    assert len(STORE) == 0


def test_one_that_is_given_up_ends_there_and_the_others_go_on(engine):
    item = request(EIGHT[0], n=4, max_tokens=40)
    plain = draw(engine, [item])
    longest = max(plain, key=lambda key: len(plain[key].text))
    heard = draw(engine, [replace(item, on_text=lambda one, text: one.key != longest or len(text) < 6)])
    for key, sample in heard.items():
        if key != longest:
            assert (sample.text, sample.finish_reason) == (plain[key].text, plain[key].finish_reason)
            continue
        assert sample.finish_reason == "cut"
        assert 6 <= len(sample.text) < len(plain[key].text)
        assert plain[key].text.startswith(sample.text)
        assert sample.completion_tokens == len(sample.stats)
        np.testing.assert_array_equal(sample.stats.ids, plain[key].stats.ids[: len(sample.stats)])
    assert len(STORE) == 0
