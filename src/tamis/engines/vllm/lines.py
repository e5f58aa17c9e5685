"""The states of `token_stats` where no sampler shares the pass over the logits: fewer operations a row, on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.token_stats import BLOCK, ROWWISE_VOCABULARY, StepStates, token_states


def line_states(logits: Tensor, ids: Tensor) -> NDArray[np.float32]:
    """`token_states` (B, STATE) of tokens `ids` (B,) under raw logits (B, V) on a CPU, equal but for the last bits."""
    return _LineStates(logits, wanted=True).of(ids) if logits.shape[-1] > ROWWISE_VOCABULARY else token_states(logits, ids)


class _LineStates(StepStates):
    def of(self, ids: Tensor) -> NDArray[np.float32]:
        vocab_size = self._logits.shape[-1]
        body = vocab_size - vocab_size % BLOCK
        z, e = torch.empty(2, vocab_size)
        sums = torch.from_numpy(self._sums)
        for row, (logits, token) in enumerate(zip(self._logits, ids.tolist(), strict=True)):
            line, maxima = logits.float(), torch.from_numpy(self._maxima[row])
            torch.amax(line[:body].view(-1, BLOCK), -1, out=maxima)
            top = maxima.amax() if body == vocab_size else torch.maximum(maxima.amax(), line[body:].amax())
            torch.sub(line, top, out=z)
            torch.exp(z, out=e)
            s1, s2, s3, total = sums[row].unbind()
            torch.sum(e, 0, out=s1)
            torch.dot(e, z, out=s2)
            torch.dot(e, e, out=s3)
            torch.sum(z, 0, out=total)
            self._above[row] = self._num_above_in_line(row, line.numpy(), token)
        return self.finish(ids)
