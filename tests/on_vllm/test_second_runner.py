"""The adapter to Model Runner V2, which only GPUs have: over stand-ins made after its source, not over the real one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from tamis.engines.token_stats import token_stats
from tamis.engines.vllm.store import KEY, STORE, unpack


class Sampler:
    """Samples the likeliest, and leaves nothing of the logits."""

    def __init__(self) -> None:
        self.added: list[int] = []
        self.req_states = SimpleNamespace(
            prompt_len=SimpleNamespace(np=np.array([4, 3, 5, 9])), prefill_len=SimpleNamespace(np=np.array([4, 3, 7, 9]))
        )

    def add_request(self, slot, _) -> None:
        self.added.append(slot)

    def __call__(self, logits, _):
        sampled = logits.argmax(-1)
        if logits.dtype == torch.float32:
            logits.zero_()
        return SimpleNamespace(sampled_token_ids=sampled[:, None])


def test_rows_find_their_keys_and_positions():
    from tamis.engines.vllm.worker import _wrap_second_runner

    wrapped = type("Wrapped", (Sampler,), {"add_request": Sampler.add_request, "__call__": Sampler.__call__})
    _wrap_second_runner(wrapped)
    sampler = wrapped()
    for slot, key in ((0, "a"), (1, None), (2, "c"), (3, "d")):
        sampler.add_request(slot, SimpleNamespace(extra_args={KEY: key} if key else None))
    assert sampler.added == [0, 1, 2, 3]
    # `c` was preempted after two tokens and reads them again, in two pieces; `d` reads its prompt in pieces
    lengths = [(4, 3, 5, 5), (5, 4, 7, 9), (6, 5, 8, 10)]
    logits = [torch.randn(4, 50, generator=torch.Generator().manual_seed(step)) for step in range(3)]
    STORE.add([("c", 0), ("c", 1)], np.zeros((2, 27), np.float32), np.array([1, 1]), 50)
    for step, of_step in zip(lengths, logits, strict=True):
        order = np.array([2, 0, 3, 1])
        batch = SimpleNamespace(
            num_reqs=4, idx_mapping_np=order, seq_lens_cpu_upper_bound=torch.tensor([step[slot] for slot in order])
        )
        sampler(of_step[torch.from_numpy(order)], batch)
    found = STORE.take(["a", "c", "d"])
    for key, slot, first_step, first_token, length in (("a", 0, 0, 0, 3), ("c", 2, 1, 2, 4), ("d", 3, 1, 0, 2)):
        values, ids, _ = unpack(found[key])
        rows = torch.stack([of_step[slot] for of_step in logits[first_step:]])
        assert len(ids) == length
        assert ids[first_token:].tolist() == rows.argmax(-1).tolist()
        np.testing.assert_allclose(values[first_token:], token_stats(rows, rows.argmax(-1)).numpy(), atol=1e-6)


def test_drafts_are_left_alone():
    from tamis.engines.vllm.worker import _wrap_second_runner

    wrapped = type("Wrapped", (Sampler,), {"add_request": Sampler.add_request, "__call__": Sampler.__call__})
    _wrap_second_runner(wrapped)
    sampler = wrapped()
    sampler.add_request(0, SimpleNamespace(extra_args={KEY: "drafted"}))
    sampler(torch.randn(3, 50), SimpleNamespace(num_reqs=1))
    assert STORE.take(["drafted"]) == {}
