"""The nine statistics of a token, from the raw logits, in the step that sampled it.

Everything comes from one max-shifted pass (docs/methods.md): with m = max l, z = l - m, e = exp z the state of a row is

    S1 = sum e    S2 = sum z e    S3 = sum e^2    A = sum z    n = size of the support    the 20 largest l

and the token's logit and rank, and the statistics are closed formulas of it, taken later for a whole answer at once. The
sampler draws from the same pass, so that statistics cost a few reductions and no exponential of their own. On a CPU a large
vocabulary is walked row by row and segment by segment: a segment's z and e stay in the cache, where those of a batch would
travel to memory and back at every operation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOP = 20
ROWWISE_VOCABULARY = 16_384  # on a CPU, from here on: one row at a time
BLOCK = 128  # ids a block: a long row is known by the sums and the maxima of its blocks
SEGMENT = 640 * BLOCK  # ids whose z and e are worked on at a time
STATE = 7 + TOP
"""Columns of a state: S1, S2, S3, A, n, the token's logit, the number of logits above it (-1: count among the largest), then
the 20 largest logits, first the smallest of them (-inf where there are fewer)."""


class SoftmaxPass:
    """One max-shifted softmax pass over R rows, fp32."""

    def __init__(self, logits: Tensor, top: Tensor, s1: Tensor, block_sums: NDArray[np.float32] | None = None) -> None:
        self.logits = logits  # (R, V)
        self.top = top  # (R, 1) their maxima
        self.s1 = s1  # (R,) sum of e; not finite: the logits hold a NaN or +inf, or nothing but -inf
        self.block_sums = block_sums  # of e, (blocks of V,), in row-wise work, where R is 1

    @cached_property
    def z(self) -> Tensor:
        """Logits minus the row's maximum (R, V)."""
        return self.logits - self.top

    @cached_property
    def e(self) -> Tensor:
        """Exp z (R, V)."""
        return self.z.exp()

    def part_of_e(self, part: slice) -> Tensor:
        """Exp z of a part of a single row."""
        return (self.logits[0, part] - self.top[0]).exp()


