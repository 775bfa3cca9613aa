"""Pose of the second view of a pair: first from its point map, then from where flow sees points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from align3r.geometry.cameras import intrinsic_matrix

_LEAST_POINTS = 30
_SCALES = (0.02, 0.01, 0.005)
"""Residuals, in long sides of the image, that begin to lose their say, from coarse to fine."""
_LEAST_SCALE_PX = 1.0
_STEPS_PER_SCALE = 4


@dataclass(frozen=True)
class Pinhole:
    """Camera shared by all views."""

    focal: float
    """Pixels."""
    centre: tuple[float, float]
    """Principal point, pixels."""
    shape: tuple[int, int]
    """(h, w)."""
    aspect: float = 1.0
    """Horizontal over vertical focal length; `focal` is horizontal."""


def pose_from_points(
    points_in_a: np.ndarray, pixels_in_b: np.ndarray, camera: Pinhole
) -> np.ndarray | None:
    """Pose of the view b that saw these points, by RANSAC.

    Args:
        points_in_a: (m, 3) float64 in the frame of view a.
        pixels_in_b: (m, 2) float64 where view b has them.
        camera: Of view b.

    Returns:
        (4, 4) b_from_a, or None if the points agree on no pose.
    """
    if len(points_in_a) < _LEAST_POINTS:
        return None
    cv2.setRNGSeed(0)
    try:
        found, turn, shift, inlier = cv2.solvePnPRansac(
            points_in_a,
            pixels_in_b,
            intrinsic_matrix(camera.focal, camera.centre),
            None,
            iterationsCount=100,
            reprojectionError=max(2.0, 0.01 * max(camera.shape)),
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:
        # Degenerate points, such as all on one ray, end in an assertion of OpenCV's own.
        return None
    if not found or inlier is None or len(inlier) < _LEAST_POINTS:
        return None
    return _rigid(cv2.Rodrigues(turn)[0], shift.ravel())


def refine_pose(
    b_from_a: np.ndarray, rays_and_rho: np.ndarray, pixels_in_b: np.ndarray, camera: Pinhole
) -> np.ndarray:
    """Pose that puts most points where they are seen: robust Gauss-Newton on reprojection.

    The start decides what is the static scene when something large moves; Geman-McClure weights
    (scale from coarse to fine) take the say from what moves.

    Args:
        b_from_a: (4, 4) start.
        rays_and_rho: (m, 4) rays of view a with z = 1, and inverse depths.
        pixels_in_b: (m, 2) where view b has them.
        camera: Of view b.

    Returns:
        (4, 4) refined b_from_a.
    """
    rays, rho = rays_and_rho[:, :3], rays_and_rho[:, 3:]
    seen = pixels_in_b - np.asarray(camera.centre)
    for share in _SCALES:
        scale_px = max(share * max(camera.shape), _LEAST_SCALE_PX)
        for _ in range(_STEPS_PER_SCALE):
            point = rays @ b_from_a[:3, :3].T + rho * b_from_a[:3, 3]
            step = _step(point, rho, seen, (camera.focal, scale_px))
            b_from_a = _rigid(cv2.Rodrigues(step[:3])[0], step[3:]) @ b_from_a
    return b_from_a


def _step(
    point: np.ndarray, rho: np.ndarray, seen: np.ndarray, focal_and_scale: tuple[float, float]
) -> np.ndarray:
    """(6,) rotation and translation, on the left of the pose."""
    focal, scale_px = focal_and_scale
    z = point[:, 2]
    inverse_z = focal / np.maximum(z, 1e-3)
    xy = point[:, :2] / np.maximum(z, 1e-3)[:, None]
    residual = focal * xy - seen
    weight = (z > 1e-3) / (1.0 + (residual**2).sum(-1) / scale_px**2) ** 2
    # d pixel / d point, two rows a point; a rotation w moves the point by w x point.
    zero = np.zeros_like(z)
    by_u = np.stack([inverse_z, zero, -xy[:, 0] * inverse_z], -1)
    by_v = np.stack([zero, inverse_z, -xy[:, 1] * inverse_z], -1)
    jac = np.stack(
        [np.concatenate([np.cross(point, by), rho * by], -1) for by in (by_u, by_v)], axis=1
    )
    normal = np.einsum("m,mkc,mkd->cd", weight, jac, jac)
    gradient = np.einsum("m,mkc,mk->c", weight, jac, residual)
    # Without parallax the translation has no say; a little damping keeps it where it is.
    damping = 1e-6 * np.trace(normal) / 6 + 1e-12
    return np.asarray(-np.linalg.solve(normal + damping * np.eye(6), gradient))


def _rigid(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose
