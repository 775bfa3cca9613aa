"""MoGe's mask-aware nearest resize: which pixel stands for each cell of a coarse grid."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Cells(NamedTuple):
    """The pixel of each cell of a grid."""

    known: np.ndarray
    """(h, w) bool: the cell has a valid pixel."""
    row: np.ndarray
    """(h, w) rows of pixels; any where not known."""
    column: np.ndarray
    """(h, w) columns of pixels; any where not known."""

    def of(self, image: np.ndarray) -> np.ndarray:
        """(n, ...) values of an (H, W, ...) image at the pixels of the known cells."""
        return np.asarray(image[self.row[self.known], self.column[self.known]])


def nearest_in_cells(mask: np.ndarray, size: tuple[int, int] = (64, 64)) -> Cells:
    """For each cell the valid pixel nearest to its centre, among those about the cell.

    Args:
        mask: (H, W) bool, valid pixels.
        size: (height, width) of the grid.
    """
    extent = np.array(mask.shape, dtype=np.float64)
    cell = np.maximum(1.0, extent / size)
    reach = [math.ceil(c) for c in cell]
    centre = [(np.arange(n) + 0.5) * e / n for n, e in zip(size, extent, strict=True)]
    corner = [np.round(c - side / 2).astype(np.int64) for c, side in zip(centre, cell, strict=True)]
    best = np.full(size, np.inf)
    row, column = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for down in range(reach[0]):
        r = corner[0] + down
        for right in range(reach[1]):
            c = corner[1] + right
            inside = ((r >= 0) & (r < mask.shape[0]))[:, None] & ((c >= 0) & (c < mask.shape[1]))
            rows, columns = np.broadcast_arrays(
                np.clip(r, 0, mask.shape[0] - 1)[:, None], np.clip(c, 0, mask.shape[1] - 1)
            )
            away = np.hypot((r + 0.5 - centre[0])[:, None], c + 0.5 - centre[1])
            better = inside & mask[rows, columns] & (away < best)
            best = np.where(better, away, best)
            row, column = np.where(better, rows, row), np.where(better, columns, column)
    return Cells(np.isfinite(best), row, column)
