"""Chains of embedding of what vLLM draws: the hidden states of sampled positions, read by hooks and summed as they come.

In eager mode and in this process only. A layer of vLLM's returns what it adds and what it adds it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.hf.hidden import HiddenSums, RowSums, finish
from tamis.engines.hf.text import Detokenizer
from tamis.engines.vllm.load import Loaded
from tamis.engines.vllm.worker import LISTENERS
from tamis.errors import EngineError
from tamis.records import EmbeddingChain

_ROOM = 256  # tokens a row has room for at first; doubled as needed


class LayerStates:
    """Hooks that keep, of each step, the states of all layers (R, L + 1, d) at the last position of each request.

    They are those that transformers calls `hidden_states`: the embedding, each layer's output, the last of them normalised.
    """

    def __init__(self, engine: Any) -> None:
        """Hook the layers.

        Raises:
            EngineError: The model is built of other parts.
        """
        self._runner = engine.model_executor.driver_worker.worker.model_runner
        layers, norm = _parts_of(self._runner.get_model())
        self._states: list[Tensor] = [torch.empty(0)] * (len(layers) + 1)
        self._last = torch.empty(0, dtype=torch.long)
        self._hooks = [
            layers[0].register_forward_pre_hook(self._before_first, with_kwargs=True),
            *(layer.register_forward_hook(self._after(place)) for place, layer in enumerate(layers[:-1], 1)),
            norm.register_forward_hook(self._after(len(layers))),
        ]

    def of(self, rows: Sequence[int]) -> Tensor:
        """The states (R, L + 1, d) of these rows of the step."""
        return torch.stack(self._states, 1)[list(rows)]

    def close(self) -> None:
        """Take the hooks out."""
        for hook in self._hooks:
            hook.remove()

    def _before_first(self, _: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        hidden: Tensor = kwargs["hidden_states"] if "hidden_states" in kwargs else args[1]
        ends = self._runner.query_start_loc.np[1 : self._runner.input_batch.num_reqs + 1]
        self._last = torch.from_numpy(ends.astype(np.int64) - 1).to(hidden.device)
        self._states[0] = hidden[self._last].float()

    def _after(self, place: int) -> Any:
        is_norm = place == len(self._states) - 1

        def keep(_: Any, __: Any, output: Any) -> None:
            if not isinstance(output, tuple):
                self._states[place] = output[self._last].float()
            elif is_norm:  # the normalised states, and the sum before
                self._states[place] = output[0][self._last].float()
            else:
                self._states[place] = (output[0][self._last] + output[1][self._last]).float()

        return keep


def _parts_of(model: Any) -> tuple[Any, Any]:
    """The layers of a language model, and the norm behind them."""
    text = model.get_language_model() if hasattr(model, "get_language_model") else model
    inner = getattr(text, "model", None)
    layers, norm = getattr(inner, "layers", None), getattr(inner, "norm", None)
    if not layers or norm is None:
        kind = type(model).__name__
        raise EngineError(f"the vllm engine finds no hidden states in a {kind}", "Use --engine hf for the chain of embedding")
    return layers, norm


class ChainSums:
    """The sums of all draws in vLLM's hands, by name."""

    def __init__(self, loaded: Loaded, states: LayerStates, num_draws: int) -> None:
        self._states = states
        self._ends = np.array(sorted(loaded.end_ids))
        self._text = Detokenizer(loaded.tokenizer)
        self._sums = HiddenSums(num_draws, self._text)
        self._slots: dict[str, int] = {}
        self._rows: dict[str, RowSums] = {}
        self._free = list(range(num_draws))
        self._ids = np.zeros((num_draws, _ROOM), dtype=np.int32)
        self._counts = np.zeros(num_draws, dtype=np.int64)
        LISTENERS.append(self._listen)

    def close(self) -> None:
        """Listen no more."""
        LISTENERS.remove(self._listen)

    def begin(self, name: str, stops: Sequence[str]) -> None:
        """Make room for a draw."""
        slot = self._slots[name] = self._free.pop()
        row = self._rows[name] = RowSums(max((len(stop.encode()) for stop in stops), default=0))
        self._counts[slot] = 0
        self._sums.admit(slot, row)

    def finish(self, name: str, ids: NDArray[np.int32], text: str, starts: NDArray[np.int32]) -> EmbeddingChain | None:
        """The chain of a draw of tokens ids (T,), of whose text so much is kept."""
        self._sums.take(self._slots[name])
        return finish(self._rows[name], ids, text, starts, self._text)

    def forget(self, name: str) -> None:
        """Make the room free."""
        slot = self._slots.pop(name)
        self._sums.take(slot)
        del self._rows[name]
        self._free.append(slot)

    def _listen(self, places: Sequence[tuple[str, int]], rows: Sequence[int], ids: NDArray[np.integer]) -> None:
        """Add the states of a step; a token that was there before a preemption, or ends an answer, adds nothing."""
        found = {
            self._slots[name]: number
            for number, (name, position) in enumerate(places)
            if name in self._slots and position == self._counts[self._slots[name]] and ids[number] not in self._ends
        }
        if not found:
            return
        slots = np.array(sorted(found), dtype=np.int64)
        numbers = [found[slot] for slot in slots.tolist()]
        room = self._ids.shape[1]
        if (longest := int(self._counts[slots].max()) + 1) > room:
            self._ids = np.pad(self._ids, ((0, 0), (0, max(longest, 2 * room) - room)))
        self._ids[slots, self._counts[slots]] = ids[numbers]
        self._counts[slots] += 1
        states = self._states.of([rows[number] for number in numbers])
        spread = torch.zeros(int(slots[-1]) + 1, *states.shape[1:], device=states.device)
        spread[torch.from_numpy(slots)] = states
        self._sums.add(slots, spread, self._ids)
