"""Whether the statistics that the worker takes are right: compared, when a model is opened, with recorded logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.engines.token_stats import TOP
from tamis.engines.vllm.load import RUNNING, Loaded
from tamis.engines.vllm.store import KEY, merge, unpack
from tamis.records import STATISTICS

_NAME = "tamis-check"
_NUM_TOKENS = 2
_TOLERANCE = 1e-3


def find_fault(loaded: Loaded) -> str:
    """What is wrong with the statistics of a small request, in one line; "" when they are exact."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = loaded.engine
    params = SamplingParams(
        temperature=0.5,
        top_k=8,
        max_tokens=_NUM_TOKENS,
        ignore_eos=True,
        seed=0,
        extra_args={KEY: _NAME},
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    engine.collective_rpc("tamis_record", args=(True,))
    engine.add_request(_NAME, {"prompt_token_ids": [max(loaded.end_ids, default=0)] * 3}, params, lora_request=loaded.adapter)
    drawn: list[int] = []
    while engine.has_unfinished_requests():
        with RUNNING:
            drawn += [token for output in engine.step() if output.finished for token in output.outputs[0].token_ids]
    recorded = max(engine.collective_rpc("tamis_record", args=(False,)), key=len)
    packed = merge(engine.collective_rpc("tamis_take", args=([_NAME],))).get(_NAME)
    if packed is None:
        return "the worker gave none"
    values, ids, vocab_size = unpack(packed)
    logits = np.frombuffer(recorded, "<f4").reshape(-1, vocab_size)
    if ids.tolist() != drawn or len(logits) != len(drawn):
        return f"{len(logits)} distributions and the tokens {ids.tolist()} came for {drawn}"
    expected = np.array([_expected(line, token) for line, token in zip(logits.astype(np.float64), drawn, strict=True)])
    off = np.abs(values - expected) / np.maximum(1, np.abs(expected))
    worst = np.nan_to_num(off, nan=np.inf).max(0)
    return "" if (worst <= _TOLERANCE).all() else f"{STATISTICS[int(worst.argmax())]} is off by {worst.max():.2g}"


def _expected(logits: NDArray[np.float64], token: int) -> NDArray[np.float64]:
    """The nine statistics (9,) of a token under raw logits (V,), by their definitions."""
    logps = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    p, top = np.exp(logps), np.sort(logps)[::-1]
    rank = 1 + np.count_nonzero(logits > logits[token])
    sums = [top[:5].sum(), top[:TOP].sum()]
    return np.array([logps[token], rank, -(p * logps).sum(), logps.mean(), (p * p).sum(), top[0], top[1], *sums])
