"""Running sums against what they stand for: split the whole text, look up each token's step, take plain means."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.engines.chains import chain_row
from tamis.engines.hf.hidden import HiddenSums, RowSums, _chain_rows, finish
from tamis.engines.hf.step_sums import StepSums
from tamis.records import EmbeddingChain
from tamis.steps import split_steps, step_ids

PIECES = (
    *(
        "\n",
        "\n\n",
        "\r\n",
        "\r\n\r\n",
        " ",
        "\t",
        "\u3000",
        "",
        "a",
        "ab",
        "abc",
        "x = 3.14\n",
        "so it is.\n\n",
        "好",
        "因此答案是\n",
    ),
    *(
        "Step 1",
        "\nStep 2: go",
        "## Step 3\n",
        "**Step 4**",
        " step 5",
        "Step",
        "Steps 6",
        "1",
        "###### Step 7\r\n",
        "第一步：\n",
    ),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30)


@st.composite
def tokens(draw: st.DrawFn) -> list[str]:
    """The tokens of a text: cut anywhere, some of them empty (as special tokens are)."""
    text = "".join(draw(TEXTS))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=40)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def starts_of(pieces: list[str]) -> np.ndarray:
    """(T,) the first character of each token."""
    return (np.cumsum([0, *map(len, pieces)])[:-1]).astype(np.int32)


class Pieces:
    """A detokenizer whose token i is the i-th piece."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces

    def text_between(self, ids: np.ndarray, begin: int, end: int) -> str:
        return "".join(self.pieces[i] for i in ids[begin:end])

    def end_lines(self, ids: np.ndarray) -> np.ndarray:
        return np.array(["\n" in self.pieces[i] for i in ids], dtype=bool)


@settings(max_examples=400)
@given(tokens())
def test_sums_line_by_line_are_those_of_the_steps_of_the_whole_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    states = torch.randn(len(pieces), 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(len(text)))
    sums = StepSums()
    line: list[int] = []
    for i, piece in enumerate(pieces):
        line.append(i)
        if "\n" in piece or i == len(pieces) - 1:
            sums.add("".join(pieces[j] for j in line), states[line].sum(0), len(line))
            line = []
    steps = sums.finish()
    of_token = step_ids(starts_of(pieces), split_steps(text))
    assert len(steps) == len(split_steps(text))
    assert sums.num_characters == len(text)
    torch.testing.assert_close(sums.whole.total, states.sum(0))
    for number, step in enumerate(steps):
        inside = of_token == number
        assert step.num_tokens == inside.sum()
        if step.num_tokens:
            torch.testing.assert_close(step.total, states[torch.from_numpy(inside)].sum(0))


@settings(max_examples=200)
@given(st.lists(st.tuples(tokens(), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=3), st.randoms())
def test_rows_that_move_and_have_tokens_taken_back_keep_their_sums(rows, random) -> None:
    """Rows of one batch: (tokens, of how many the states are held, how many are taken back in the end)."""
    batch = len(rows) + 1
    pieces = [piece for row, *_ in rows for piece in row]
    detokenizer = Pieces(pieces)
    ids, first = np.zeros((batch, 64), np.int32), 0
    hidden = HiddenSums(batch, detokenizer)
    rng = np.random.default_rng(len(pieces))
    seated: dict[int, tuple[RowSums, np.ndarray, np.ndarray, int]] = {}  # by slot
    for slot, (row, delay, back) in enumerate(rows):
        states = rng.normal(size=(len(row), 3, 4))
        seated[slot] = (RowSums(delay), np.arange(first, first + len(row), dtype=np.int32), states, min(back, delay))
        ids[slot, : len(row)] = seated[slot][1]
        hidden.admit(slot, seated[slot][0])
        first += len(row)
    at = 0
    while seated:
        for slot, (sums, own, states, back) in list(seated.items()):
            if at == len(own):
                hidden.take(slot)
                del seated[slot]
                kept = [pieces[i] for i in own][: max(0, len(own) - back)]
                text = "".join(kept)
                if kept and back < sums.delay:  # a stop string may begin inside of the last token: one more that is held
                    text = text[: len(text) - random.randrange(max(1, len(kept[-1])))]
                check(sums, own, text, starts_of(kept), states[: len(kept)], detokenizer)
        if seated and random.random() < 0.2:  # a row moves to the free slot
            slot = random.choice(sorted(seated))
            (free,) = random.sample(sorted(set(range(batch)) - set(seated)), 1)
            hidden.take(slot)
            seated[free] = seated.pop(slot)
            ids[free] = ids[slot]
            hidden.admit(free, seated[free][0])
        if seated:
            slots = np.array(sorted(seated))
            step = np.full((batch, 3, 4), np.nan)
            for slot in slots:
                step[slot] = seated[slot][2][at]
            hidden.add(slots, torch.from_numpy(step), ids)
        at += 1


def check(sums: RowSums, ids: np.ndarray, text: str, starts: np.ndarray, states: np.ndarray, detokenizer: Pieces) -> None:
    chain = finish(sums, ids, text, starts, detokenizer)
    if not len(starts):
        assert chain is None
        return
    spans = split_steps(text)
    of_token = step_ids(starts, spans)
    inside = [np.ones(len(starts), bool), *(of_token == number for number in range(len(spans)))]
    expected = [chain_row(states[i].mean(0)) if i.any() else np.full(6, np.nan) for i in inside]
    np.testing.assert_allclose(chain.values, np.stack(expected), rtol=1e-5, atol=1e-6)


def chain_of(pieces: list[str], text: str, num_kept: int, delay: int = 0) -> EmbeddingChain | None:
    """The chain of a row of these tokens whose text comes out as `text`, of which `num_kept` tokens are kept."""
    detokenizer = Pieces(pieces)
    hidden, sums, ids = HiddenSums(1, detokenizer), RowSums(delay), np.arange(len(pieces), dtype=np.int32)
    hidden.admit(0, sums)
    for _ in pieces:
        hidden.add(np.array([0]), torch.randn(1, 3, 4), ids[None])
    hidden.take(0)
    return finish(sums, ids, text, np.minimum(starts_of(pieces)[:num_kept], len(text)), detokenizer)


def test_what_cannot_be_known_is_not_a_number() -> None:
    pieces = ["first\n", "second", "\n", "third"]
    assert np.isfinite(chain_of(pieces, "first\nsecond\nthird", 4).values).all()
    other = chain_of(pieces, "first second\nthird", 4).values  # the text of all is not the tokens' texts, one by one
    assert np.isfinite(other[0]).all()
    assert other.shape == (3, 6)
    assert np.isnan(other[1:]).all()
    assert np.isnan(chain_of(pieces, "first\n", 1, delay=2).values).all()  # three are taken back, two were held
    assert np.isfinite(chain_of(pieces, "first\nsecond", 2, delay=2).values).all()


def test_a_gpu_and_a_host_reduce_alike() -> None:
    means = torch.randn(4, 6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    means[1, 2] = 0.0  # no angle
    means[2, 1:] = means[2, :1]  # no way
    rows = chain_row(means.numpy())
    assert np.isnan(rows[1]).sum() == 2
    np.testing.assert_allclose(_chain_rows(list(means)).numpy(), rows, rtol=1e-12, atol=1e-7)  # an angle of 0 is rounding alone
