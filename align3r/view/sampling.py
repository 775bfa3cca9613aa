"""Points of a reconstruction for the eye: thinned, without the veils at depth edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from align3r.reconstruction import Reconstruction
from align3r.view.palette import spread

EDGE_RATIO = 1.06
"""Neighbouring depths that differ by more than this factor belong to different surfaces."""


@dataclass(frozen=True)
class Cloud:
    """Coloured points in the world frame."""

    points: np.ndarray
    """(P, 3) float32, scene units."""
    colours: np.ndarray
    """(P, 3) uint8 RGB."""
    confidence: np.ndarray
    """(P,) float32."""
    moving: np.ndarray
    """(P,) bool."""

    def __len__(self) -> int:
        return len(self.points)

    def pick(self, which: np.ndarray) -> Cloud:
        """The points that a mask or an index array selects."""
        return Cloud(
            self.points[which], self.colours[which], self.confidence[which], self.moving[which]
        )


def join(clouds: list[Cloud]) -> Cloud:
    """All points of several clouds."""
    return Cloud(
        np.concatenate([c.points for c in clouds] or [np.zeros((0, 3), np.float32)]),
        np.concatenate([c.colours for c in clouds] or [np.zeros((0, 3), np.uint8)]),
        np.concatenate([c.confidence for c in clouds] or [np.zeros(0, np.float32)]),
        np.concatenate([c.moving for c in clouds] or [np.zeros(0, bool)]),
    )


def frame_cloud(scene: Reconstruction, i: int, *, stride: int) -> Cloud:
    """Points of frame i on a pixel grid with `stride`, in the world frame.

    Pixels without a depth and pixels on a depth edge are left out: points there hang in the
    air between two surfaces and belong to neither.
    """
    depth = scene.depth(i)
    height, width = depth.shape
    # Shifting the grid from frame to frame keeps clouds of several frames from forming moiré.
    v0, u0 = (i * 7) % stride, (i * 3) % stride
    v, u = np.mgrid[v0:height:stride, u0:width:stride]
    usable = np.isfinite(depth) & (depth > 0) & ~depth_edges(depth)
    keep = usable[v, u]
    v, u = v[keep], u[keep]
    z = depth[v, u].astype(np.float64)
    k = scene.intrinsics[i]
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(z)], -1)
    world_from_cam = scene.world_from_cam[i]
    points = (rays * z[:, None]) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    return Cloud(
        points.astype(np.float32),
        _colours_at(scene.image(i), u, v, size=(width, height)),
        scene.confidence(i)[v, u],
        scene.moving(i)[v, u],
    )


def static_cloud(
    scene: Reconstruction, *, max_points: int, min_confidence: float = 0.0, frames: int = 48
) -> Cloud:
    """The static scene seen by the whole video, one point a voxel, at most `max_points`.

    Args:
        scene: The reconstruction.
        max_points: Most points in the result.
        min_confidence: Points below this confidence are left out.
        frames: Most frames that are read, spread over the video.
    """
    stride = grid_stride(scene, max_points=max_points, frames=frames)
    parts = []
    for i in spread(len(scene), frames):
        cloud = frame_cloud(scene, int(i), stride=stride)
        parts.append(cloud.pick(~cloud.moving & (cloud.confidence >= min_confidence)))
    cloud = join(parts)
    return thin(cloud, voxel=0.6 * pixel_footprint(scene) * stride, max_points=max_points)


def grid_stride(scene: Reconstruction, *, max_points: int, frames: int = 48) -> int:
    """Pixels from one point of the static cloud to the next, before voxels thin it further."""
    pixels = min(len(scene), frames) * scene.size[0] * scene.size[1]
    return max(1, int(np.sqrt(pixels / (3.0 * max_points))))


def moving_cloud(scene: Reconstruction, i: int, *, max_points: int) -> Cloud:
    """At most `max_points` moving points of frame i, whatever their confidence.

    Moving pixels are seen once and cannot be triangulated over time, so their confidence is
    low by nature; a threshold for static points would hide them all.
    """
    pixels = int(np.count_nonzero(scene.moving(i)))
    if not pixels:
        return join([])
    stride = max(1, int(np.ceil(np.sqrt(pixels / max_points))))
    cloud = frame_cloud(scene, i, stride=stride)
    moving = np.flatnonzero(cloud.moving)
    return cloud.pick(moving[spread(len(moving), max_points)] if len(moving) else moving)


def thin(cloud: Cloud, *, voxel: float, max_points: int) -> Cloud:
    """Keep the most confident point of every voxel, then at most `max_points` of them."""
    if not len(cloud):
        return cloud
    order = np.argsort(-cloud.confidence, kind="stable")
    cells = np.floor(cloud.points[order] / voxel)
    cells -= np.floor(np.median(cells, axis=0))
    # One number a voxel sorts much faster than rows. Three times 21 bits fit into an int64;
    # points a million voxels away share the outermost one.
    cells = np.clip(cells, -(2**20), 2**20 - 1).astype(np.int64) + 2**20
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    first = np.sort(np.unique(key, return_index=True)[1])
    kept = order[first]
    if len(kept) > max_points:
        kept = np.random.default_rng(0).choice(kept, max_points, replace=False)
    return cloud.pick(np.sort(kept))


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels where the depth jumps within the 3x3 neighbourhood."""
    near = np.where(np.isfinite(depth), depth, np.float32(0)).astype(np.float32)
    window = np.ones((3, 3), np.uint8)
    # Unknown neighbours must not count as edges: they are lifted out of both extremes.
    top = cv2.dilate(near, window)
    low = cv2.erode(np.where(near > 0, near, np.float32(1e30)), window)
    return np.asarray(top > EDGE_RATIO * low)


def typical_depth(scene: Reconstruction) -> float:
    """Median known depth of a few frames, in scene units; 1 if none is known."""
    values = [scene.depth(int(i))[::8, ::8] for i in spread(len(scene), 8)]
    flat = np.concatenate([v[np.isfinite(v)] for v in values])
    return float(np.median(flat)) if flat.size else 1.0


def pixel_footprint(scene: Reconstruction) -> float:
    """Width of a source pixel at the typical depth, in scene units."""
    return typical_depth(scene) / float(np.median(scene.intrinsics[:, 0, 0]))


def _colours_at(
    image: np.ndarray, u: np.ndarray, v: np.ndarray, *, size: tuple[int, int]
) -> np.ndarray:
    """(P, 3) uint8 colours of source pixels, from the image at the working size."""
    height, width = image.shape[:2]
    x = np.clip(np.rint((u + 0.5) * width / size[0] - 0.5).astype(int), 0, width - 1)
    y = np.clip(np.rint((v + 0.5) * height / size[1] - 0.5).astype(int), 0, height - 1)
    return np.asarray(image[y, x])
