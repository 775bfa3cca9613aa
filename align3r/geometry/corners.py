"""Where an image can be found again: corners, each on one surface."""

from __future__ import annotations

import cv2
import numpy as np

from align3r.geometry.patches import WINDOW

_ONE_SURFACE = 1.1
"""Depths around a corner are within this ratio: between two surfaces it would slide on both."""
_QUALITY = 0.005
"""Least strength of a corner, as a share of that of the strongest."""


def find_corners(
    grey: np.ndarray,
    depth: np.ndarray,
    *,
    allowed: np.ndarray,
    taken: np.ndarray,
    radius: float,
) -> np.ndarray:
    """Corners of an image (Shi and Tomasi, CVPR 1994), away from its border and from each other.

    Args:
        grey: (H, W) uint8.
        depth: (H, W) float32 z-depth; nan where unknown.
        allowed: (H, W) bool.
        taken: (T, 2) pixels (u, v) that need no corner any more.
        radius: Least distance from what is taken and from each other, in pixels.

    Returns:
        (M, 2) float64 pixels (u, v), whole numbers, the strongest first.
    """
    border = WINDOW // 2
    free = np.zeros(grey.shape, np.uint8)
    inner = (slice(border, -border),) * 2
    free[inner] = (allowed & _on_one_surface(depth))[inner]
    for u, v in np.rint(taken).astype(int).tolist():
        cv2.circle(free, (u, v), round(radius), 0, thickness=-1)
    if not free.any():
        return np.zeros((0, 2))
    found = cv2.goodFeaturesToTrack(
        grey, 0, qualityLevel=_QUALITY, minDistance=radius, mask=free, blockSize=5
    )
    return np.zeros((0, 2)) if found is None else found.reshape(-1, 2).astype(np.float64)


def _on_one_surface(depth: np.ndarray) -> np.ndarray:
    """(H, W) bool: all depths around are known and near each other."""
    known = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)
    around = np.ones((WINDOW // 2, WINDOW // 2), np.uint8)
    low, high = cv2.erode(known, around), cv2.dilate(known, around)
    return np.asarray((low > 0) & (high <= _ONE_SURFACE * low))
