"""The points of a COLMAP model: tracks, and a cloud whose points are each seen in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from align3r.geometry.followed import View
from align3r.geometry.tracks import Tracks
from align3r.geometry.triangulate import project
from align3r.io.thinning import Cloud

_SAME_DEPTH = 0.02


@dataclass(frozen=True)
class ModelPoints:
    """P points and M observations of them, ordered by point."""

    points: np.ndarray
    """(P, 3) float64 in world coordinates."""
    colours: np.ndarray
    """(P, 3) uint8 RGB."""
    errors: np.ndarray
    """(P,) mean reprojection error in pixels; -1 where there is but one observation."""
    point: np.ndarray
    """(M,) int64 point of each observation."""
    frame: np.ndarray
    """(M,) int64 frame of each observation."""
    pixel: np.ndarray
    """(M, 2) float64 where, (u, v); the centre of the top-left pixel is (0, 0)."""


class CloudSightings:
    """Finds for every point of a cloud the image that shows it best, frame after frame."""

    def __init__(self, cloud: Cloud) -> None:
        n = len(cloud)
        self._points = cloud.points.astype(np.float64)
        self._colours = cloud.colours.copy()
        self._miss = np.full(n, _SAME_DEPTH)
        self._frame = np.full(n, -1, np.int64)
        self._pixel = np.zeros((n, 2))

    def look(self, frame: int, view: View) -> None:
        """Take the points whose depth this frame confirms better than all before."""
        height, width = view.depth.shape
        pixels, z = project(self._points, view.k, view.world_from_cam)
        with np.errstate(invalid="ignore"):
            inside = (z > 0) & (pixels > -0.5).all(axis=1)
            inside &= (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
        there = np.flatnonzero(inside)
        u, v = np.rint(pixels[there]).astype(np.int64).T
        with np.errstate(invalid="ignore"):
            miss = np.abs(view.depth[v, u] / z[there] - 1)
            better = (miss < self._miss[there]) & view.static[v, u]  # nan is not better
        chosen, u, v = there[better], u[better], v[better]
        self._miss[chosen] = miss[better]
        self._frame[chosen], self._pixel[chosen] = frame, pixels[chosen]
        self._colours[chosen] = view.rgb[v, u]

    def result(self) -> ModelPoints:
        """The points that some image shows."""
        seen = np.flatnonzero(self._frame >= 0)
        return ModelPoints(
            points=self._points[seen],
            colours=self._colours[seen],
            errors=np.full(len(seen), -1.0),
            point=np.arange(len(seen)),
            frame=self._frame[seen],
            pixel=self._pixel[seen],
        )


def with_tracks(tracks: Tracks, cloud: ModelPoints) -> ModelPoints:
    """The points of both, the tracks first."""
    n = len(tracks.points)
    return ModelPoints(
        points=np.concatenate([tracks.points, cloud.points]),
        colours=np.concatenate([tracks.colours, cloud.colours]),
        errors=np.concatenate([tracks.errors, cloud.errors]),
        point=np.concatenate([tracks.seen.point, cloud.point + n]),
        frame=np.concatenate([tracks.seen.frame, cloud.frame]),
        pixel=np.concatenate([tracks.seen.pixel, cloud.pixel]),
    )
