"""What the heads of both versions of MoGe are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from align3r.models.view_plane import view_plane

Size = tuple[int, int]
"""Rows and columns."""

GROUP = 32
"""Channels that are normalised together inside a residual block."""


@dataclass(frozen=True)
class MogeAnswer:
    """What a network says of B images of H rows and W columns."""

    points: Tensor
    """(B, H, W, 3) in the camera's axes, up to one scale and one shift along z an image."""
    mask: Tensor
    """(B, H, W): above 0.5 where the points mean something, so not in the sky."""
    normal: Tensor | None = None
    """(B, H, W, 3) unit normals of the surfaces, if the network has a head for them."""
    metric_scale: Tensor | None = None
    """(B,) metres a unit of the points once they are shifted, if the network tells."""


class MogeArchitecture(Protocol):
    """What both versions have in common, of their sizes."""

    @property
    def tokens_range(self) -> tuple[int, int]:
        """Least and largest number of tokens that the network was trained with."""


class Moge(Protocol):
    """A network of either version."""

    @property
    def architecture(self) -> MogeArchitecture:
        """Its sizes."""

    def __call__(self, images: Tensor, tokens: int) -> MogeAnswer:
        """What it says of (B, 3, H, W) images in [0, 1], looking at about so many patches."""


def with_view_plane(x: Tensor, aspect: float) -> Tensor:
    """(B, C, h, w) to (B, C + 2, h, w): every pixel also knows where it is."""
    plane = view_plane((x.shape[2], x.shape[3]), aspect, like=x).permute(2, 0, 1)
    return torch.cat([x, plane.expand(len(x), -1, -1, -1)], 1)


def as_map(tokens: Tensor, grid: Size) -> Tensor:
    """(B, h * w, E) tokens, row by row, to (B, E, h, w)."""
    return tokens.unflatten(1, grid).permute(0, 3, 1, 2)


def projected_sum(projections: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, E, h, w), each through a convolution of its own, summed."""
    total, *others = (project(m) for project, m in zip(projections, maps, strict=True))
    for other in others:
        total = total + other
    return total


def resampled(images: Tensor, size: Size, mode: str = "bilinear") -> Tensor:
    """(B, C, H, W) images at another size, antialiased."""
    return interpolate(images, size=size, mode=mode, align_corners=False, antialias=True)


def enlarged(x: Tensor, size: Size) -> Tensor:
    """(B, C, h, w) maps at another size, bilinear."""
    return interpolate(x, size=size, mode="bilinear", align_corners=False)


def exponential_points(raw: Tensor) -> Tensor:
    """(B, 3, H, W) raw outputs to (B, H, W, 3) points: depth is exp(z), and x and y go with it."""
    x, y, log_z = raw.unbind(1)
    z = log_z.exp()
    return torch.stack([x * z, y * z, z], -1)


def convolution(dim_in: int, dim_out: int) -> nn.Conv2d:
    """3x3; beyond its border an image goes on as it ends."""
    return nn.Conv2d(dim_in, dim_out, 3, padding=1, padding_mode="replicate")


def doubled(dim_in: int, dim_out: int, *, learns: bool = True) -> nn.Sequential:
    """Twice the rows and columns, by learnt weights or bilinear; then a convolution."""
    if learns:
        up: nn.Module = nn.ConvTranspose2d(dim_in, dim_out, 2, stride=2)
        return nn.Sequential(up, convolution(dim_out, dim_out))
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(up, convolution(dim_in, dim_out))


class ResidualBlock(nn.Module):
    """Two convolutions that add to what they are given."""

    def __init__(self, dim: int, hidden: int, *, normalizes: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(1, dim) if normalizes else nn.Identity(),
            nn.ReLU(),
            convolution(dim, hidden),
            nn.GroupNorm(max(hidden // GROUP, 1), hidden) if normalizes else nn.Identity(),
            nn.ReLU(),
            convolution(hidden, dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, dim, h, w)."""
        return x + self.layers(x)
