"""The camera that explains a point map known up to scale and shift: its focal length and the shift.

Two conditions decide: points lie on the rays of a pinhole camera in the middle of the image, with
square pixels, and all points are moved along z by the same distance (Wang et al., CVPR 2025).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

CELLS = 64
"""Rows and columns of the points that are looked at."""
_LEAST_POINTS = 2
# How exact the published numbers are, and no more: the valley is flat along the shift.
_TOLERANCE = 1e-3


class FocalAndShift(NamedTuple):
    """What makes a point map a perspective view."""

    focal: float
    """Focal length, by half of the image's diagonal."""
    shift: float
    """To be added to all z."""


_NO_CAMERA = FocalAndShift(math.nan, math.nan)


def focal_and_shift(
    points: np.ndarray, mask: np.ndarray, *, focal: float | None = None
) -> FocalAndShift:
    """Focal length and shift that bring points nearest to the rays of their pixels.

    The best focal length for a shift has a closed form; the shift is found by Levenberg-Marquardt.

    Args:
        points: (H, W, 3), up to scale and a shift of z.
        mask: (H, W) bool, the points to look at.
        focal: Focal length by half of the diagonal, where it is known.

    Returns:
        nan where fewer than two of the points looked at are valid. A negative focal length means
        that only a mirrored view would explain them.
    """
    height, width = mask.shape
    rows, columns = (np.arange(CELLS) * n // CELLS for n in (height, width))
    seen = np.ix_(rows, columns)
    # Far behind the least number there is, a depth is 0 and says nothing.
    kept = mask[seen] & np.isfinite(points[seen]).all(-1) & (points[seen][..., 2] > 0)
    if np.count_nonzero(kept) < _LEAST_POINTS:
        return _NO_CAMERA
    xyz = np.asarray(points[seen][kept], np.float64)
    diagonal = math.hypot(height, width)
    x, y = ((2 * np.arange(n) + 1 - n) / diagonal for n in (width, height))
    plane = np.stack(np.meshgrid(x[columns], y[rows]), -1)[kept]

    def rays(shift: float) -> np.ndarray:
        return np.asarray(xyz[:, :2] / (xyz[:, 2] + shift)[:, None])

    def best_focal(q: np.ndarray) -> float:
        return float((q * plane).sum() / (q * q).sum()) if focal is None else focal

    def misses(unknown: np.ndarray) -> np.ndarray:
        q = rays(float(unknown[0]))
        return np.asarray((best_focal(q) * q - plane).ravel())

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shift = float(least_squares(misses, 0.0, method="lm", ftol=_TOLERANCE).x[0])
        found = FocalAndShift(best_focal(rays(shift)), shift)
    return found if math.isfinite(found.focal) else _NO_CAMERA


def intrinsics_of(focal: float, size: tuple[int, int]) -> np.ndarray:
    """(3, 3) intrinsics by the width and height of the image, its middle at 0.5.

    Args:
        focal: Focal length, by half of the diagonal.
        size: Height and width of the image.
    """
    half = math.hypot(*size) / 2
    fx, fy = focal * half / size[1], focal * half / size[0]
    return np.array([[fx, 0, 0.5], [0, fy, 0.5], [0, 0, 1]])


def focal_of(fov_x_deg: float, size: tuple[int, int]) -> float:
    """The focal length by half of the diagonal, of a horizontal field of view."""
    return size[1] / math.tan(math.radians(fov_x_deg) / 2) / math.hypot(*size)
