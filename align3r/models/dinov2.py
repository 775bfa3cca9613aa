"""DINOv2, an image encoder (Oquab et al., TMLR 2024; registers: Darcet et al., ICLR 2024).

Attribute names are those of the public checkpoints. MoGe and VGGT hold one each; they differ in the
registers and in how the position embedding is fitted to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from align3r.models.rope import Rotate, unrotated
from align3r.models.transformer import NORM_EPS, Mlp, PatchEmbed, SelfAttention, attend

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalized(images: Tensor) -> Tensor:
    """(..., 3, H, W) colours in [0, 1] as the encoder takes them, by ImageNet's mean and spread."""
    mean, deviation = (images.new_tensor(c)[:, None, None] for c in (_IMAGENET_MEAN, _IMAGENET_STD))
    return (images - mean) / deviation


@dataclass(frozen=True, kw_only=True)
class VitArchitecture:
    """Sizes of a DINOv2; the defaults are those of ViT-Large."""

    patch_size: int = 14
    """Side of a patch, in pixels."""
    embed_dim: int = 1024
    """Width E of the tokens."""
    depth: int = 24
    """Number of blocks."""
    num_heads: int = 16
    """Attention heads of a block."""
    mlp_ratio: float = 4.0
    """Hidden width of the multilayer perceptrons, in block widths."""
    image_size: int = 518
    """Side of the square image that the position embedding was trained on, in pixels."""
    registers: int = 0
    """Tokens that stand for nothing in the image."""
    resampling: Literal["size", "scale"] = "size"
    """How the position embedding is fitted to a grid, bicubic either way.

    `size`: antialiased, so that corners meet corners (VGGT). `scale`: by the factor
    (n + 0.1) / side without antialiasing, which shifts it a little (DINOv2's own, MoGe).
    """

    @property
    def side(self) -> int:
        """Rows and columns of the trained position embedding."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class VitTokens:
    """What an encoder says of B images after one of its blocks, normalised."""

    patches: Tensor
    """(B, h * w, E), row by row."""
    summary: Tensor
    """(B, E), the class token."""


class DinoV2(nn.Module):
    """A vision transformer with class token, optional registers and layer scale."""

    def __init__(self, architecture: VitArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        width = a.embed_dim
        self.patch_embed = PatchEmbed(a.patch_size, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + a.side**2, width))
        if a.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, a.registers, width))
        # Stood for hidden patches while it was trained. Checkpoints have it, nothing asks for it.
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.blocks = nn.ModuleList(
            ScaledBlock(width, a.num_heads, a.mlp_ratio) for _ in range(a.depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, images: Tensor, after: Sequence[int] = (-1,)) -> list[VitTokens]:
        """The tokens of images after some of the blocks.

        Args:
            images: (B, 3, H, W), see `normalized`; H and W are multiples of the patch size.
            after: Numbers of the blocks, ascending; -1 is the last one.

        Raises:
            ValueError: A size that is no multiple of the patch size.
        """
        a = self.architecture
        height, width = images.shape[-2:]
        if height % a.patch_size or width % a.patch_size:
            raise ValueError(f"an image of {width}x{height} has no whole patches of {a.patch_size}")
        x = self._enter(images, (height // a.patch_size, width // a.patch_size))
        wanted = [k % a.depth for k in after]
        found = []
        for k, block in enumerate(self.blocks):
            x = block(x, unrotated)
            if k in wanted:
                normed = self.norm(x)
                found.append(VitTokens(normed[:, 1 + a.registers :], normed[:, 0]))
        return found

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """(1, h * w, E) position embeddings of a grid of h rows and w columns of patches."""
        side, trained = self.architecture.side, self.pos_embed[:, 1:].float()
        if grid == (side, side):
            return trained
        square = trained.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        if self.architecture.resampling == "size":
            fitted = interpolate(square, size=grid, mode="bicubic", antialias=True)
        else:
            factors = [(n + 0.1) / side for n in grid]
            fitted = interpolate(square, scale_factor=factors, mode="bicubic")
        return fitted.flatten(2).transpose(1, 2)

    def _enter(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1 + registers + h * w, E): class token, registers, patches."""
        batch = len(images)
        parts = [(self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)]
        if self.architecture.registers:
            parts.append(self.register_tokens.expand(batch, -1, -1))
        parts.append(self.patch_embed(images) + self.positions(grid))
        return torch.cat(parts, 1)


class ScaledBlock(nn.Module):
    """Self-attention and perceptron; what each adds is scaled (CaiT; Touvron et al., ICCV 2021)."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float,
        *,
        eps: float = NORM_EPS,
        normalizes_queries: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = (
            NormedAttention(dim, heads, eps) if normalizes_queries else SelfAttention(dim, heads)
        )
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, dim) tokens and their rotation to (B, N, dim)."""
        x = x + self.ls1(self.attn(self.norm1(x), rotate))
        return x + self.ls2(self.mlp(self.norm2(x)))


class LayerScale(nn.Module):
    """One factor a channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        return x * self.gamma


class NormedAttention(SelfAttention):
    """Self-attention with queries and keys normalised in each head (Henry et al., EMNLP 2020)."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__(dim, heads)
        self.q_norm = nn.LayerNorm(dim // heads, eps=eps)
        self.k_norm = nn.LayerNorm(dim // heads, eps=eps)

    def forward(self, x: Tensor, rotate: Rotate) -> Tensor:
        """(B, N, dim) tokens and their rotation to (B, N, dim)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = (rotate(norm(y.float())) for norm, y in ((self.q_norm, q), (self.k_norm, k)))
        return self.proj(attend(q.to(v.dtype), k.to(v.dtype), v))
