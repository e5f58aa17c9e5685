"""Rows that stand for nothing make the others what they are among any number."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from tamis.bagel.padding import padded

CPU = torch.device("cpu")


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize(("width", "num_outputs"), [(48, 48), (192, 576), (896, 128)])
def test_a_row_does_not_hang_on_how_many_there_are(num_threads: int, width: int, num_outputs: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        generator = torch.Generator().manual_seed(1)
        x, weight = torch.randn(80, width, generator=generator), torch.randn(num_outputs, width, generator=generator)
        whole = linear(x, weight)
        for num_rows in range(1, 41):
            with_others = x[: padded(num_rows, CPU, torch.float32)]
            assert torch.equal(linear(with_others, weight)[:num_rows], whole[:num_rows])
    finally:
        torch.set_num_threads(before)


def test_few_rows_are_added_and_elsewhere_none() -> None:
    assert all(0 <= padded(number, CPU, torch.float32) - number < 32 for number in range(100))
    assert padded(5, torch.device("cuda"), torch.bfloat16) == 5
