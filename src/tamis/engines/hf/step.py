"""One forward step of a model over slots."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from tamis.engines.hf.cache import SlotCache
from tamis.engines.hf.masks import layer_kinds, step_masks


class Stepper:
    """The model as a function of (cache, tokens, positions)."""

    def __init__(self, model: PreTrainedModel, device: torch.device, *, hidden: bool) -> None:
        self._model = model
        self._device = device
        self._config = model.config.get_text_config()
        self._kinds = layer_kinds(self._config)
        self.hidden = hidden
        self._options: dict[str, Any] = {"output_hidden_states": True} if hidden else {}
        self.num_layers: int = self._config.num_hidden_layers
        self.vocab_size: int = model.get_output_embeddings().weight.shape[0]

    def __call__(
        self,
        cache: SlotCache,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        offsets: NDArray[np.int64] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Feed tokens (R,) at positions (R,) of the first R slots; the model counts them as these plus offsets (R,).

        Returns:
            The raw logits (R, V), and with `hidden` the hidden states of all layers (R, L+1, d).
        """
        at = torch.from_numpy(positions).to(self._device)
        counted = at if offsets is None else at + torch.from_numpy(offsets).to(self._device)
        cache.place(at)
        out = self._model(
            input_ids=torch.from_numpy(tokens).to(self._device)[:, None],
            attention_mask=step_masks(self._config, self._kinds, at, cache.length, self._model.dtype),
            position_ids=counted[:, None],
            past_key_values=cache,
            use_cache=True,
            **self._options,
        )
        hidden = torch.stack([state[:, -1] for state in out.hidden_states], 1) if self.hidden else None
        return out.logits[:, -1], hidden
