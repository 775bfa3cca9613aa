"""Rotary position embedding in two dimensions (RoPE; Su et al., 2021; rows, columns as CroCo)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Rotate = Callable[[Tensor], Tensor]
"""What is done to (..., N, d) queries and keys: a `Rotation`, a coarser one, or nothing."""


@dataclass(frozen=True)
class Rotation:
    """Cosines and signed sines of N tokens, always float32: in bf16 an angle errs by 0.06 rad."""

    cos: Tensor
    """(N, d)."""
    sin: Tensor
    """(N, d), negative for the first channel of each rotated pair."""

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate the channels of (..., N, d) queries or keys; computed in float32."""
        quarter = x.shape[-1] // 4
        partner = x.unflatten(-1, (2, 2 * quarter)).roll(quarter, -1).flatten(-2)
        return (x * self.cos + partner * self.sin).to(x.dtype)


def unrotated(x: Tensor) -> Tensor:
    """Queries or keys of tokens that have no place."""
    return x


def in_half(rotate: Rotate) -> Rotate:
    """The rotation as GPU kernels for float16 do it: what goes in and what comes out is rounded."""
    return lambda x: rotate(x.half()).to(x.dtype)


def grid_positions(grid: tuple[int, int], device: torch.device) -> Tensor:
    """(h * w, 2) row and column of each token, row by row."""
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], device=device), torch.arange(grid[1], device=device), indexing="ij"
    )
    return torch.stack([rows, columns], -1).flatten(0, 1)


def rotation(positions: Tensor, head_dim: int, base: float) -> Rotation:
    """The rotation of tokens at (N, 2) rows and columns.

    Channels of one head are four runs [uY | vY | uX | vX] of head_dim / 4: the first half turns
    with the row, the second with the column, by the angle position * base^(-k / (head_dim / 4)).
    """
    quarter = head_dim // 4
    exponent = torch.arange(quarter, device=positions.device, dtype=torch.float32) / quarter
    angles = positions.float()[:, :, None] * base**-exponent
    cos, sin = angles.cos(), angles.sin()
    return Rotation(
        cos=torch.stack([cos, cos], 2).flatten(1),
        sin=torch.stack([-sin, sin], 2).flatten(1),
    )
