"""Where a static scene would be seen from another view, and whether it would be seen at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from align3r.flow.warp import backward_warp, pixel_grid
from align3r.geometry.cameras import rays
from align3r.motion.resection import Pinhole
from align3r.types import PairFlows

_DEPTH_TOLERANCE = 0.05
"""Relative depth error that is forgiven: it moves a match along its epipolar line only."""
_LEAST_DEPTH = 1e-3
"""In the unit of the source depth; what is nearer to the target camera, or behind it, is not
seen."""
_EDGE = 0.01
"""Distance, in long sides of the image, over which a depth edge may be misplaced."""


@dataclass(frozen=True)
class Sight:
    """One view of a pair against the other: the flow that is seen, and the camera's motion."""

    flow: np.ndarray
    """(h, w, 2) float32 from the source view to the target view, pixels."""
    valid: np.ndarray
    """(h, w) bool: there and back ends where it began."""
    target_from_source: np.ndarray
    """(4, 4)."""
    source: Pinhole
    target_focal: float
    images: tuple[np.ndarray, np.ndarray] | None = None
    """(h, w, 3) uint8 RGB of the source and the target view."""
    target_depth: np.ndarray | None = None
    """(h, w) float32 depth of the target view, in the unit of the translation; nan if unknown."""

    def expected(self, *inverse_depths: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each inverse depth (h, w) what a static scene would show.

        Returns:
            (h, w, 2) float32 flow, and (h, w) depth in the target view times the inverse depth:
            positive in front of it.
        """
        camera, motion = self.source, self.target_from_source.astype(np.float32)
        ray = _rays(camera)
        turned = cv2.split(cv2.transform(ray, motion[:3, :3]))
        found = []
        for rho in inverse_depths:
            x, y, z = (t + rho * m for t, m in zip(turned, motion[:3, 3], strict=True))
            pull = self.target_focal / np.maximum(z, np.float32(_LEAST_DEPTH))
            u = x * pull - camera.focal * ray[..., 0]
            v = (y * pull - camera.focal * ray[..., 1]) / camera.aspect
            found.append((np.asarray(cv2.merge([u, v])), z))
        return found


@lru_cache(maxsize=4)
def _rays(camera: Pinhole) -> np.ndarray:
    ray = rays(camera.shape, camera.focal, camera.centre, aspect=camera.aspect)
    ray.flags.writeable = False
    return ray


def one_way(flows: PairFlows, row: int, *, backward: bool) -> tuple[np.ndarray, np.ndarray]:
    """(h, w, 2) float32 flow of a pair in one direction, and (h, w) bool where it is valid."""
    flow = flows.backward[row] if backward else flows.forward[row]
    valid = flows.backward_valid[row] if backward else flows.forward_valid[row]
    return np.asarray(flow, np.float32), np.asarray(valid)


def two_images(
    images: np.ndarray | None, edge: np.ndarray, *, backward: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Images of the source and the target view of a pair in one direction, if there are any."""
    if images is None:
        return None
    i, j = (int(frame) for frame in edge)
    return (images[j], images[i]) if backward else (images[i], images[j])


def depth_range(inverse_depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest inverse depth that a pixel may have.

    Flow and depth both bleed over depth edges, so the depths nearby are forgiven too.
    """
    disc = _disc(inverse_depth.shape)
    farthest = cv2.erode(inverse_depth, disc) * (1 - _DEPTH_TOLERANCE)
    nearest = cv2.dilate(inverse_depth, disc) * (1 + _DEPTH_TOLERANCE)
    return farthest, nearest


def off_segment(flow: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(h, w) distance of the (h, w, 2) flow from the segment: depth moves a match along it."""
    along_u, along_v = cv2.split(end - start)
    miss_u, miss_v = cv2.split(flow - start)
    square = np.maximum(along_u * along_u + along_v * along_v, np.float32(1e-9))
    share = np.clip((miss_u * along_u + miss_v * along_v) / square, 0, 1)
    return np.asarray(np.hypot(miss_u - share * along_u, miss_v - share * along_v))


def in_sight(
    sight: Sight, inverse_depth: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """(h, w) bool: the target view sees the static point of the pixel, nothing is before it.

    Near a depth edge of the target view the nearer side decides.

    Args:
        sight: With the depth of the target view.
        inverse_depth: (h, w) of the source view.
        expected: What `sight.expected` says about it.
    """
    if sight.target_depth is None:
        raise ValueError("what is in sight depends on the depth of the target view")
    flow, front = expected
    shape = sight.source.shape
    place, last = pixel_grid(*shape) + flow, np.subtract(shape[::-1], 1)
    inside = ((place >= 0) & (place <= last)).all(-1)
    known = np.nan_to_num(sight.target_depth, nan=0.0)
    surface = backward_warp(cv2.erode(known, _disc(shape)), flow)
    nothing_before = front < (1 + _DEPTH_TOLERANCE) * surface * inverse_depth
    return np.asarray(inside & (front > _LEAST_DEPTH) & nothing_before)


def _disc(shape: tuple[int, ...]) -> np.ndarray:
    side = 2 * max(1, round(_EDGE * max(shape))) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
