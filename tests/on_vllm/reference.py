"""The nine statistics by their definitions, from a forward pass of transformers in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tamis.records import STATISTICS


@torch.inference_mode()
def statistics(model: Any, prompt: Sequence[int], ids: Sequence[int], **seen: Any) -> np.ndarray:
    """(T, 9) of the tokens `ids` after the tokens of a prompt; `seen` is what a model with eyes is given besides."""
    whole = torch.tensor([[*prompt, *ids]])
    logits = model(input_ids=whole, **seen).logits[0, len(prompt) - 1 : -1].double()
    logps = logits.log_softmax(-1)
    chosen = logps.gather(1, torch.tensor(ids)[:, None])
    p = logps.exp()
    top = logps.topk(20, -1).values
    columns = {
        "logp": chosen[:, 0],
        "rank": 1 + (logps > chosen).sum(-1),
        "entropy": -(p * logps).sum(-1),
        "mean_logp": logps.mean(-1),
        "sum_p2": (p * p).sum(-1),
        "lp1": top[:, 0],
        "lp2": top[:, 1],
        "sum_top5": top[:, :5].sum(-1),
        "sum_top20": top.sum(-1),
    }
    return torch.stack([columns[name].double() for name in STATISTICS], -1).numpy()


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    """All nine within 1e-4; ranks equal, but for neighbours that the last bits order."""
    assert values.shape == expected.shape
    rank = STATISTICS.index("rank")
    others = [i for i in range(len(STATISTICS)) if i != rank]
    np.testing.assert_allclose(values[:, others], expected[:, others], atol=1e-4, rtol=1e-5)
    assert np.abs(values[:, rank] - expected[:, rank]).max(initial=0) <= 1
    assert np.mean(values[:, rank] != expected[:, rank]) <= 0.01
