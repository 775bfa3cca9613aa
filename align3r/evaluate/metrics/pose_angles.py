"""Angles of rotations and between directions, without loss near 0 and 180 degrees."""

from __future__ import annotations

import numpy as np


def angles_of_rotations(rotation: np.ndarray) -> np.ndarray:
    """(...) radians in [0, pi] of (..., 3, 3) rotations."""
    r = np.asarray(rotation, dtype=np.float64)
    axis = np.stack(
        [
            r[..., 2, 1] - r[..., 1, 2],
            r[..., 0, 2] - r[..., 2, 0],
            r[..., 1, 0] - r[..., 0, 1],
        ],
        axis=-1,
    )
    # atan2 keeps small angles that arccos of the trace would round away.
    trace = np.trace(r, axis1=-2, axis2=-1)
    return np.asarray(np.arctan2(np.linalg.norm(axis, axis=-1), trace - 1.0))


def angles_between(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(...) radians in [0, pi] between (..., 3) vectors; 0 if one of them has no length."""
    cross = np.linalg.norm(np.cross(one, two), axis=-1)
    return np.asarray(np.arctan2(cross, (np.asarray(one) * two).sum(axis=-1)))
