"""Whole texts under a model: rows of tokens after a shared prefix, in chunks that memory holds.

Rows are padded on the right, longest first, so that few positions are padding. The body of the model runs over all positions of
a chunk, its head over a few at a time: logits of every position at once would be gigabytes with a vocabulary of 150,000.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast

from tamis.engines.device import is_out_of_memory
from tamis.engines.hf.cache import Prefix, SharedCache, prefill
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.masks import layer_kinds, layer_masks
from tamis.engines.hf.probe import difference, tolerance
from tamis.errors import EngineError

CPU_TOKENS, GPU_TOKENS = 512, 16_384  # a chunk, padding included; more makes a CPU slower
CPU_LOGITS, GPU_LOGITS = 1 << 24, 1 << 27  # numbers held at a time
PAST_COST = 0.25  # a position of the prefix costs each row keys and values, one of its own all the rest too
TRUNK, PADDING = 0, -1

T = TypeVar("T")

OUT_OF_MEMORY = "out of memory with this sample alone in the batch"
NOT_NUMBERS = "the model gave logits that are not numbers (NaN or infinite)"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Tokens to be read after a prefix.

    A row without a layout is one text. With one it is a tree: each token has a position, a branch (0 is the trunk), and the
    position at which its branch leaves the trunk; it sees its own branch, and of the trunk and the prefix what lies before.
    """

    ids: NDArray[np.int64]  # (Q,), Q >= 1
    layout: NDArray[np.int64] | None = None  # (3, Q): position, branch, fork; all rows of a pass have one, or none has


