"""What tracks follow: points of the scene, and what they look like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from align3r.geometry.patches import WINDOW, cut_patches
from align3r.geometry.triangulate import project

REACH = 24
"""Frames over which a point is registered to one image of it; then to a newer one."""
GATE = 1 / 256
"""Largest reprojection error, as a share of the long side of the image: 2 pixels of 512."""


@dataclass(frozen=True)
class View:
    """One frame, as the tracks see it."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    depth: np.ndarray
    """(H, W) float32 z-depth; nan where unknown."""
    static: np.ndarray
    """(H, W) bool."""
    sure: np.ndarray
    """(H, W) bool: the depth is good enough to begin a track."""
    k: np.ndarray
    """(3, 3) intrinsics; the centre of the top-left pixel is (0, 0)."""
    world_from_cam: np.ndarray
    """(4, 4)."""

    @cached_property
    def grey(self) -> np.ndarray:
        """(H, W) uint8."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY))


@dataclass(frozen=True)
class Followed:
    """M points that are looked for in the next frames."""

    number: np.ndarray
    """(M,) int64."""
    points: np.ndarray
    """(M, 3) float64 in world coordinates."""
    templates: np.ndarray
    """(M, side, side) uint8: what they look like."""
    across: np.ndarray
    """(M, 3, 2) steps in the world for a step of one pixel in the template, across the view."""
    since: np.ndarray
    """(M,) int64 frame of the templates."""
    last: np.ndarray
    """(M,) int64 frame that they were last seen in."""

    def chosen(self, which: np.ndarray) -> Followed:
        """Some of them, by a mask or by numbers."""
        return Followed(*(values[which] for values in vars(self).values()))

    def and_also(self, other: Followed) -> Followed:
        """These and others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Followed(*(np.concatenate(pair) for pair in pairs))


def follow(
    number: np.ndarray, points: np.ndarray, pixels: np.ndarray, *, frame: int, view: View
) -> Followed:
    """Points with what they look like here."""
    # Room around the window for what the registration may find, and for its coarser level.
    side = WINDOW + 2 * round(2 * GATE * max(view.grey.shape)) + 6
    depth = project(points, view.k, view.world_from_cam)[1]
    across = view.world_from_cam[:3, :3] @ np.linalg.inv(view.k)[:, :2]
    return Followed(
        number=number,
        points=points,
        templates=cut_patches(view.grey, pixels, side=side),
        across=across * depth[:, None, None],
        since=np.full(len(number), frame, np.int64),
        last=np.full(len(number), frame, np.int64),
    )


def renewed(
    followed: Followed, seen: np.ndarray, pixels: np.ndarray, *, frame: int, view: View
) -> Followed:
    """Without what has long been out of sight; old templates give way to what is seen now."""
    last = followed.last.copy()
    last[seen] = frame
    followed = replace(followed, last=last)
    old = frame - followed.since[seen] >= REACH
    again = follow(
        followed.number[seen[old]],
        followed.points[seen[old]],
        pixels[old],
        frame=frame,
        view=view,
    )
    stays = frame - followed.last < REACH // 2
    stays[seen[old]] = False
    return followed.chosen(stays).and_also(again)


def pixels_for_steps(
    followed: Followed, expected: np.ndarray, depth: np.ndarray, view: View
) -> np.ndarray:
    """(M, 2, 2) pixels here for one pixel in the template: it comes nearer, it turns."""
    in_cam = np.einsum("ji,mjk->mik", view.world_from_cam[:3, :3], followed.across)
    rays = np.column_stack([expected, np.ones(len(expected))])
    image = np.einsum("ij,mjk->mik", view.k, in_cam)
    moved = image[:, :2] - rays[:, :2, None] * image[:, 2:]
    return np.asarray(moved / depth[:, None, None])


def values_at(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Values at the nearest pixels, all inside."""
    u, v = np.rint(pixels).astype(np.int64).T
    return np.asarray(image[v, u])
