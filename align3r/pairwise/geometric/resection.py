"""Resection: the pose of one more frame, from anchors whose depth is known."""

from __future__ import annotations

import cv2
import numpy as np

from align3r.pairwise.geometric.bundle import Cameras, project, robust_weight
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.triangulation import world_points

LEAST_POINTS = 30
"""Fewer say nothing about a frame."""
_PNP_POINTS = 3000


def resected(
    cameras: Cameras, obs: Observations, placed: np.ndarray, frame: int
) -> np.ndarray | None:
    """Pose (4, 4) cam_from_world of a frame from the anchors it sees; None if it fails.

    Args:
        cameras: Of the frames that are placed.
        obs: All observations of the anchors that the frame has or sees.
        placed: (N,) bool.
        frame: The one to place.
    """
    inner = obs.among(placed)
    residual, z = project(cameras, inner)
    good = robust_weight(residual, 3.0) * (z > 0)
    support = np.bincount(inner.anchor, good, len(obs.anchor_frame))
    rows = np.flatnonzero(placed[obs.source] & (obs.target == frame) & (support[obs.anchor] > 0.5))
    if len(rows) < LEAST_POINTS:
        return None
    rows = rows[:: max(1, len(rows) // _PNP_POINTS)]
    points = world_points(cameras, obs, obs.anchor[rows])
    return _pose(points, obs.pixel[rows], cameras)


def _pose(points: np.ndarray, pixels: np.ndarray, cameras: Cameras) -> np.ndarray | None:
    """Pose (4, 4) from which points are seen at their pixels; None if too few agree."""
    (cx, cy), f = cameras.centre, cameras.focal
    k = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])
    cv2.setRNGSeed(0)
    try:
        ok, turn, shift, inlier = cv2.solvePnPRansac(
            points,
            pixels,
            k,
            None,
            reprojectionError=4.0,
            iterationsCount=500,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:
        # Degenerate points end in an assertion of OpenCV's own.
        return None
    if not ok or inlier is None or len(inlier) < LEAST_POINTS:
        return None
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(turn)[0]
    pose[:3, 3] = shift.ravel()
    return pose
