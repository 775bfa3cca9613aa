"""MoGe-1: points up to scale and shift, and a mask (Wang et al., CVPR 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn, zeros

from align3r.models.dinov2 import DinoV2, VitArchitecture
from align3r.models.moge.parts import (
    MogeAnswer,
    ResidualBlock,
    Size,
    as_map,
    convolution,
    doubled,
    enlarged,
    exponential_points,
    projected_sum,
    resampled,
    with_view_plane,
)

OUTPUTS = (3, 1)
"""Channels of the two outputs: points, mask."""


@dataclass(frozen=True, kw_only=True)
class Moge1Architecture:
    """Sizes of a MoGe-1."""

    encoder: VitArchitecture
    """The image encoder."""
    levels: tuple[int, ...]
    """Blocks of the encoder whose tokens are looked at."""
    projected: int
    """Channels that these are projected to."""
    widths: tuple[int, ...]
    """Channels after each doubling."""
    hidden: int
    """Hidden channels of a residual block, in its width."""
    residual_blocks: int
    """Residual blocks after each doubling."""
    last: int
    """Channels before the last convolutions."""
    tokens_range: tuple[int, int] = (1200, 2500)
    """Least and largest number of tokens that it was trained with."""


class Moge1(nn.Module):
    """The network, under the names of its public checkpoint."""

    def __init__(self, architecture: Moge1Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = DinoV2(architecture.encoder)
        self.head = Moge1Head(architecture)
        self.image_mean: Tensor
        self.image_std: Tensor
        self.register_buffer("image_mean", zeros(1, 3, 1, 1))
        self.register_buffer("image_std", zeros(1, 3, 1, 1))

    def forward(self, images: Tensor, tokens: int) -> MogeAnswer:
        """What the network says of images.

        Args:
            images: (B, 3, H, W) colours in [0, 1].
            tokens: About how many patches to look at.
        """
        height, width = images.shape[-2:]
        patch = self.architecture.encoder.patch_size
        scale = math.sqrt(tokens * patch**2 / (height * width))
        size = max(int(height * scale), patch), max(int(width * scale), patch)
        resized = (resampled(images, size, "bicubic") - self.image_mean) / self.image_std
        grid = size[0] // patch, size[1] // patch
        fed = resampled(resized, (grid[0] * patch, grid[1] * patch))
        levels = self.backbone(fed, after=self.architecture.levels)
        maps = [as_map(level.patches, grid) for level in levels]
        raw, mask = self.head(maps, size)
        points = exponential_points(enlarged(raw, (height, width)))
        return MogeAnswer(points, enlarged(mask, (height, width))[:, 0])


class Moge1Head(nn.Module):
    """From tokens of four blocks to points and mask, three doublings on the way."""

    def __init__(self, architecture: Moge1Architecture) -> None:
        super().__init__()
        a = architecture
        self.projects = nn.ModuleList(
            nn.Conv2d(a.encoder.embed_dim, a.projected, 1) for _ in a.levels
        )
        self.upsample_blocks = nn.ModuleList(
            nn.Sequential(
                doubled(before + 2, width),
                *(
                    ResidualBlock(width, a.hidden * width, normalizes=True)
                    for _ in range(a.residual_blocks)
                ),
            )
            for before, width in zip((a.projected, *a.widths), a.widths, strict=False)
        )
        self.output_block = nn.ModuleList(
            nn.Sequential(
                convolution(a.widths[-1] + 2, a.last), nn.ReLU(), nn.Conv2d(a.last, channels, 1)
            )
            for channels in OUTPUTS
        )

    def forward(self, maps: list[Tensor], size: Size) -> tuple[Tensor, Tensor]:
        """Raw points (B, 3, *size) and raw mask (B, 1, *size) from maps of tokens."""
        # Of the resized image: its sides were rounded, and the network learnt it like that.
        aspect = size[1] / size[0]
        x = projected_sum(self.projects, maps)
        for block in self.upsample_blocks:
            x = block(with_view_plane(x, aspect))
        x = with_view_plane(enlarged(x, size), aspect)
        points, mask = (block(x) for block in self.output_block)
        return points, mask
