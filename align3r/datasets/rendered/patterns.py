"""Paint with a pattern: tiles and bricks, facades, roads, sky, and other paint face by face."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from align3r.datasets.rendered.noise import hashed, octaves
from align3r.datasets.rendered.paints import Colour, Paint, Place, mottled

Axes = tuple[int, int]
"""Which of x, y and z runs along a row, and which counts the rows."""


def by_face(half: Place, faces: Mapping[str, Paint]) -> Paint:
    """Other paint on other faces of a box: `x`, `z`, `up` and `down`, or `rest`."""

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        axis = np.abs(points / np.array(half)).argmax(-1)
        vertical = axis == 1
        where = {
            "x": axis == 0,
            "z": axis == 2,
            "up": vertical & (points[:, 1] <= 0),
            "down": vertical & (points[:, 1] > 0),
        }
        out = np.zeros_like(points)
        for name, rows in where.items():
            material = faces.get(name) or faces["rest"]
            out[rows] = material(points[rows], pixel_m[rows])
        return out

    return paint


def tiles(
    base: Paint,
    joint: Colour,
    *,
    axes: Axes,
    cell: tuple[float, float],
    seed: int,
    joint_m: float = 0.008,
    shift: float = 0.0,
    vary: float = 0.2,
) -> Paint:
    """Tiles, bricks, planks, cartons: a base that is lighter or darker cell by cell, with joints.

    Args:
        base: Colour before that.
        joint: Colour between the cells.
        axes: Along the row, across the rows.
        cell: Length and height of a cell, metres.
        seed: Which cells are light.
        joint_m: Width of a joint, metres; joints finer than a pixel fade away.
        shift: By how much of a cell each row is moved on.
        vary: How much lighter or darker a cell may be.
    """

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        row = np.floor(points[:, axes[1]] / cell[1])
        along = points[:, axes[0]] / cell[0] + shift * row
        column = np.floor(along)
        across = points[:, axes[1]] / cell[1] - row
        key = np.stack([column, row, np.zeros_like(row)], -1)
        level = 1 + vary * (2 * hashed(key, seed) - 1)
        edge = np.minimum(
            cell[0] * np.minimum(along - column, 1 - along + column),
            cell[1] * np.minimum(across, 1 - across),
        )
        hidden = (edge < joint_m / 2) * np.clip(2 * joint_m / pixel_m, 0.0, 1.0)
        colour = base(points, pixel_m) * level[:, None]
        return colour + hidden[:, None] * (np.array(joint) - colour)

    return paint


def facade(wall: Paint, *, axis: int, storey: float, bay: float, seed: int) -> Paint:
    """A house front: windows with light frames, some with curtains, in a wall.

    Args:
        wall: Paint between the windows.
        axis: Along the front, 0 or 2.
        storey: Height of a floor, metres.
        bay: From window to window, metres.
        seed: Which windows are dark.
    """

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        u, v = points[:, axis] / bay, points[:, 1] / storey
        column, row = np.floor(u), np.floor(v)
        x, y = np.abs(u - column - 0.5), np.abs(v - row - 0.5)
        key = np.stack([column, row, np.zeros_like(row)], -1)
        dark = 0.12 + 0.30 * hashed(key, seed)
        glass = dark[:, None] * np.array([0.85, 1.0, 1.2])
        curtain = (hashed(key, seed + 1) > 0.6) & (y > 0.02) & (x > 0.08)
        glass = np.where(curtain[:, None], np.array([0.70, 0.66, 0.58]), glass)
        glass = np.where(((x < 0.012) | (y < 0.012))[:, None], 0.85, glass)
        colour = wall(points, pixel_m)
        colour = np.where(((x < 0.27) & (y < 0.36))[:, None], 0.86, colour)
        colour = np.where(((x < 0.235) & (y < 0.325))[:, None], glass, colour)
        ledge = (v - row > 0.955)[:, None]
        return np.where(ledge, colour * 0.72, colour)

    return paint


def road(*, half_width: float, seed: int) -> Paint:
    """Asphalt along z with lines at its sides and dashes in the middle, pavement beside it."""
    asphalt = mottled((0.20, 0.20, 0.21), (0.44, 0.43, 0.42), seed=seed, coarse=0.9)
    stones = tiles(
        mottled((0.50, 0.48, 0.45), (0.70, 0.68, 0.64), seed=seed + 1, coarse=0.5),
        (0.32, 0.31, 0.29),
        axes=(0, 2),
        cell=(0.8, 0.8),
        seed=seed + 2,
        joint_m=0.03,
    )

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        x, z = np.abs(points[:, 0]), points[:, 2]
        side = np.abs(x - half_width + 0.35) < 0.06
        dash = (x < 0.07) & (np.mod(z, 4.0) < 2.2)
        colour = np.where((side | dash)[:, None], 0.86, asphalt(points, pixel_m))
        out = np.where((x > half_width)[:, None], stones(points, pixel_m), colour)
        return np.where((np.abs(x - half_width) < 0.09)[:, None], 0.56, out)

    return paint


def sky(*, seed: int) -> Paint:
    """Clouds in a sky that is lighter towards the horizon."""

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        way = points / np.linalg.norm(points, axis=-1, keepdims=True)
        up = np.clip(-way[:, 1:2], 0.0, 1.0)
        blue = np.array([0.80, 0.87, 0.93]) * (1 - up) + np.array([0.30, 0.50, 0.80]) * up
        # Clouds lie in a layer: seen flat near the horizon, without end.
        layer = np.stack([way[:, 0], way[:, 2], np.zeros(len(way))], -1) / (up + 0.15)
        cloud = octaves(layer, np.full(len(way), 0.004), seed=seed, coarse=1.1, count=5)
        mix = np.clip(0.45 + 0.75 * cloud, 0.0, 1.0)[:, None]
        return np.asarray(blue * (1 - mix) + np.array([0.97, 0.97, 0.97]) * mix)

    return paint
