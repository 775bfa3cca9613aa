"""Noise that is the same on every machine: the stuff textures are made of."""

from __future__ import annotations

import numpy as np

_ODD = [
    np.uint64(number)
    for number in (
        0x9E3779B97F4A7C15,
        0xBF58476D1CE4E5B9,
        0x94D049BB133111EB,
        0xD6E8FEB86659FD93,
        0xA5A3564E27F8862D,
    )
]
_TOP_BITS, _UNIT = np.uint64(40), float(1 << 24)


def hashed(cells: np.ndarray, seed: int) -> np.ndarray:
    """Reproducible uniform numbers in [0, 1) for integer lattice cells (..., 3)."""
    x = cells.astype(np.int64).view(np.uint64)
    return _number(_add_y(_add_x(x[..., 0], seed), x[..., 1]), x[..., 2])


def value_noise(points: np.ndarray, seed: int) -> np.ndarray:
    """(M,) smooth noise in [-1, 1] with cells of size 1, at points (M, 3)."""
    columns = np.ascontiguousarray(points.T)
    base = np.floor(columns)
    f = columns - base
    f = f * f * (3.0 - 2.0 * f)
    weight = np.stack([1.0 - f, f])
    cell = base.astype(np.int64).view(np.uint64)
    total = np.zeros(len(points))
    # Corners that share a coordinate share its part of the hash.
    for dx in (0, 1):
        mixed_x = _add_x(cell[0] + np.uint64(dx), seed)
        for dy in (0, 1):
            mixed_y = _add_y(mixed_x, cell[1] + np.uint64(dy))
            weight_xy = weight[dx, 0] * weight[dy, 1]
            for dz in (0, 1):
                number = _number(mixed_y, cell[2] + np.uint64(dz))
                total += weight_xy * weight[dz, 2] * number
    return 2.0 * total - 1.0


def octaves(
    points: np.ndarray, pixel_m: np.ndarray, *, seed: int, coarse: float, count: int = 7
) -> np.ndarray:
    """(M,) multi-octave noise of about unit size; octaves finer than a pixel fade away.

    Args:
        points: (M, 3) metres.
        pixel_m: (M,) size of a pixel on the surface, metres.
        seed: Which noise.
        coarse: Cell of the coarsest octave, metres; each next is a bit less than half of it.
        count: Number of octaves.
    """
    total = np.zeros(len(points))
    for level in range(count):
        cell = coarse * 0.47**level
        sharp = np.clip(cell / pixel_m - 1.0, 0.0, 1.0)
        seen = np.flatnonzero(sharp)
        if len(seen):
            # An odd shift of the lattice keeps the cells of the octaves from lining up.
            shifted = points[seen] / cell + 17.31 * (level + 1)
            total[seen] += sharp[seen] * 0.72**level * value_noise(shifted, seed * 31 + level)
    return total


def _add_x(x: np.ndarray, seed: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        y = x * _ODD[0] + np.uint64(seed + 1)
        return np.asarray((y ^ (y >> np.uint64(29))) * _ODD[1])


def _add_y(mixed: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        out = (mixed + y) * _ODD[2]
        return np.asarray((out ^ (out >> np.uint64(31))) * _ODD[3])


def _number(mixed: np.ndarray, z: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        out = (mixed + z) * _ODD[4]
        out = (out ^ (out >> np.uint64(32))) * _ODD[3]
    return np.asarray((out >> _TOP_BITS).astype(float) / _UNIT)
