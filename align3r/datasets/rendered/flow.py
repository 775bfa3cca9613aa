"""Exact optical flow: where the point that a pixel sees lies one frame later, and if it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align3r.datasets.rendered.raycast import Seen, Solid, rays_through, trace

_SAME_DEPTH = 1e-6


@dataclass(frozen=True)
class Shot:
    """A camera at one moment."""

    world_from_cam: np.ndarray
    """4x4."""
    k: np.ndarray
    """3x3 intrinsics, pixels."""
    t: float
    """Seconds."""


@dataclass(frozen=True)
class Landing:
    """Where points lie in another frame."""

    pixels: np.ndarray
    """(M, 2) x and y; nan behind the camera."""
    depth: np.ndarray
    """(M,) z-depth there, metres."""


def landing(solids: Sequence[Solid], seen: Seen, t: float, there: Shot) -> Landing:
    """Project the points seen at time `t` into another shot; each goes with its solid.

    Args:
        solids: The scene.
        seen: Points of it, at `t`.
        t: Seconds.
        there: The other shot.
    """
    later = seen.world.copy()
    for number in np.unique(seen.which):
        solid = solids[number]
        if solid.moves:
            rows = np.flatnonzero(seen.which == number)
            step = solid.world_from_solid(there.t) @ np.linalg.inv(solid.world_from_solid(t))
            later[rows] = seen.world[rows] @ step[:3, :3].T + step[:3, 3]
    cam = (later - there.world_from_cam[:3, 3]) @ there.world_from_cam[:3, :3]
    z = cam[:, 2]
    ahead = np.where(z > 0, z, np.nan)
    image = cam @ there.k.T
    return Landing(image[:, :2] / ahead[:, None], z)


def optical_flow(pixels: np.ndarray, landed: Landing, size: tuple[int, int]) -> np.ndarray:
    """(M, 2) float32 pixels; nan where the point leaves the image, hidden or not where it stays.

    Args:
        pixels: (M, 2) where the points were.
        landed: Where they are.
        size: (width, height); the image ends half a pixel beyond its outer pixel centres.
    """
    low, high = landed.pixels >= -0.5, landed.pixels <= np.array(size) - 0.5
    inside = np.asarray(np.logical_and(low, high).all(-1))
    return np.where(inside[:, None], landed.pixels - pixels, np.nan).astype(np.float32)


def visible(solids: Sequence[Solid], seen: Seen, landed: Landing, there: Shot) -> np.ndarray:
    """(M,) bool: whether nothing hides the point in the other shot; False behind its camera.

    A ray is sent through the very place where the point lies, so this is exact, and says nothing
    of the edge of the image.
    """
    out = np.zeros(len(landed.depth), dtype=bool)
    ahead = np.flatnonzero(np.isfinite(landed.pixels).all(-1))
    met = trace(
        solids, there.world_from_cam, rays_through(landed.pixels[ahead], there.k), t=there.t
    )
    near = np.isclose(met.depth, landed.depth[ahead], rtol=_SAME_DEPTH, atol=0)
    out[ahead] = near & (met.which == seen.which[ahead])
    return out
