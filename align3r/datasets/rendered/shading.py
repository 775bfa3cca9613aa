"""Colours of what rays meet: paint under one lamp and much ambient light, smoothed where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align3r.datasets.rendered.raycast import (
    Seen,
    Solid,
    corners_of,
    hit,
    normal,
    pixel_centres,
    rays_through,
    trace,
)

_BOUNCED = 0.4
"""Of the darkness of faces turned away from a lamp that casts shadows: other faces light them."""


@dataclass(frozen=True)
class Light:
    """A lamp far away, and what comes from everywhere."""

    towards: tuple[float, float, float] = (-0.45, -0.80, -0.40)
    """Direction to the lamp, of any length."""
    ambient: float = 0.68
    direct: float = 0.32
    shadows: bool = False
    """Whether solids stand in the light of others; rooms never do."""

    @property
    def direction(self) -> np.ndarray:
        """(3,) unit vector to the lamp."""
        return np.asarray(self.towards) / float(np.linalg.norm(self.towards))


LAMP = Light()


def cast(
    solids: Sequence[Solid],
    world_from_cam: np.ndarray,
    k: np.ndarray,
    *,
    size: tuple[int, int],
    t: float,
    light: Light = LAMP,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One ray through every pixel centre.

    Args:
        solids: The scene; something must be hit everywhere.
        world_from_cam: 4x4 pose.
        k: 3x3 intrinsics, pixels.
        size: (width, height), pixels.
        t: Time, seconds.
        light: What lights it.

    Returns:
        colour (h, w, 3) in [0, 1], z-depth (h, w) in metres, moving (h, w) bool.
    """
    w, h = size
    seen = trace(solids, world_from_cam, rays_through(pixel_centres(size), k), t=t)
    colour = shade(solids, seen, t=t, pixel=1 / k[0, 0], light=light)
    return colour.reshape(h, w, 3), seen.depth.reshape(h, w), moves(solids, seen).reshape(h, w)


def moves(solids: Sequence[Solid], seen: Seen) -> np.ndarray:
    """(M,) bool: whether the solid that is seen changes its pose with time."""
    return np.take([solid.moves for solid in solids], seen.which)


def smoothed(
    solids: Sequence[Solid],
    world_from_cam: np.ndarray,
    k: np.ndarray,
    *,
    size: tuple[int, int],
    t: float,
    rays: int = 2,
    contrast: float = 0.0,
    light: Light = LAMP,
) -> np.ndarray:
    """(h, w, 3) colour in [0, 1], the mean of several rays a pixel.

    Args:
        solids: The scene; something must be hit everywhere.
        world_from_cam: 4x4 pose.
        k: 3x3 intrinsics, pixels.
        size: (width, height), pixels.
        t: Time, seconds.
        rays: Rays a pixel and side.
        contrast: Pixels that differ by less than this from their neighbours are content with the
            ray through their centre.
        light: What lights it.
    """
    w, h = size
    pixels, busy = pixel_centres(size), np.arange(w * h)
    colour = np.zeros((w * h, 3))
    if contrast > 0 or rays == 1:
        colour = cast(solids, world_from_cam, k, size=size, t=t, light=light)[0].reshape(-1, 3)
        busy = np.flatnonzero(_contrast(colour.reshape(h, w, 3)) >= contrast)
    if rays > 1 and len(busy):
        steps = (np.arange(rays) + 0.5) / rays - 0.5
        offsets = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
        fine = (pixels[busy, None] + offsets).reshape(-1, 2)
        seen = trace(solids, world_from_cam, rays_through(fine, k), t=t)
        parts = shade(solids, seen, t=t, pixel=1 / (k[0, 0] * rays), light=light)
        colour[busy] = parts.reshape(len(busy), rays * rays, 3).mean(1)
    return colour.reshape(h, w, 3)


def shade(
    solids: Sequence[Solid], seen: Seen, *, t: float, pixel: float, light: Light = LAMP
) -> np.ndarray:
    """(M, 3) colour in [0, 1] of what is seen.

    Args:
        solids: The scene.
        seen: Points of it.
        t: Time, seconds.
        pixel: Size of a pixel one metre away, metres.
        light: What lights it.
    """
    colour, facing = np.zeros_like(seen.world), np.zeros(len(seen.world))
    for number in np.unique(seen.which):
        solid, rows = solids[number], np.flatnonzero(seen.which == number)
        pose = solid.world_from_solid(t)
        local = (seen.world[rows] - pose[:3, 3]) @ pose[:3, :3]
        colour[rows] = solid.paint(local, seen.depth[rows] * pixel)
        facing[rows] = (normal(solid, local) @ pose[:3, :3].T) @ light.direction
    if light.shadows:
        facing[facing < 0] *= _BOUNCED
        facing[in_shadow(solids, seen, np.flatnonzero(facing > 0), light.direction, t=t)] = 0.0
    shines = np.take([solid.is_sky for solid in solids], seen.which)
    level = np.where(shines, 1.0, light.ambient + light.direct * facing)
    return np.asarray(np.clip(colour * level[:, None], 0.0, 1.0))


def in_shadow(
    solids: Sequence[Solid], seen: Seen, rows: np.ndarray, towards: np.ndarray, *, t: float
) -> np.ndarray:
    """Which of the points in some rows have another solid, that is no room, before the lamp."""
    frame = _frame_along(towards)
    points, which = seen.world[rows], seen.which[rows]
    placed = np.ascontiguousarray((points @ frame).T)
    dark = np.zeros(len(rows), dtype=bool)
    for number, solid in enumerate(solids):
        if solid.kind == "room":
            continue
        pose = solid.world_from_solid(t)
        corners = corners_of(solid, pose) @ frame
        low, high = corners.min(0), corners.max(0)
        near = np.flatnonzero((placed[0] > low[0]) & (placed[0] < high[0]))
        across, along = placed[1, near], placed[2, near]
        near = near[(across > low[1]) & (across < high[1]) & (along < high[2])]
        near = near[~dark[near] & (which[near] != number)]
        if len(near):
            origin = (points[near] - pose[:3, 3]) @ pose[:3, :3]
            rays = np.broadcast_to(towards @ pose[:3, :3], origin.shape)
            dark[near] = np.isfinite(hit(solid, origin, rays))
    return np.asarray(rows[dark])


def _frame_along(way: np.ndarray) -> np.ndarray:
    """(3, 3) whose last column is a unit vector, the others at right angles to it."""
    side = np.cross(way, [0.0, 0.0, 1.0] if abs(way[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(way, side), way], -1)


def _contrast(image: np.ndarray) -> np.ndarray:
    """(h * w,) largest difference of a channel between a pixel and its four neighbours."""
    out = np.zeros(image.shape[:2])
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis)).max(-1)
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(0, -1), slice(1, None)
        np.maximum(out[tuple(first)], step, out=out[tuple(first)])
        np.maximum(out[tuple(second)], step, out=out[tuple(second)])
    return out.ravel()
