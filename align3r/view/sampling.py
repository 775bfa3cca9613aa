"""Points of a reconstruction for the eye: thinned, without the veils at depth edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from align3r.geometry.triangulate import unproject
from align3r.reconstruction import Reconstruction
from align3r.view.cloud import Cloud, cells, join, thin
from align3r.view.palette import spread

EDGE_RATIO = 1.06
"""Neighbouring depths that differ by more than this factor belong to different surfaces."""


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
    pixels = np.stack([u, v], -1)
    points = unproject(pixels, z, scene.intrinsics[i], scene.world_from_cam[i])
    return Cloud(
        points.astype(np.float32),
        _colours_at(scene.image(i), u, v, size=(width, height)),
        scene.confidence(i)[v, u],
        scene.moving(i)[v, u],
        z.astype(np.float32),
        np.full(len(z), min(stride, 255), np.uint8),
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
    cloud = _static_of(scene, spread(len(scene), frames), stride=stride)
    cloud = cloud.pick(cloud.confidence >= min_confidence)
    return thin(cloud, voxel=_voxels(scene, cloud, stride=stride), max_points=max_points)


class StaticBlocks:
    """The static scene piece by piece, for those who want to see something at once.

    The first block is the cloud of the first group of frames; each further block adds what its
    frames see and none before has seen, on the same voxels. Nothing is drawn by lot: the same
    groups give the same points. Half of the room is shared out by frames, so that what only the
    last ones see has its place; the other half goes to whoever comes first.
    """

    def __init__(
        self, scene: Reconstruction, groups: Sequence[Sequence[int]], *, max_points: int
    ) -> None:
        """Nothing is read yet: frames `groups[k]` make block k, `max_points` all together."""
        self._scene, self._groups, self._most = scene, groups, max_points
        self._total = sum(len(group) for group in groups)
        self._stride = grid_stride(scene, max_points=max_points // 2, frames=self._total)
        self._seen, self._room = np.zeros(0, np.int64), max_points

    def block(self, number: int) -> Cloud:
        """The next block; they must be asked for in order, each once.

        Raises:
            InputError: A frame cannot be read; the next block can be asked for all the same.
        """
        left = sum(len(group) for group in self._groups[number + 1 :])
        most = max(self._room - self._most * left // (2 * self._total), 0)
        cloud = _static_of(self._scene, self._groups[number], stride=self._stride)
        cloud = cloud.pick(~self._was_seen(cloud))
        voxel = _voxels(self._scene, cloud, stride=self._stride)
        cloud = thin(cloud, voxel=voxel, max_points=most)
        self._seen = np.sort(np.concatenate([self._seen, self._cells(cloud)]))
        self._room -= len(cloud)
        return cloud

    def _was_seen(self, cloud: Cloud) -> np.ndarray:
        """(P,) bool: the voxel of the point holds one of an earlier block."""
        if not len(self._seen):
            return np.zeros(len(cloud), bool)
        wanted = self._cells(cloud)
        # numpy's own test of membership hashes, and takes a second for keys like these.
        where = np.searchsorted(self._seen, wanted).clip(max=len(self._seen) - 1)
        return np.asarray(self._seen[where] == wanted)

    def _cells(self, cloud: Cloud) -> np.ndarray:
        return cells(cloud.points, _voxels(self._scene, cloud, stride=self._stride))


def _static_of(scene: Reconstruction, frames: Sequence[int] | np.ndarray, *, stride: int) -> Cloud:
    """Static points of some frames, not thinned."""
    parts = [frame_cloud(scene, int(i), stride=stride) for i in frames]
    return join([part.pick(~part.moving) for part in parts])


def _voxels(scene: Reconstruction, cloud: Cloud, *, stride: int) -> np.ndarray:
    """(P,) side of each point's voxel: what its pixel covers at its depth, to a power of two.

    Near things keep their detail and far ones, seen in few pixels, do not become sparse.
    """
    pixel = 0.7 * stride / float(np.median(scene.intrinsics[:, 0, 0]))
    return np.asarray(np.exp2(np.round(np.log2(pixel * np.maximum(cloud.distance, 1e-30)))))


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


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels where the depth jumps within the 3x3 neighbourhood."""
    near = np.where(np.isfinite(depth), depth, np.float32(0)).astype(np.float32)
    window = np.ones((3, 3), np.uint8)
    # Unknown neighbours must not count as edges: they are lifted out of both extremes.
    top = cv2.dilate(near, window)
    low = cv2.erode(np.where(near > 0, near, np.float32(1e30)), window)
    return np.asarray(top > EDGE_RATIO * low)


def typical_depth(scene: Reconstruction, *, frames: int = 8) -> float:
    """Median known depth of a few frames, in scene units; 1 if none is known."""
    values = [scene.depth(int(i))[::8, ::8] for i in spread(len(scene), frames)]
    flat = np.concatenate([v[np.isfinite(v)] for v in values])
    return float(np.median(flat)) if flat.size else 1.0


def _colours_at(
    image: np.ndarray, u: np.ndarray, v: np.ndarray, *, size: tuple[int, int]
) -> np.ndarray:
    """(P, 3) uint8 colours of source pixels, from the image at the working size."""
    height, width = image.shape[:2]
    x = np.clip(np.rint((u + 0.5) * width / size[0] - 0.5).astype(int), 0, width - 1)
    y = np.clip(np.rint((v + 0.5) * height / size[1] - 0.5).astype(int), 0, height - 1)
    return np.asarray(image[y, x])
