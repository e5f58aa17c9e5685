"""Attention masks of one decoding step over slots, for each kind of layer a model has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tamis.errors import EngineError

KINDS = {"full_attention": None, "sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}


def layer_kinds(config: Any) -> dict[str, int | None]:
    """The kinds of attention layers of a model and their window: {"full_attention": None, "sliding_attention": 4096}.

    Raises:
        EngineError: The model has layers with a recurrent state, which no cache of positions can hold.
    """
    names = getattr(config, "layer_types", None)
    if names is None:
        window = getattr(config, "sliding_window", None)
        return {"sliding_attention": int(window)} if window else {"full_attention": None}
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise EngineError(
            f"the hf engine cannot decode layers of kind: {', '.join(unknown)} (model type {config.model_type})",
            "Use a model whose layers are all attention",
        )
    windows = {name: KINDS[name] for name in names}
    return {name: getattr(config, field) if field else None for name, field in windows.items()}


def step_masks(config: Any, kinds: dict[str, int | None], positions: Tensor, length: int, dtype: torch.dtype) -> Any:
    """What the tokens at `positions` (B,) may attend to among `length` columns: 0 or the dtype's minimum, (B, 1, 1, length).

    One tensor, or one a kind by name for models that mix kinds, as their `forward` takes them. Models with ALiBi count
    positions from a plain mask (B, length) of ones and zeros.
    """
    columns = torch.arange(length, device=positions.device)
    past = columns <= positions[:, None]
    if config.model_type == "bloom" or getattr(config, "alibi", False):
        return past.long()
    return layer_masks(config, kinds, past[:, None], positions[:, None], columns[None], dtype)


def layer_masks(
    config: Any, kinds: dict[str, int | None], allowed: Tensor, queries: Tensor, keys: Tensor, dtype: torch.dtype
) -> Any:
    """What each kind of layer adds to what is `allowed` (B, Q, K) of queries and keys at positions (B, Q) and (B or 1, K).

    0 or the dtype's minimum, (B, 1, Q, K): one tensor, or one a kind by name for models that mix kinds.
    """
    masks = {}
    for kind, window in kinds.items():
        seen = allowed
        if kind == "sliding_attention" and window is not None:
            seen = allowed & (keys[:, None] > queries[..., None] - window)
        elif kind == "chunked_attention" and window is not None:
            seen = allowed & (keys[:, None] // window == queries[..., None] // window)
        masks[kind] = torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]
    return masks if getattr(config, "layer_types", None) is not None else next(iter(masks.values()))
