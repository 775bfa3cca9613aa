"""A small ray caster in numpy: boxes and ellipsoids with noise textures, exact depth and masks.

OpenCV camera axes (x right, y down, z forward); the centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""paint(points (M, 3) in the solid's own frame; size (M,) of a pixel there, metres) -> (M, 3)."""

LIGHT = np.array([-0.45, -0.80, -0.40]) / np.linalg.norm([-0.45, -0.80, -0.40])


@dataclass(frozen=True)
class Solid:
    """A box (or room: a box seen from inside) or an ellipsoid."""

    kind: str
    """`box`, `room` or `ellipsoid`."""
    half: tuple[float, float, float]
    """Half extents, metres."""
    paint: Paint
    """Colour of a point of its surface."""
    world_from_solid: Callable[[float], np.ndarray] = field(default=lambda _t: np.eye(4))
    """4x4 pose at a time in seconds."""
    moves: bool = False
    """Whether the pose changes with time."""


def box_depth(origin: np.ndarray, rays: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, ...]:
    """Ray parameters where rays enter and leave a box; enter > leave for a miss."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-half - origin) / rays, (half - origin) / rays
    return np.nanmax(np.minimum(a, b), axis=-1), np.nanmin(np.maximum(a, b), axis=-1)


def hit(solid: Solid, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(M,) smallest positive ray parameter, inf for a miss; everything in the solid's frame."""
    half = np.asarray(solid.half)
    if solid.kind == "ellipsoid":
        o, d = origin / half, rays / half
        a, b, c = (d * d).sum(-1), d @ o, float(o @ o) - 1.0
        inside = b * b - a * c
        near = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
        return np.where((inside > 0) & (near > 1e-3), near, np.inf)
    enter, leave = box_depth(origin, rays, half)
    if solid.kind == "room":
        return np.where(leave > 1e-3, leave, np.inf)
    return np.where((enter < leave) & (enter > 1e-3), enter, np.inf)


def normal(solid: Solid, points: np.ndarray) -> np.ndarray:
    """(M, 3) unit normals in the solid's frame, towards the side that is seen."""
    half = np.asarray(solid.half)
    if solid.kind == "ellipsoid":
        n = points / half**2
        return n / np.linalg.norm(n, axis=-1, keepdims=True)
    face = np.abs(points / half).argmax(-1)
    n = np.zeros_like(points)
    rows = np.arange(len(points))
    n[rows, face] = np.sign(points[rows, face])
    return -n if solid.kind == "room" else n


def cast(
    solids: list[Solid],
    world_from_cam: np.ndarray,
    k: np.ndarray,
    *,
    size: tuple[int, int],
    t: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One ray through every pixel centre.

    Args:
        solids: The scene; something must be hit everywhere.
        world_from_cam: 4x4 pose.
        k: 3x3 intrinsics, pixels.
        size: (width, height), pixels.
        t: Time, seconds.

    Returns:
        colour (h, w, 3) in [0, 1], z-depth (h, w) in metres, moving (h, w) bool.
    """
    w, h = size
    v, u = np.mgrid[:h, :w].astype(float)
    # Rays have z = 1 in the camera, so the ray parameter of a hit is its z-depth.
    rays_cam = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], -1)
    rays = rays_cam.reshape(-1, 3) @ world_from_cam[:3, :3].T
    depth = np.full(len(rays), np.inf)
    which = np.zeros(len(rays), dtype=int)
    for number, solid in enumerate(solids):
        pose = solid.world_from_solid(t)
        origin = pose[:3, :3].T @ (world_from_cam[:3, 3] - pose[:3, 3])
        s = hit(solid, origin, rays @ pose[:3, :3])
        closer = s < depth
        depth[closer], which[closer] = s[closer], number
    assert np.isfinite(depth).all(), "a ray escaped the room"
    world = world_from_cam[:3, 3] + rays * depth[:, None]
    colour = np.zeros_like(world)
    for number in np.unique(which):
        seen = which == number
        pixel_m = depth[seen] / k[0, 0]
        colour[seen] = shade(solids[number], world[seen], t=t, pixel_m=pixel_m)
    moves = np.array([solid.moves for solid in solids])
    return colour.reshape(h, w, 3), depth.reshape(h, w), moves[which].reshape(h, w)


def shade(solid: Solid, world: np.ndarray, *, t: float, pixel_m: np.ndarray) -> np.ndarray:
    """(M, 3) colour in [0, 1] of world points on a solid, under one lamp and much ambient light."""
    pose = solid.world_from_solid(t)
    local = (world - pose[:3, 3]) @ pose[:3, :3]
    facing = (normal(solid, local) @ pose[:3, :3].T) @ LIGHT
    return np.clip(solid.paint(local, pixel_m) * (0.68 + 0.32 * facing)[:, None], 0.0, 1.0)


def hashed(cells: np.ndarray, seed: int) -> np.ndarray:
    """Reproducible uniform numbers in [0, 1) for integer lattice cells (..., 3)."""
    x = cells.astype(np.int64).view(np.uint64)
    with np.errstate(over="ignore"):
        y = x[..., 0] * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed + 1)
        y = (y ^ (y >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        y = (y + x[..., 1]) * np.uint64(0x94D049BB133111EB)
        y = (y ^ (y >> np.uint64(31))) * np.uint64(0xD6E8FEB86659FD93)
        y = (y + x[..., 2]) * np.uint64(0xA5A3564E27F8862D)
        y = (y ^ (y >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return (y >> np.uint64(40)).astype(float) / float(1 << 24)


def value_noise(points: np.ndarray, seed: int) -> np.ndarray:
    """(M,) smooth noise in [-1, 1] with cells of size 1."""
    base = np.floor(points)
    f = points - base
    f = f * f * (3.0 - 2.0 * f)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner) == 1, f, 1.0 - f).prod(-1)
        total += weight * hashed(base + np.array(corner), seed)
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
        if sharp.any():
            # An odd shift of the lattice keeps the cells of the octaves from lining up.
            shifted = points / cell + 17.31 * (level + 1)
            total += sharp * 0.72**level * value_noise(shifted, seed * 31 + level)
    return total
