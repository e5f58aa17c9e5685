"""The vision tower: patches of a picture to features, each patch seeing all others. Names are the checkpoint's."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from tamis.bagel.config import VisionShape


class VisionTower(nn.Module):
    """`vit_model`: a SigLIP without a pooling head."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.vision_model = _Body(shape)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        """Features (..., N, d) of the patches (..., N, p p 3) of pictures of one size, at places (N,) of the table."""
        return self.vision_model(patches, places)


class _Body(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.embeddings = _Embeddings(shape)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(_Layer(shape) for _ in range(shape.num_layers))})
        self.post_layernorm = nn.LayerNorm(shape.hidden, eps=shape.norm_eps)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        x = self.embeddings(patches, places)  # (N, d)
        for layer in cast("nn.ModuleList", self.encoder["layers"]):
            x = layer(x)
        return self.post_layernorm(x)


class _Embeddings(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(3 * shape.patch**2, shape.hidden)
        self.position_embedding = nn.Embedding(shape.num_places, shape.hidden)

    def forward(self, patches: Tensor, places: Tensor) -> Tensor:
        return self.patch_embedding(patches) + self.position_embedding(places)


class _Layer(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(shape.hidden, eps=shape.norm_eps)
        self.self_attn = _Attention(shape)
        self.layer_norm2 = nn.LayerNorm(shape.hidden, eps=shape.norm_eps)
        self.mlp = TanhMlp(shape.hidden, shape.intermediate, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Attention(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.q_proj = nn.Linear(shape.hidden, shape.hidden)
        self.k_proj = nn.Linear(shape.hidden, shape.hidden)
        self.v_proj = nn.Linear(shape.hidden, shape.hidden)
        self.out_proj = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._heads(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))  # (B, H, N, D)
        return self.out_proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))

    def _heads(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)
        return heads.reshape(-1, *heads.shape[-3:])


class TanhMlp(nn.Module):
    """Two linear layers around a GELU in its tanh form: the tower's own, and the connector to the language model."""

    def __init__(self, entry: int, middle: int, exit_: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(entry, middle)
        self.fc2 = nn.Linear(middle, exit_)

    def forward(self, x: Tensor) -> Tensor:
        """(N, entry) to (N, exit)."""
        return self.fc2(gelu(self.fc1(x), approximate="tanh"))
