"""What the depth of a view may be: a prior times the exponential of a field.

Free at every pixel the field is the depth map itself (prior one) or the scale map of the paper's
supplement, which are one problem with two starts. As a smooth spline it is a handful of numbers a
view: edges and small detail are the prior's, and only its slow errors are mended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from align3r.optim.sampling import Grid

EDGE_RATIO = 1.1
"""Farthest over nearest prior depth nearby, from which a pixel is at an edge of the scene."""
EDGE_WIDTH = 1 / 128
"""Half width of what counts as nearby, as a share of the image's long side."""


@dataclass(frozen=True)
class Surface:
    """The depths that a solve can choose from, at the pixels that take part."""

    prior: Tensor
    """(N, P) > 0; ones where the depth is free."""
    basis: Tensor | None = None
    """(P, G) spline functions at the pixels; None: the field has a value for each pixel."""

    def depth(self, field: Tensor) -> Tensor:
        """(N, P) depth of a field (N, P), or of spline coefficients (N, G)."""
        log_scale = field if self.basis is None else field @ self.basis.mT
        return self.prior * log_scale.exp()

    def field(self, depth: Tensor) -> Tensor:
        """The field of depths (N, P) > 0; with a spline, the nearest by least squares."""
        log_scale = (depth / self.prior).log()
        if self.basis is None:
            return log_scale
        # The ridge decides where no pixel does, and moves nothing else.
        square = self.basis.mT @ self.basis
        square += 1e-6 * square.diagonal().mean() * torch.eye(len(square)).to(square)
        fitted: Tensor = torch.linalg.solve(square, self.basis.mT @ log_scale.mT)
        return fitted.mT

    @property
    def shape(self) -> tuple[int, int]:
        """Of the field."""
        n_frames, pixels = self.prior.shape
        return n_frames, pixels if self.basis is None else self.basis.shape[1]

    def to(self, dtype: torch.dtype) -> Surface:
        """The same in another precision."""
        return Surface(self.prior.to(dtype), None if self.basis is None else self.basis.to(dtype))

    def part(self, frames: Tensor) -> Surface:
        """Of some frames only."""
        return replace(self, prior=self.prior[frames])

    def row(self, view: int) -> Surface:
        """Of one view."""
        return replace(self, prior=self.prior[view : view + 1])


def _free(prior: Tensor, grid: Grid, cells: int) -> Surface:
    return Surface(torch.ones_like(prior))


def _scale_map(prior: Tensor, grid: Grid, cells: int) -> Surface:
    return Surface(prior)


def _scale_grid(prior: Tensor, grid: Grid, cells: int) -> Surface:
    column, row = grid.pixels().T
    rows, columns = spline_axes(grid.size, cells)
    both = rows[row.astype(int)][:, :, None] * columns[column.astype(int)][:, None]
    return Surface(prior, torch.from_numpy(both.reshape(len(row), -1)).to(prior))


SURFACES: dict[str, Callable[[Tensor, Grid, int], Surface]] = {
    "depth": _free,
    "scale": _scale_map,
    "scale-grid": _scale_grid,
}
"""The parametrisations, from prior depth (N, P), the pixels, and cells along the long side."""


def spline_axes(size: tuple[int, int], cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Cubic B-splines over the rows and over the columns of an image.

    Args:
        size: (height, width).
        cells: Along the long side; the short side has cells of about the same shape.

    Returns:
        (height, a + 3) and (width, b + 3) float64, for a times b cells.
    """
    count = [max(1, round(cells * side / max(size))) for side in size]
    return _splines(size[0], count[0]), _splines(size[1], count[1])


def _splines(pixels: int, cells: int) -> np.ndarray:
    """(pixels, cells + 3) uniform cubic B-splines at pixel centres; every row sums to one."""
    place = (np.arange(pixels) + 0.5) * cells / pixels
    first = np.floor(place).astype(int)
    t = place - first
    pieces = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    rows = np.zeros((pixels, cells + 3))
    for offset, piece in enumerate(pieces):
        rows[np.arange(pixels), first + offset] = piece / 6
    return rows


def spline_depth(coefficients: np.ndarray, prior: np.ndarray, cells: int) -> np.ndarray:
    """(h, w) float32 prior depth of one view times the exponential of its spline (G,)."""
    rows, columns = spline_axes((prior.shape[0], prior.shape[1]), cells)
    field = rows @ coefficients.reshape(rows.shape[1], columns.shape[1]) @ columns.T
    return np.asarray(prior * np.exp(field), np.float32)


def away_from_edges(prior: np.ndarray) -> np.ndarray:
    """(N, h, w) bool: the prior depth (N, h, w) has no step nearby.

    Predictions bleed over the edges of the scene and a sharp prior does not: there they differ
    for a reason that no smooth field can tell, and cameras and focal length would give way (2.5 %
    of the focal length where a twelfth of all pixels is near an edge).
    """
    side = 2 * max(1, round(EDGE_WIDTH * max(prior.shape[1:]))) + 1
    window = np.ones((side, side), np.uint8)
    steps = [cv2.dilate(one, window) < EDGE_RATIO * cv2.erode(one, window) for one in prior]
    return np.stack(steps)
