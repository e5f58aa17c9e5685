"""Statistics where vLLM takes rows apart: prompts read in pieces, sequences thrown out and begun again, models side by side."""

from __future__ import annotations

from on_vllm.requests import EIGHT, draw, request
from on_vllm.test_engine import assert_exact

from tamis.engines.vllm.engine import VLLMEngine
from tamis.engines.vllm.store import STORE


def test_preempted_and_chunked_draws_are_the_same_and_exact(engine, text_model, monkeypatch):
    """Ten blocks of 128 tokens for eight sequences of up to 420, and prompts that take two steps and more."""
    requests = [request(f"{text} " * 8, n=2, max_tokens=180, seed=3) for text in EIGHT]
    quiet = draw(engine, requests)
    tight = VLLMEngine(text_model, batch_size=8, engine_args={"num_gpu_blocks_override": 10, "max_num_batched_tokens": 128})
    try:
        from vllm.v1.core.sched.scheduler import Scheduler

        preempted = []
        preempt = Scheduler._preempt_request

        def counted(self, request, *args, **kwargs):
            preempted.append(request.request_id)
            return preempt(self, request, *args, **kwargs)

        monkeypatch.setattr(Scheduler, "_preempt_request", counted)
        pressed = draw(tight, requests)
    finally:
        tight.close()
    assert len(preempted) > 3
    assert {k: s.stats.ids.tolist() for k, s in pressed.items()} == {k: s.stats.ids.tolist() for k, s in quiet.items()}
    assert_exact(text_model, list(pressed.values()))
    assert len(STORE) == 0


def test_two_models_side_by_side(engine, large_vocabulary):
    """One comes and goes while the other is open."""
    requests = [request(text, n=2) for text in EIGHT]
    before = draw(engine, requests)
    other = VLLMEngine(large_vocabulary, batch_size=4)
    between = draw(engine, requests)
    assert draw(other, requests[:2])
    other.close()
    after = draw(engine, requests)
    for found in (between, after):
        assert {k: s.stats.ids.tolist() for k, s in found.items()} == {k: s.stats.ids.tolist() for k, s in before.items()}


def test_statistics_come_from_workers_of_their_own(text_model):
    spread = VLLMEngine(text_model, batch_size=8, tensor_parallel=2)
    try:
        assert spread.fault == ""
        samples = list(draw(spread, [request(text, n=2) for text in EIGHT]).values())
    finally:
        spread.close()
    assert_exact(text_model, samples)