class Body:
    """The body of a model as a function of rows; `token_limit` shrinks when memory runs out."""

    def __init__(self, loaded: Loaded, *, hidden: bool = False, max_rows: int = sys.maxsize) -> None:
        self.model = loaded.model
        self.device = loaded.device
        self._config = loaded.model.config.get_text_config()
        self._kinds = layer_kinds(self._config)
        self._options: dict[str, Any] = {"output_hidden_states": True} if hidden else {}
        self.token_limit = GPU_TOKENS if loaded.device.type == "cuda" else CPU_TOKENS
        self._max_rows = max_rows

    def prefix(self, ids: list[int], after: Prefix | None = None, beside: Mapping[str, Tensor] | None = None) -> Prefix | None:
        """The keys and values of a prompt, alone or after another text (see `prefill`); None when memory does not hold them."""
        try:
            return prefill(self.model, ids, self.device, after, beside)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def cache(self, prefix: Prefix) -> SharedCache:
        """What `states` wants of a prefix."""
        return SharedCache(prefix, self._config.num_hidden_layers)

    def states(self, cache: SharedCache, rows: Sequence[Row]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Read rows after the prefix of a cache.

        Returns:
            The states that the head takes, (B, Q, d), with garbage where a row is shorter; and with `hidden` the L + 1 hidden
            states of the same size.
        """
        width = max(len(row.ids) for row in rows)
        ids = np.empty((len(rows), width), dtype=np.int64)
        layout = np.zeros((len(rows), 3, width), dtype=np.int64)
        layout[:, 1] = PADDING
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = row.ids
            ids[i, len(row.ids) :] = row.ids[-1]  # some models warn of a padding token
            if row.layout is not None:
                layout[i, :, : len(row.ids)] = row.layout
        options = self._options
        if rows[0].layout is not None:
            options = options | self._tree_options(torch.from_numpy(layout).to(self.device), cache.get_seq_length())
        elif cache.offset:
            first = cache.get_seq_length() + cache.offset
            options = options | {"position_ids": torch.arange(first, first + width, device=self.device).expand(len(rows), -1)}
        tokens = torch.from_numpy(ids).to(self.device)
        out = self.model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True, **options)
        return out.last_hidden_state, out.hidden_states or ()

    def in_chunks(
        self, cache: Cache, rows: Sequence[Row], work: Callable[[list[int]], Sequence[T]]
    ) -> Iterator[tuple[int, T | None]]:
        """The rows' numbers, each with what `work` makes of the row in a chunk; None when memory cannot hold it alone."""
        past = int(cache.get_seq_length() * PAST_COST)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i].ids))
        while order:
            width = len(rows[order[0]].ids) + past
            chunk = order[: max(1, min(self._max_rows, self.token_limit // width))]
            results: Sequence[T | None] | None = None
            try:
                results = work(chunk)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if results is None:  # here, and not above, where the error still holds what ran out
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                if len(chunk) > 1:
                    self.token_limit = width * (len(chunk) // 2)
                    continue
                results = [None]
            yield from zip(chunk, results, strict=True)
            del order[: len(chunk)]

    def _tree_options(self, layout: Tensor, past: int) -> dict[str, Tensor]:
        """Positions and masks of trees (B, 3, Q) after a prefix of `past` positions, which belongs to the trunk."""
        position, branch, fork = layout.unbind(1)
        columns = torch.arange(past, device=layout.device).expand(len(layout), -1)
        keys = torch.cat((columns, position), 1)[:, None]
        branches = torch.cat((torch.full_like(columns, TRUNK), branch), 1)[:, None]
        of_trunk = (branches == TRUNK) & (keys < fork[..., None])
        allowed = (keys <= position[..., None]) & ((branches == branch[..., None]) | of_trunk)
        masks = layer_masks(self._config, self._kinds, allowed, position, keys[:, 0], self.model.dtype)
        return {"position_ids": position, "attention_mask": masks}


class Forward(Body):
    """A model with its head as a function of rows.

    Raises:
        EngineError: The model's code is not made of a body and a head, as those of transformers are.
    """

    def __init__(self, loaded: Loaded, *, hidden: bool = False) -> None:
        super().__init__(loaded, hidden=hidden)
        self.vocab_size: int = loaded.model.get_output_embeddings().weight.shape[0]
        self._head = _head(loaded.model)
        self._logit_rows = max(1, (GPU_LOGITS if loaded.device.type == "cuda" else CPU_LOGITS) // self.vocab_size)
        self._check()

    def logits(self, states: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The raw logits of states (M, d), a few rows at a time: (which, (R, V))."""
        for start in range(0, len(states), self._logit_rows):
            part = slice(start, min(start + self._logit_rows, len(states)))
            yield part, self._head(input_ids=None, inputs_embeds=states[None, part]).logits[0]

    def _check(self) -> None:
        ids = np.arange(3, 8) % self.vocab_size
        kind = self.model.config.model_type
        try:
            expected = self.model(input_ids=torch.from_numpy(ids[None]).to(self.device)).logits[0]
            states, _ = self.states(self.cache(Prefix(0, (), ())), [Row(ids)])
            (_, got), *_ = self.logits(states[0])
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise EngineError(f"the hf engine cannot read texts with a model of type {kind}: {error}") from error
        if not difference(got, expected) <= tolerance(self.model.dtype):
            raise EngineError(f"the hf engine cannot read texts with a model of type {kind}: its head is not all of its own")


class _Output(BaseModelOutputWithPast):  # type: ignore[misc]
    """What a body gives; what some models' bodies give besides is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _Body(torch.nn.Module):
    """In the place of a model's body: hands on what it is given."""

    def forward(self, input_ids: None = None, *_: Any, inputs_embeds: Tensor, **__: Any) -> _Output:  # noqa: ARG002
        return _Output(last_hidden_state=inputs_embeds)


def _head(model: PreTrainedModel) -> PreTrainedModel:
    """A model without its body: `_head(model)(inputs_embeds=states)` gives what the model's own code makes of states.

    That may be more than a matrix: some scale their logits or cap them.
    """
    head = copy.copy(model)  # shallow: the weights are shared, the table of its parts is not
    head._modules = {**model._modules, model.base_model_prefix: _Body()}
    return head
