"""One token a row, by inversion of the cumulated distribution in the order of the ids.

Each sample has its own counter-based generator (Philox, keyed by the draw's seed) and spends exactly one uniform number a
token, so that what it draws depends on nothing else in the batch. Filters follow transformers: temperature, then top-k, then
top-p of what top-k left, then min-p; each is a threshold, and tokens that tie with it stay.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.token_stats import BLOCK, ROWWISE_VOCABULARY, SoftmaxPass, StepStates, largest
from tamis.records import Sampling

BELOW_ONE = 1 - 2**-52
HEAD = 2048  # of a large vocabulary, the largest logits among which top-p looks first


def uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """The first `count` numbers in [0, 1) of the generator of one draw; longer sequences begin with the same numbers."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


class Sampler:
    """The sampling settings of the rows of a batch, and how to draw by them."""

    def __init__(self, num_rows: int) -> None:
        self.temperature = np.ones(num_rows, dtype=np.float32)
        self.top_k = np.zeros(num_rows, dtype=np.int64)
        self.top_p = np.ones(num_rows, dtype=np.float64)
        self.min_p = np.zeros(num_rows, dtype=np.float32)

    def set(self, row: int, sampling: Sampling) -> None:
        """Give a row its settings."""
        self.temperature[row], self.top_k[row] = sampling.temperature, sampling.top_k
        self.top_p[row], self.min_p[row] = sampling.top_p, sampling.min_p

    def draw(
        self, logits: Tensor, rows: NDArray[np.int64], numbers: NDArray[np.float64], *, states: bool
    ) -> tuple[Tensor, Tensor, NDArray[np.float32] | None]:
        """Draw for raw logits (R, V), whose rows have the settings of `rows` (R,), by uniform numbers (R,).

        Returns:
            The ids (R,); S1 (R,), not finite where a distribution is broken (NaN or +inf logits); the states (R, STATE) of
            the statistics when asked for.
        """
        num_rows = len(logits)
        ids = torch.empty(num_rows, dtype=torch.long, device=logits.device)
        totals = torch.empty(num_rows, dtype=torch.float32, device=logits.device)
        step = StepStates(logits, wanted=states)
        for chunk, softmax in step.passes():
            ids[chunk] = self._choose(softmax, rows[chunk], torch.from_numpy(numbers[chunk]).to(logits.device))
            totals[chunk] = softmax.s1
            if states:
                step.add(chunk, softmax, ids[chunk])
        return ids, totals, step.finish(ids) if states else None

    def _choose(self, softmax: SoftmaxPass, rows: NDArray[np.int64], numbers: Tensor) -> Tensor:
        temperature = self.temperature[rows]
        greedy = temperature == 0
        if greedy.all():
            return softmax.logits.argmax(-1)
        filtered = self.top_k[rows].any() or (self.top_p[rows] < 1).any() or self.min_p[rows].any()
        if softmax.block_sums is not None and temperature[0] == 1 and not filtered:
            return torch.tensor([_in_long_line(softmax.block_sums, softmax.part_of_e, float(numbers[0]))])
        weights = softmax.e
        if (temperature != 1).any():
            divisor = torch.from_numpy(np.where(greedy, 1, temperature)).to(weights.device)
            weights = (softmax.z / divisor[:, None]).exp()
        if filtered:
            weights = self._filtered(softmax.z, weights, rows)
        ids = inverse_cdf(weights, numbers)
        return torch.where(torch.from_numpy(greedy).to(ids.device), softmax.logits.argmax(-1), ids) if greedy.any() else ids

    def _filtered(self, z: Tensor, weights: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The weights (R, V), zero where a filter takes the token away."""
        vocab_size = z.shape[-1]
        top_k = np.where(self.top_k[rows] > 0, np.minimum(self.top_k[rows], vocab_size), vocab_size)
        top_p = self.top_p[rows]
        if (top_k < vocab_size).any() or (top_p < 1).any():
            size = vocab_size
            if vocab_size > ROWWISE_VOCABULARY:
                size = min(vocab_size, max(HEAD, 1 + int(np.where(top_k < vocab_size, top_k, 0).max())))
            scale = 1 / np.where(self.temperature[rows] > 0, self.temperature[rows], 1)
            total = weights.sum(-1).cpu().numpy()
            threshold = _threshold(_descending(z, size), total, scale, top_k, top_p, vocab_size)
            if threshold is None:  # the head holds too little of the mass
                threshold = _threshold(_descending(z, vocab_size), total, scale, top_k, top_p, vocab_size)
            assert threshold is not None
            weights = torch.where(z >= torch.from_numpy(threshold).to(z.device)[:, None], weights, 0)
        min_p = torch.from_numpy(self.min_p[rows]).to(z.device)[:, None]
        return torch.where(weights >= min_p, weights, 0)  # the largest weight is 1


def _descending(z: Tensor, size: int) -> NDArray[np.float32]:
    return np.sort(largest(z, size), axis=-1)[:, ::-1]


def _threshold(
    head: NDArray[np.float32],
    total: NDArray[np.float32],
    scale: NDArray[np.floating],
    top_k: NDArray[np.int64],
    top_p: NDArray[np.float64],
    vocab_size: int,
) -> NDArray[np.float32] | None:
    """The smallest z (R,) that top-k and top-p keep, given the largest z of each row (R, H), descending, of V.

    None when the head is too short to tell: it ends within the ties of top-k, or before top-p's mass is reached.
    """
    whole = head.shape[-1] == vocab_size
    lines = np.arange(len(head))
    limited = top_k < vocab_size
    kth = np.where(limited, head[lines, np.minimum(top_k, head.shape[-1]) - 1], -np.inf).astype(np.float32)
    if not whole and (limited & (head[:, -1] >= kth)).any():
        return None
    mass = np.cumsum(np.where(head >= kth[:, None], np.exp(head * scale[:, None]), 0), axis=-1, dtype=np.float64)
    wanted = top_p * np.where(limited | whole, mass[:, -1], total)
    last = np.count_nonzero(mass < wanted[:, None], axis=-1)
    if not whole and ((top_p < 1) & (last == head.shape[-1])).any():
        return None
    nucleus = head[lines, np.minimum(last, head.shape[-1] - 1)]
    return np.where(top_p < 1, np.maximum(kth, nucleus), kth)


def inverse_cdf(weights: Tensor, numbers: Tensor) -> Tensor:
    """For each row of weights (R, V) the first id whose cumulated weight exceeds number * sum; never one of weight 0.

    A long row is cumulated block by block, then within the one block that is hit. Sums are fp64 above the block.
    """
    vocab_size = weights.shape[-1]
    if vocab_size <= ROWWISE_VOCABULARY:
        cumulated = weights.cumsum(-1, dtype=torch.float64)
        total = cumulated[:, -1:]
        target = torch.minimum(numbers[:, None] * total, total * BELOW_ONE)
        return torch.searchsorted(cumulated, target, right=True)[:, 0].clamp_max(vocab_size - 1)
    body = vocab_size - vocab_size % BLOCK
    sums = weights[:, :body].unflatten(-1, (-1, BLOCK)).sum(-1)
    if body < vocab_size:
        sums = torch.cat([sums, weights[:, body:].sum(-1, keepdim=True)], -1)
    found = [
        _in_long_line(line_sums, line.__getitem__, number)
        for line_sums, line, number in zip(sums.cpu().numpy(), weights, numbers.tolist(), strict=True)
    ]
    return torch.tensor(found, device=weights.device)


def _in_long_line(sums: NDArray[np.float32], part: Callable[[slice], Tensor], number: float) -> int:
    """`inverse_cdf` of one row, given the sums of its blocks and a function that gives a part of its weights."""
    block, rest = _first_above(sums, number * float(sums.sum(dtype=np.float64)))
    start = block * BLOCK
    return start + _first_above(part(slice(start, start + BLOCK)).cpu().numpy(), rest)[0]


def _first_above(weights: NDArray[np.float32], target: float) -> tuple[int, float]:
    """The first index whose cumulated weight exceeds target, and what of the target is left before it."""
    cumulated = np.cumsum(weights, dtype=np.float64)
    target = min(target, cumulated[-1] * BELOW_ONE)
    index = min(int(np.searchsorted(cumulated, target, side="right")), len(weights) - 1)
    return index, target - (cumulated[index - 1] if index else 0.0)