class StepStates:
    """The states of one step's tokens: `passes` over the logits (B, V), `add` each, then `finish` with the tokens drawn.

    Without `wanted` there are only the passes, for the sampler.
    """

    def __init__(self, logits: Tensor, *, wanted: bool) -> None:
        num_rows, vocab_size = logits.shape
        self._logits = logits
        self._wanted = wanted
        self._sums = np.empty((num_rows, 4), dtype=np.float32)  # S1, S2, S3, A
        self._rowwise = logits.device.type == "cpu" and vocab_size > ROWWISE_VOCABULARY
        if self._rowwise:
            self._maxima = np.empty((num_rows, vocab_size // BLOCK), dtype=np.float32)
            self._above = np.empty(num_rows, dtype=np.int64)  # logits above the token's
            self._flags = np.empty(vocab_size, dtype=bool)  # scratch

    def passes(self) -> Iterator[tuple[slice, SoftmaxPass]]:
        """Walk the logits in the chunks that suit device and vocabulary: (rows, their pass)."""
        if self._rowwise:
            scratch = torch.empty(2, SEGMENT)
            for row, line in enumerate(self._logits):
                yield slice(row, row + 1), self._pass_over_line(row, line.float(), scratch)
            return
        logits = self._logits.float()
        softmax = SoftmaxPass(logits, logits.amax(-1, keepdim=True), torch.empty(0))
        softmax.s1 = softmax.e.sum(-1)
        yield slice(0, len(logits)), softmax

    def _pass_over_line(self, row: int, line: Tensor, scratch: Tensor) -> SoftmaxPass:
        vocab_size = len(line)
        body = vocab_size - vocab_size % BLOCK
        maxima = torch.from_numpy(self._maxima[row])
        torch.amax(line[:body].view(-1, BLOCK), -1, out=maxima)
        top = maxima.amax() if body == vocab_size else torch.maximum(maxima.amax(), line[body:].amax())
        sums = np.empty(-(-vocab_size // BLOCK), dtype=np.float32)
        block_sums = torch.from_numpy(sums)
        s2 = s3 = total = 0.0
        for start in range(0, vocab_size, SEGMENT):
            size = min(SEGMENT, vocab_size - start)
            z, e = scratch if size == SEGMENT else scratch[:, :size]
            torch.sub(line[start : start + size], top, out=z)
            torch.exp(z, out=e)
            whole = size // BLOCK
            first = start // BLOCK
            torch.sum(e[: whole * BLOCK].view(-1, BLOCK), -1, out=block_sums[first : first + whole])
            if self._wanted:
                s2, s3, total = s2 + float(torch.dot(e, z)), s3 + float(torch.dot(e, e)), total + float(z.sum())
        if body < vocab_size:
            block_sums[-1] = e[body - start :].sum()
        s1 = sums.sum(dtype=np.float64)
        self._sums[row] = s1, s2, s3, total
        return SoftmaxPass(line[None], top[None, None], torch.tensor([s1], dtype=torch.float32), sums)

    def add(self, rows: slice, softmax: SoftmaxPass, ids: Tensor) -> None:
        """Take what these rows and their tokens ids (R,) have to tell."""
        if self._rowwise:
            self._above[rows] = self._num_above_in_line(rows.start, softmax.logits[0].numpy(), int(ids[0]))
        else:
            z, e = softmax.z, softmax.e
            for column, sums in enumerate((softmax.s1, torch.linalg.vecdot(e, z), torch.linalg.vecdot(e, e), z.sum(-1))):
                self._sums[rows, column] = sums.cpu().numpy()

    def finish(self, ids: Tensor) -> NDArray[np.float32]:
        """The states (B, STATE) of the tokens drawn, ids (B,), once all rows are added."""
        num_rows, vocab_size = self._logits.shape
        state = np.empty((num_rows, STATE), dtype=np.float32)
        state[:, :4] = self._sums
        state[:, 4] = vocab_size
        state[:, 5] = self._logits.gather(1, ids[:, None])[:, 0].float().cpu().numpy()
        state[:, 7 : 7 + vocab_size] = self._largest_by_blocks() if self._rowwise else largest(self._logits, TOP)
        state[:, 7 + vocab_size :] = -np.inf
        if self._rowwise:
            state[:, 6] = self._above
        else:
            self._count_rare(state)
        if not math.isfinite(state[:, 3].min(initial=0)):
            self._correct_masked(state)
        return state

    def _count_rare(self, state: NDArray[np.float32]) -> None:
        """Count the logits above rare tokens, those not among the largest, in their whole rows.

        The logits, not the z: the shift can round neighbours into ties.
        """
        state[:, 6] = -1
        rare = np.flatnonzero(state[:, 5] < state[:, 7])
        if len(rare):
            rows = torch.from_numpy(rare).to(self._logits.device)
            tokens = torch.from_numpy(state[rare, 5:6]).to(self._logits.device)
            state[rare, 6] = np.count_nonzero((self._logits[rows] > tokens).cpu().numpy(), axis=-1)

    def _num_above_in_line(self, row: int, line: NDArray[np.float32], token: int) -> int:
        """How many logits of one long row (V,) exceed the token's, counted only in the blocks whose maxima do."""
        logit = line[token]
        maxima = self._maxima[row]
        blocks = np.flatnonzero(maxima > logit)
        if 4 * len(blocks) > len(maxima):
            return int(np.count_nonzero(np.greater(line, logit, out=self._flags)))
        body = len(maxima) * BLOCK
        return int(np.count_nonzero(line[:body].reshape(-1, BLOCK)[blocks] > logit) + np.count_nonzero(line[body:] > logit))

    def _largest_by_blocks(self) -> NDArray[np.float32]:
        """The largest logits of each row (B, TOP): they lie in the blocks of the largest maxima, or behind the last block."""
        num_rows, num_blocks = self._maxima.shape
        body = num_blocks * BLOCK
        chosen = np.argpartition(self._maxima, -TOP, axis=-1)[:, -TOP:]
        blocks = self._logits[:, :body].unflatten(-1, (-1, BLOCK))
        rows = np.arange(num_rows)[:, None]
        if blocks.dtype == torch.float32:  # numpy copies whole blocks
            candidates = blocks.numpy()[rows, chosen]
        else:
            candidates = blocks[torch.from_numpy(rows), torch.from_numpy(chosen)].float().numpy()
        rest = self._logits[:, body:].float().numpy()
        candidates = np.concatenate([candidates.reshape(num_rows, -1), rest], axis=-1)
        return largest(torch.from_numpy(candidates), TOP)

    def _correct_masked(self, state: NDArray[np.float32]) -> None:
        """Correct the rows of masked distributions: 0 * -inf is 0, and only the support is averaged over."""
        rows = np.flatnonzero(np.isneginf(state[:, 3]))
        logits = self._logits[torch.from_numpy(rows).to(self._logits.device)].float()
        z = logits - logits.amax(-1, keepdim=True)
        kept = torch.isfinite(z)
        finite = torch.where(kept, z, 0.0)
        sums = torch.stack([torch.linalg.vecdot(z.exp(), finite), finite.sum(-1), kept.sum(-1)], -1)
        state[rows[:, None], [1, 3, 4]] = sums.cpu().numpy()


def statistics(state: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nine statistics (T, 9), in the order of `records.STATISTICS`, of states (T, STATE).

    Of a support smaller than 5 or 20 the sums take what there is. The second largest of a support of one is -inf.
    """
    s1, s2, s3, total, support, logit, above = state[:, :7].T
    top = np.sort(state[:, 7:], axis=-1)
    log_s1 = np.log(s1)
    logp = top - top[:, -1:] - log_s1[:, None]
    kept = np.where(np.isneginf(logp), 0, logp)
    values = np.empty((len(state), 9), dtype=np.float32)
    values[:, 0] = logit - top[:, -1] - log_s1
    values[:, 1] = 1 + np.where(above < 0, (top > logit[:, None]).sum(-1), above)
    values[:, 2] = np.maximum(log_s1 - s2 / s1, 0)
    values[:, 3] = total / support - log_s1
    values[:, 4] = s3 / (s1 * s1)
    values[:, 5] = -log_s1
    values[:, 6] = logp[:, -2]
    values[:, 7] = kept[:, -5:].sum(-1)
    values[:, 8] = kept.sum(-1)
    return values


def token_states(logits: Tensor, ids: Tensor) -> NDArray[np.float32]:
    """The states (B, STATE) of tokens `ids` (B,) under raw logits (B, V) of any floating type."""
    states = StepStates(logits, wanted=True)
    for rows, softmax in states.passes():
        states.add(rows, softmax, ids[rows])
    return states.finish(ids)


def token_states_there(logits: Tensor, ids: Tensor) -> Tensor:
    """The same (B, STATE), where the logits are: no GPU has to be waited for."""
    logits = logits.float()
    z = logits - logits.amax(-1, keepdim=True)
    e = z.exp()
    kept = ~torch.isneginf(z)
    z = torch.where(kept, z, 0.0)
    tokens = logits.gather(1, ids[:, None])
    sums = (e.sum(-1), torch.linalg.vecdot(e, z), torch.linalg.vecdot(e, e), z.sum(-1), kept.sum(-1))
    top = logits.topk(min(TOP, logits.shape[-1]), -1).values.flip(-1)
    top = torch.nn.functional.pad(top, (0, TOP - top.shape[-1]), value=-math.inf)
    head = torch.stack([*sums, tokens[:, 0], (logits > tokens).sum(-1)], -1)
    return torch.cat([head, top], -1)


def token_stats(logits: Tensor, ids: Tensor) -> Tensor:
    """The nine statistics (B, 9) fp32, on the CPU, of tokens `ids` (B,) under raw logits (B, V) of any floating type.

    `-inf` logits are a mask: the support takes the place of the vocabulary. Rows with NaN or +inf give NaN.
    """
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(statistics(token_states(logits, ids)))


def largest(logits: Tensor, k: int) -> NDArray[np.float32]:
    """The k (at most V) largest values of each row of logits (R, V): first the smallest of them, the others in no order."""
    k = min(k, logits.shape[-1])
    if logits.device.type != "cpu":
        values: NDArray[np.float32] = logits.topk(k, -1).values.float().cpu().numpy()[:, ::-1]
        return values
    return np.partition(logits.float().numpy(), -k, axis=-1)[:, -k:]  # five times faster than torch.topk on a CPU
