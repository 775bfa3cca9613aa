"""Points of a static scene and where cameras see them: projection, and least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DEPTH_SIGMA = 0.02
"""Standard deviation of depth maps that `refine_points` assumes, as a share of the depth."""


@dataclass(frozen=True)
class Sightings:
    """M times that a point was seen."""

    point: np.ndarray
    """(M,) int64 number of the point."""
    frame: np.ndarray
    """(M,) int64 frame."""
    pixel: np.ndarray
    """(M, 2) float64 where, (u, v); the centre of the top-left pixel is (0, 0)."""
    depth: np.ndarray
    """(M,) float64 z-depth of the frame's depth map there."""

    def __len__(self) -> int:
        return len(self.point)

    def chosen(self, which: np.ndarray) -> Sightings:
        """Some of them, by a mask or by numbers."""
        return Sightings(self.point[which], self.frame[which], self.pixel[which], self.depth[which])


def project(
    points: np.ndarray, k: np.ndarray, world_from_cam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (M, 2) and z-depths (M,) of points in one camera, or each in its own.

    Args:
        points: (M, 3) in world coordinates.
        k: (3, 3) or (M, 3, 3).
        world_from_cam: (4, 4) or (M, 4, 4).
    """
    rotation, centre = world_from_cam[..., :3, :3], world_from_cam[..., :3, 3]
    in_cam = np.einsum("...ji,...j->...i", rotation, points - centre)
    image = np.einsum("...ij,...j->...i", k, in_cam)
    with np.errstate(divide="ignore", invalid="ignore"):
        return image[..., :2] / image[..., 2:], in_cam[..., 2]


def unproject(
    pixels: np.ndarray, depth: np.ndarray, k: np.ndarray, world_from_cam: np.ndarray
) -> np.ndarray:
    """World points (M, 3) float64 of pixels (M, 2) with z-depths (M,) in one camera."""
    rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(k).T
    in_cam = rays * np.asarray(depth, np.float64)[:, None]
    return np.asarray(in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3])


def reprojection_errors(
    points: np.ndarray, seen: Sightings, k: np.ndarray, world_from_cam: np.ndarray
) -> np.ndarray:
    """(M,) pixels between where a point is seen and where it should be; infinite behind a camera.

    Args:
        points: (P, 3) in world coordinates.
        seen: What was seen.
        k: (N, 3, 3) of the frames.
        world_from_cam: (N, 4, 4) of the frames.
    """
    image, z = project(points[seen.point], k[seen.frame], world_from_cam[seen.frame])
    return np.where(z > 0, np.hypot(*(image - seen.pixel).T), np.inf)


def refine_points(
    points: np.ndarray, seen: Sightings, k: np.ndarray, world_from_cam: np.ndarray
) -> np.ndarray:
    """Points (P, 3) moved to where their sightings meet; those that nobody sees stay.

    Least squares of pixels, and of depths with a standard deviation of 2 %, which decide where the
    rays are next to parallel. Gauss-Newton on each point by itself; the cameras stay.
    """
    k, poses = k[seen.frame], world_from_cam[seen.frame]
    told = np.bincount(seen.point, minlength=len(points)) > 0
    for _ in range(3):
        rows, miss = _linearised(points[seen.point], seen, k, poses)
        normal, right = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
        np.add.at(normal, seen.point, np.einsum("mri,mrj->mij", rows, rows))
        np.add.at(right, seen.point, np.einsum("mri,mr->mi", rows, miss))
        points = points.copy()
        points[told] += np.linalg.solve(normal[told], right[told][..., None])[..., 0]
    return points


def _linearised(
    points: np.ndarray, seen: Sightings, k: np.ndarray, poses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (M, 3, 3) of u, v and depth by the point, and what is missing (M, 3)."""
    image, z = project(points, k, poses)
    focal = np.stack([k[:, 0, 0], k[:, 1, 1]], axis=1)
    ray = (image - k[:, :2, 2]) / focal
    across, forward = poses[:, :3, :2], poses[:, :3, 2]
    rows = np.empty((len(z), 3, 3))
    # d(pixel) = f / z (d(xy) - ray dz), in camera axes.
    turned = across.transpose(0, 2, 1) - ray[..., None] * forward[:, None]
    rows[:, :2] = (focal / z[:, None])[..., None] * turned
    sigma = _DEPTH_SIGMA * seen.depth
    rows[:, 2] = forward / sigma[:, None]
    miss = np.column_stack([seen.pixel - image, (seen.depth - z) / sigma])
    return rows, miss
