"""A small ray caster in numpy: boxes and ellipsoids with painted surfaces, exact to the last bit.

OpenCV camera axes (x right, y down, z forward); the centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from align3r.datasets.rendered.paints import Paint

_NEAR_M = 1e-3
_SIGNS = np.array(list(np.ndindex(2, 2, 2))) * 2.0 - 1.0


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
    is_sky: bool = False
    """Whether it stands for what is too far away for a depth, and shines by itself."""


@dataclass(frozen=True)
class Seen:
    """What rays meet; M rays."""

    depth: np.ndarray
    """(M,) z-depth in the camera, metres."""
    which: np.ndarray
    """(M,) number of the solid."""
    world: np.ndarray
    """(M, 3) the points, metres."""


def rays_through(pixels: np.ndarray, k: np.ndarray) -> np.ndarray:
    """(M, 3) rays with z = 1 in the camera through pixels (M, 2): a ray's parameter is z-depth."""
    u, v = pixels[:, 0], pixels[:, 1]
    return np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], -1)


def pixel_centres(size: tuple[int, int]) -> np.ndarray:
    """(h * w, 2) x and y of all pixels, row by row."""
    v, u = np.mgrid[: size[1], : size[0]].astype(float)
    return np.stack([u, v], -1).reshape(-1, 2)


def trace(
    solids: Sequence[Solid], world_from_cam: np.ndarray, rays_cam: np.ndarray, *, t: float
) -> Seen:
    """The nearest surface along each ray.

    Args:
        solids: The scene; something must be hit everywhere.
        world_from_cam: 4x4 pose.
        rays_cam: (M, 3), z = 1, in the camera.
        t: Time, seconds.
    """
    rays = rays_cam @ world_from_cam[:3, :3].T
    depth = np.full(len(rays), np.inf)
    which = np.zeros(len(rays), dtype=int)
    for number, solid in enumerate(solids):
        pose = solid.world_from_solid(t)
        chosen = _may_meet(solid, np.linalg.inv(world_from_cam) @ pose, rays_cam)
        if chosen is not None and not len(chosen):
            continue
        some = slice(None) if chosen is None else chosen
        origin = pose[:3, :3].T @ (world_from_cam[:3, 3] - pose[:3, 3])
        s = hit(solid, origin, rays[some] @ pose[:3, :3])
        closer = s < depth[some]
        met = np.flatnonzero(closer) if chosen is None else chosen[closer]
        depth[met], which[met] = s[closer], number
    assert np.isfinite(depth).all(), "a ray escaped the room"
    return Seen(depth, which, world_from_cam[:3, 3] + rays * depth[:, None])


def hit(solid: Solid, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(M,) smallest positive ray parameter, inf for a miss; everything in the solid's frame.

    Args:
        solid: What to meet.
        origin: (3,) or (M, 3) where the rays start.
        rays: (M, 3).
    """
    half = np.asarray(solid.half)
    if solid.kind == "ellipsoid":
        o, d = origin / half, rays / half
        a, b, c = (d * d).sum(-1), _dot(d, o), (o * o).sum(-1) - 1.0
        inside = b * b - a * c
        near = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
        return np.where((inside > 0) & (near > _NEAR_M), near, np.inf)
    enter, leave = box_depth(origin, rays, half)
    if solid.kind == "room":
        return np.where(leave > _NEAR_M, leave, np.inf)
    return np.where((enter < leave) & (enter > _NEAR_M), enter, np.inf)


def box_depth(
    origin: np.ndarray, rays: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ray parameters where rays enter and leave a box; enter > leave for a miss."""
    enter, leave = np.full(len(rays), -np.inf), np.full(len(rays), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(3):
            o, d = origin[..., axis], rays[:, axis]
            a, b = (-half[axis] - o) / d, (half[axis] - o) / d
            # fmax and fmin pass over the nan of a ray that lies in a face.
            np.fmax(enter, np.minimum(a, b), out=enter)
            np.fmin(leave, np.maximum(a, b), out=leave)
    return enter, leave


def normal(solid: Solid, points: np.ndarray) -> np.ndarray:
    """(M, 3) unit normals in the solid's frame, towards the side that is seen."""
    half = np.asarray(solid.half)
    if solid.kind == "ellipsoid":
        n = points / half**2
        return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True))
    face = np.abs(points / half).argmax(-1)
    n = np.zeros_like(points)
    rows = np.arange(len(points))
    n[rows, face] = np.sign(points[rows, face])
    return -n if solid.kind == "room" else n


def corners_of(solid: Solid, pose: np.ndarray) -> np.ndarray:
    """(8, 3) corners of the box around a solid, where a 4x4 pose puts them."""
    return np.asarray(_SIGNS * solid.half @ pose[:3, :3].T + pose[:3, 3])


def _dot(rays: np.ndarray, origin: np.ndarray) -> np.ndarray:
    return np.asarray(rays @ origin if origin.ndim == 1 else (rays * origin).sum(-1))


def _may_meet(solid: Solid, cam_from_solid: np.ndarray, rays_cam: np.ndarray) -> np.ndarray | None:
    """Which rays can meet the box around a solid; None: all may."""
    if solid.kind == "room":
        return None
    corners = corners_of(solid, cam_from_solid)
    z = corners[:, 2]
    if (z <= 0).all():
        return np.zeros(0, dtype=int)
    if (z <= _NEAR_M).any():
        return None
    slopes = corners[:, :2] / z[:, None]
    low, high = slopes.min(0) - 1e-9, slopes.max(0) + 1e-9
    x, y = rays_cam[:, 0], rays_cam[:, 1]
    return np.flatnonzero((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))
