"""Pre-norm transformer blocks with rotary positions (CroCo v2; Weinzaepfel et al., ICCV 2023).

Attribute names are those of the public checkpoints. The residual stream and the norms stay in
float32 whatever the precision of the matrices is, so a bf16 network errs in its products alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from align3r.models.rope import Rotate

NORM_EPS = 1e-6
SCORES_AT_ONCE = 2**22
"""Pairs of tokens that a head looks at together; more than a frame has."""

KeysValues = tuple[Tensor, Tensor]
"""(B, heads, N, d) keys, rotated, and values."""


class Linear(nn.Linear):
    """A linear layer that takes any float dtype and computes in its own."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return super().forward(x.to(self.weight.dtype))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, heads, N, d) queries, keys and values to (B, N, heads * d)."""
    if q.is_cpu and q.dtype is not torch.float32:
        # The fused kernel has no fast half-precision products on CPUs: written out, the products
        # take the route of all other matrices and the whole takes less than half the time.
        # Some queries at a time, so that long sequences do not take memory by their square.
        keys = k.transpose(-2, -1)
        at_once = max(SCORES_AT_ONCE // k.shape[-2], 1)
        parts = (q * q.shape[-1] ** -0.5).split(at_once, dim=-2)
        seen = torch.cat([(part @ keys).softmax(-1) @ v for part in parts], dim=-2)
    else:
        seen = scaled_dot_product_attention(q, k, v)
    return seen.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, dim) tokens and their rotation to (B, N, dim)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return self.proj(attend(rotate(q), rotate(k), v))


class CrossAttention(nn.Module):
    """Multi-head attention of one stream to the other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = Linear(dim, dim)
        self.projk = Linear(dim, dim)
        self.projv = Linear(dim, dim)
        self.proj = Linear(dim, dim)

    def keys_values(self, y: Tensor, rotate: Rotate) -> KeysValues:
        """What (B, M, dim) tokens of the other stream offer."""
        return rotate(self._split(self.projk(y))), self._split(self.projv(y))

    def forward(self, x: Tensor, other: KeysValues, rotate: Rotate) -> Tensor:
        """(B, N, dim) tokens of the own stream to (B, N, dim)."""
        return self.proj(attend(rotate(self._split(self.projq(x))), *other))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, dim: int, ratio: float, *, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = Linear(dim, int(dim * ratio))
        self.fc2 = Linear(int(dim * ratio), out or dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., out), which is dim where nothing else is said."""
        return self.fc2(gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    """Self-attention and perceptron: encoder and point-map branch."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, dim) to (B, N, dim)."""
        x = x + self.attn(self.norm1(x), rotate)
        return x + self.mlp(self.norm2(x))


class DecoderBlock(nn.Module):
    """Self-attention, attention to the other stream, perceptron.

    In two steps, because the first one and the keys and values look at one stream alone.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_y = nn.LayerNorm(dim, eps=NORM_EPS)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm3 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, mlp_ratio)

    def look_at_own(self, x: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, dim) tokens after self-attention."""
        return x + self.attn(self.norm1(x), rotate)

    def keys_values(self, y: Tensor, rotate: Rotate) -> KeysValues:
        """What the (B, M, dim) tokens of the other stream offer to this block."""
        return self.cross_attn.keys_values(self.norm_y(y), rotate)

    def forward(self, x: Tensor, other: KeysValues, rotate: Rotate) -> Tensor:
        """Tokens after `look_at_own` to the output of the block, (B, N, dim)."""
        x = x + self.cross_attn(self.norm2(x), other, rotate)
        return x + self.mlp(self.norm3(x))

    def meet(self, x: Tensor, y: Tensor, rotate: Rotate, rotate_other: Rotate) -> Tensor:
        """Both steps: (B, N, dim) tokens that look at (B, M, dim) ones of the other stream."""
        return self(self.look_at_own(x, rotate), self.keys_values(y, rotate_other), rotate)


Blocks = Iterable[DecoderBlock]
"""What `nn.ModuleList` does not say of its items."""


class PatchEmbed(nn.Module):
    """Cut an image into patches, one token each, row by row."""

    def __init__(self, patch_size: int, dim: int, *, channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch_size, stride=patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, N, dim) float32."""
        return self.proj(image.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2).float()
