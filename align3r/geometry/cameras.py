"""Pinhole cameras: intrinsics, resizing, the flow of a static scene."""

from __future__ import annotations

import numpy as np

LONGEST_FOCAL = 1e9
"""Pixels; what would need a longer one is no camera."""
_NOT_ROTATED = 1e-3


def intrinsic_matrix(focal: float, centre: tuple[float, float]) -> np.ndarray:
    """(3, 3) float64 of a camera with square pixels."""
    return np.array([[focal, 0.0, centre[0]], [0.0, focal, centre[1]], [0.0, 0.0, 1.0]])


def image_centre(size: tuple[int, int]) -> tuple[float, float]:
    """Middle of a (width, height) image; the centre of the top-left pixel is (0, 0)."""
    return (size[0] - 1) / 2, (size[1] - 1) / 2


def image_corners(size: tuple[int, int]) -> np.ndarray:
    """(4, 2) corners of a (width, height) image, clockwise from the top left one.

    They are half a pixel outside the centres of the outermost pixels.
    """
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def resize_intrinsics(
    k: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]
) -> np.ndarray:
    """(..., 3, 3) intrinsics of the image resized from (width, height) to (width, height)."""
    scale_u, scale_v = to_size[0] / from_size[0], to_size[1] / from_size[1]
    resized = np.array(k, np.float64)
    resized[..., 0, :2] *= scale_u
    resized[..., 1, 1] *= scale_v
    resized[..., 0, 2] = (k[..., 0, 2] + 0.5) * scale_u - 0.5
    resized[..., 1, 2] = (k[..., 1, 2] + 0.5) * scale_v - 0.5
    return resized


def wrong_camera(world_from_cam: np.ndarray, k: np.ndarray) -> str | None:
    """Which camera is none, in words; None: all that looks through them may rely on them.

    Args:
        world_from_cam: (N, 4, 4) poses.
        k: (N, 3, 3) intrinsics in pixels.
    """
    rotation = world_from_cam[:, :3, :3].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        turned = np.linalg.det(rotation) > 0
    last = np.abs(world_from_cam[:, 3] - np.array([0, 0, 0, 1])).max(axis=1)
    # In these words, nan (of numbers too large to be squared) is no rotation either.
    rigid = (off < _NOT_ROTATED) & (last < _NOT_ROTATED) & turned
    rigid &= np.isfinite(world_from_cam).all(axis=(1, 2))
    if not rigid.all():
        return f"pose {int(rigid.argmin())} is no rotation and translation"
    focal = k[:, [0, 1], [0, 1]]
    seeing = ((focal > 0) & (focal < LONGEST_FOCAL)).all(axis=1)
    seeing &= (k[:, 2] == [0, 0, 1]).all(axis=1) & np.isfinite(k).all(axis=(1, 2))
    if seeing.all():
        return None
    wrong = int(seeing.argmin())
    fx, fy = focal[wrong]
    return f"K {wrong} is no camera matrix (focal lengths {fx:.4g} and {fy:.4g} pixels)"


def rays(
    shape: tuple[int, int],
    focal: float,
    centre: tuple[float, float],
    *,
    step: int = 1,
    aspect: float = 1.0,
) -> np.ndarray:
    """(h, w, 3) float32 rays with z = 1 of every `step`-th pixel of an image of (height, width).

    `focal` is the horizontal one, `aspect` horizontal over vertical.
    """
    v, u = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step].astype(np.float32)
    xy = np.stack([u - centre[0], (v - centre[1]) * aspect], -1) / focal
    return np.concatenate([xy, np.ones_like(xy[..., :1])], -1).astype(np.float32)


def ego_flow(
    inverse_depth: np.ndarray,
    target_from_source: np.ndarray,
    focal: float,
    centre: tuple[float, float],
    *,
    target_focal: float | None = None,
    target_centre: tuple[float, float] | None = None,
    aspect: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Flow that a static scene shows when the camera moves.

    Args:
        inverse_depth: (h, w) of the source view; 0 = infinitely far.
        target_from_source: (4, 4) camera motion.
        focal: Pixels, of both views.
        centre: Principal point, pixels, of both views.
        target_focal: Focal length of the target view, if it has its own.
        target_centre: Principal point of the target view, if it has its own.
        aspect: Horizontal over vertical focal length of both views; `focal` is horizontal.

    Returns:
        (h, w, 2) float32 flow in pixels, and (h, w) bool: in front of the target camera.
    """
    motion = target_from_source.astype(np.float32)
    shape = (inverse_depth.shape[0], inverse_depth.shape[1])
    source = rays(shape, focal, centre, aspect=aspect)
    point = source @ motion[:3, :3].T + inverse_depth[..., None] * motion[:3, 3]
    z = point[..., 2]
    seen = point[..., :2] / np.maximum(z, 1e-3)[..., None]
    # The pixel moves by f times the difference of the rays.
    flow = focal * (seen - source[..., :2])
    if target_focal is not None:
        flow += (target_focal - focal) * seen
    if aspect != 1.0:
        flow[..., 1] /= aspect
    if target_centre is not None:
        flow += np.subtract(target_centre, centre)
    return flow.astype(np.float32), z > 1e-3
