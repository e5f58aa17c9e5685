"""How many rows go through a product of matrices together, so that none of them hangs on their number.

On a CPU kernels take rows in tiles. What is left over goes through other kernels, whose sums run in another order, and how
much that is hangs on the number of threads as well. A multiple of the tile leaves nothing over; which tile, is tried out.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn.functional import linear

_TILES = (1, 2, 4, 8, 16, 32)
_MOST = 96
_SHAPES = ((64, 96), (256, 512), (512, 256))  # inputs and outputs


def padded(num_rows: int, device: torch.device, dtype: torch.dtype) -> int:
    """The next number of rows whose results do not hang on it; on a GPU, or where there is none, the number itself."""
    tile = _tile(dtype, torch.get_num_threads()) if device.type == "cpu" else 1
    return num_rows + -num_rows % tile


@lru_cache
def _tile(dtype: torch.dtype, num_threads: int) -> int:  # noqa: ARG001 - the kernels know how many threads there are
    generator = torch.Generator().manual_seed(0)
    trials = []
    for width, num_outputs in _SHAPES:
        x, weight = (torch.randn(size, width, generator=generator).to(dtype) for size in (_MOST, num_outputs))
        trials.append((x, weight, linear(x, weight)))
    for tile in _TILES:
        sizes = range(tile, _MOST, tile)
        if all(torch.equal(linear(x[:size], weight), whole[:size]) for x, weight, whole in trials for size in sizes):
            return tile
    return 1
