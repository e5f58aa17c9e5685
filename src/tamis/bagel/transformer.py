"""The mixture of transformers: one attention over everything, two sets of weights around it. Names are the checkpoint's.

Tokens that are latents of a picture to be drawn, or drawn, go through the weights called `_moe_gen`; texts, what the vision
tower saw, and the marks around every picture go through the plain ones. A forward pass takes the plain rows first and the
latent rows behind them, so that each set of weights meets one stretch of memory; `split` says where the second begins.
What attends to what is not decided here: `Attend` is given queries, keys and values of a layer and knows the contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from tamis.bagel.config import LanguageShape
from tamis.bagel.positions import rotary, rotate


class Attend(Protocol):
    """How the rows of a forward pass see their contexts and each other."""

    split: int  # plain rows, which come first

    @property
    def positions(self) -> Tensor:
        """Rotary positions of all rows (M,)."""
        ...

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Cache keys and values (M, KV heads, D); what queries (M, H, D) see, of the same shape."""
        ...


class LanguageModel(nn.Module):
    """`language_model`."""

    def __init__(self, shape: LanguageShape) -> None:
        super().__init__()
        self.model = Transformer(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocab_size, bias=False)


class Transformer(nn.Module):
    """`language_model.model`."""

    def __init__(self, shape: LanguageShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.num_layers))
        self.norm = Norm(shape.hidden, shape.norm_eps)
        self.norm_moe_gen = Norm(shape.hidden, shape.norm_eps)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """Rows (M, d), plain ones first, through all layers and the last norm."""
        turn = rotary(attend.positions, self.shape.head_dim, self.shape.rope_theta)
        for index, layer in enumerate(self.layers):
            x = layer(index, x, turn, attend)
        return routed(x, attend.split, self.norm, self.norm_moe_gen)


class Norm(nn.Module):
    """Root mean square norm; the kernel computes in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., d)."""
        return rms_norm(x, self.weight.shape, self.weight, self.eps)


class _Layer(nn.Module):
    def __init__(self, shape: LanguageShape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden, shape.norm_eps)
        self.input_layernorm_moe_gen = Norm(shape.hidden, shape.norm_eps)
        self.self_attn = _Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden, shape.norm_eps)
        self.post_attention_layernorm_moe_gen = Norm(shape.hidden, shape.norm_eps)
        self.mlp = _Mlp(shape)
        self.mlp_moe_gen = _Mlp(shape)

    def forward(self, index: int, x: Tensor, turn: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        y = routed(x, attend.split, self.input_layernorm, self.input_layernorm_moe_gen)
        x = x + self.self_attn(index, y, turn, attend)
        y = routed(x, attend.split, self.post_attention_layernorm, self.post_attention_layernorm_moe_gen)
        return x + routed(y, attend.split, self.mlp, self.mlp_moe_gen)


class _Attention(nn.Module):
    def __init__(self, shape: LanguageShape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        width, kv_width = shape.hidden, shape.num_kv_heads * shape.head_dim
        self._both: dict[str, tuple[nn.Module, nn.Module]] = {}  # name -> plain, latent
        self._add("q_proj", lambda: nn.Linear(width, width))
        self._add("k_proj", lambda: nn.Linear(width, kv_width))
        self._add("v_proj", lambda: nn.Linear(width, kv_width))
        self._add("o_proj", lambda: nn.Linear(width, width, bias=False))
        self._add("q_norm", lambda: Norm(shape.head_dim, shape.norm_eps))
        self._add("k_norm", lambda: Norm(shape.head_dim, shape.norm_eps))

    def _add(self, name: str, make: Callable[[], nn.Module]) -> None:
        self._both[name] = make(), make()
        for kind, module in zip(("", "_moe_gen"), self._both[name], strict=True):
            self.add_module(name + kind, module)

    def forward(self, index: int, x: Tensor, turn: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        def both(name: str, x: Tensor) -> Tensor:
            return routed(x, attend.split, *self._both[name])

        q, k, v = (both(name, x).unflatten(-1, (-1, self.head_dim)) for name in ("q_proj", "k_proj", "v_proj"))  # (M, H, D)
        q, k = rotate(both("q_norm", q), turn), rotate(both("k_norm", k), turn)
        return both("o_proj", attend(index, q, k, v).flatten(1))


class _Mlp(nn.Module):
    def __init__(self, shape: LanguageShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


def routed(x: Tensor, split: int, plain: nn.Module, latent: nn.Module) -> Tensor:
    """Rows (M, ...) through two modules: those before `split` through the first, the others through the second."""
    if split == len(x):
        return plain(x)
    return torch.cat([plain(x[:split]), latent(x[split:])])
