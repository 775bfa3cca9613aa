"""Tracks: points of the static scene, each measured in the images of several frames.

Where a point should be seen again follows from its depth and the cameras; where it *is* seen is
measured in the images, by Lucas-Kanade registration of its surroundings (Lucas and Kanade, IJCAI
1981; pyramids as in Bouguet, 2001). So the distance between the two, the reprojection error, says
something about the cameras, and a bundle adjustment has something to adjust to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from align3r.geometry.corners import find_corners
from align3r.geometry.followed import (
    GATE,
    Followed,
    View,
    follow,
    pixels_for_steps,
    renewed,
    values_at,
)
from align3r.geometry.patches import WINDOW, cut_patches, register
from align3r.geometry.triangulate import (
    Sightings,
    project,
    refine_points,
    reprojection_errors,
    unproject,
)

_SAME_DEPTH = 0.05
"""A point is in sight where the depth map is within this share of its depth."""


@dataclass(frozen=True)
class Tracks:
    """P points and M sightings of them, two or more a point, ordered by point and frame."""

    points: np.ndarray
    """(P, 3) float64 in world coordinates."""
    colours: np.ndarray
    """(P, 3) uint8 RGB."""
    errors: np.ndarray
    """(P,) float64 mean reprojection error, pixels."""
    seen: Sightings


def find_tracks(views: Iterable[View], *, per_view: int) -> Tracks:
    """Follow corners of the static scene through a video.

    Args:
        views: The frames in order, all of one size; each is looked at once and not kept.
        per_view: About how many points every frame shall see, fewer where there are no corners; 0
            for none, but every frame is taken.

    Returns:
        Points that are seen in two or more frames; those out of sight for long come back as others.
    """
    tracker = _Tracker(per_view)
    k, poses = [], []
    for frame, view in enumerate(views):
        if per_view:
            tracker.look(frame, view)
        k.append(view.k)
        poses.append(view.world_from_cam)
    return tracker.tracks(np.array(k).reshape(-1, 3, 3), np.array(poses).reshape(-1, 4, 4))


class _Tracker:
    """The state of `find_tracks`: what is followed, and what was seen."""

    def __init__(self, per_view: int) -> None:
        self._per_view = per_view
        self._followed: Followed | None = None
        self._starts: list[np.ndarray] = []
        self._colours: list[np.ndarray] = []
        self._seen: list[Sightings] = []
        self._gate = 0.0
        self._n = 0

    def look(self, frame: int, view: View) -> None:
        """See again what is followed, and follow corners where nothing is."""
        self._gate = GATE * max(view.grey.shape)
        pixels = np.zeros((0, 2))
        if self._followed is not None:
            seen, pixels = self._see_again(self._followed, view)
            self._note(frame, self._followed.number[seen], pixels, view)
            self._followed = renewed(self._followed, seen, pixels, frame=frame, view=view)
        height, width = view.grey.shape
        corners = find_corners(
            view.grey,
            view.depth,
            allowed=view.static & view.sure,
            taken=pixels,
            # Circles of this radius around the points nearly fill the image.
            radius=0.7 * float(np.sqrt(width * height / self._per_view)),
        )
        number = np.arange(self._n, self._n + len(corners))
        self._n += len(corners)
        points = unproject(corners, values_at(view.depth, corners), view.k, view.world_from_cam)
        self._starts.append(points)
        self._colours.append(values_at(view.rgb, corners))
        self._note(frame, number, corners, view)
        new = follow(number, points, corners, frame=frame, view=view)
        self._followed = new if self._followed is None else self._followed.and_also(new)

    def _see_again(self, followed: Followed, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (in `followed`) of what is seen in a view, and the pixels where."""
        expected, depth = project(followed.points, view.k, view.world_from_cam)
        there = np.flatnonzero(_in_sight(expected, depth, view))
        expected, followed = expected[there], followed.chosen(there)
        warps = pixels_for_steps(followed, expected, depth[there], view)
        side = followed.templates.shape[1]
        patches = cut_patches(view.grey, expected, side=side, warps=warps)
        steps, good = register(followed.templates, patches)
        pixels = expected + np.einsum("mij,mj->mi", warps, steps)
        good &= np.hypot(*(pixels - expected).T) <= self._gate
        good &= _inside(pixels, view.grey.shape)
        return there[good], pixels[good]

    def _note(self, frame: int, number: np.ndarray, pixels: np.ndarray, view: View) -> None:
        depth = values_at(view.depth, pixels).astype(np.float64)
        # Beside the point the depth may be unknown, or that of something in front of it.
        known = np.isfinite(depth) & (depth > 0)
        frames = np.full(len(number), frame, np.int64)
        self._seen.append(Sightings(number, frames, pixels, depth).chosen(known))

    def tracks(self, k: np.ndarray, poses: np.ndarray) -> Tracks:
        """What was seen, and the points where their sightings meet."""
        points = np.concatenate([np.zeros((0, 3)), *self._starts])
        seen = Sightings(
            np.concatenate([np.zeros(0, np.int64), *(part.point for part in self._seen)]),
            np.concatenate([np.zeros(0, np.int64), *(part.frame for part in self._seen)]),
            np.concatenate([np.zeros((0, 2)), *(part.pixel for part in self._seen)]),
            np.concatenate([np.zeros(0), *(part.depth for part in self._seen)]),
        )
        for _ in range(3):  # what does not fit has moved the point: without it, look again
            points = refine_points(points, seen, k, poses)
            seen = seen.chosen(reprojection_errors(points, seen, k, poses) <= self._gate)
            seen = seen.chosen(np.bincount(seen.point, minlength=len(points))[seen.point] >= 2)
        colours = np.concatenate([np.zeros((0, 3), np.uint8), *self._colours])
        return _packed(points, colours, seen, reprojection_errors(points, seen, k, poses))


def _in_sight(pixels: np.ndarray, depth: np.ndarray, view: View) -> np.ndarray:
    """(M,) bool: inside the image, in front, not hidden and not behind something that moves."""
    with np.errstate(invalid="ignore"):
        inside = (depth > 0) & _inside(pixels, view.grey.shape)
    there = np.flatnonzero(inside)
    with np.errstate(invalid="ignore"):
        same = np.abs(values_at(view.depth, pixels[there]) / depth[there] - 1) <= _SAME_DEPTH
    inside[there] = same & values_at(view.static, pixels[there])
    return np.asarray(inside)


def _inside(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(M,) bool: the window around the pixel is in the image."""
    border = WINDOW // 2
    u, v = pixels.T
    return np.asarray(
        (u >= border) & (v >= border) & (u < shape[1] - border) & (v < shape[0] - border)
    )


def _packed(points: np.ndarray, colours: np.ndarray, seen: Sightings, error: np.ndarray) -> Tracks:
    """Without the points that nobody sees, and in order."""
    order = np.lexsort([seen.frame, seen.point])
    seen, error = seen.chosen(order), error[order]
    used, number = np.unique(seen.point, return_inverse=True)
    total = np.bincount(number, weights=error, minlength=len(used))
    return Tracks(
        points=points[used],
        colours=colours[used],
        errors=total / np.maximum(np.bincount(number, minlength=len(used)), 1),
        seen=Sightings(number.astype(np.int64), seen.frame, seen.pixel, seen.depth),
    )
