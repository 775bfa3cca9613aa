"""Clouds of a scene, thinned by confidence and space, read frame by frame in bounded memory.

Thinning never draws lots. In the image the most confident pixel of a block stands for the block, in
space the most confident point of a voxel for the voxel; voxels are as large as leaves the wanted
number, and of the few beyond it the least confident go. The same scene and numbers give the same
points.
"""

from __future__ import annotations

import logging

import numpy as np

from align3r.io.thinning import Cloud, Thinner, evened, join
from align3r.reconstruction import Reconstruction

log = logging.getLogger(__name__)

_SAMPLES_PER_POINT = 8
"""Pixels looked at for each point that may be kept: several views of a place compete for it."""
_JUDGES = 16
"""Frames, spread over the video, that say which static points hang in the air."""
_NEARER = 0.9
"""A frame sees past a point that is nearer than this part of its depth there."""
_SPARE = 2048
"""Points held beyond those wanted: some turn out to hang in the air, and few must be spread out."""


def static_cloud(scene: Reconstruction, *, max_points: int, min_confidence: float) -> Cloud:
    """The static scene seen by the whole video: `max_points` points, or all if there are fewer.

    A cloud that comes out empty is warned of.

    Args:
        scene: The reconstruction; every frame is read once, one after the other, and again where
            so few of its pixels can be used that more of them must be looked at.
        max_points: Most points. Memory is bounded by this and one frame.
        min_confidence: Points below this confidence are left out.
    """
    if max_points <= 0:
        return join([])
    room = max_points + _SPARE
    stride, pixel = _static_stride(scene, room=room), _pixel_at_typical_depth(scene)
    while True:
        thinner = Thinner(2 * room, voxel=stride * pixel)
        for i in range(len(scene)):
            thinner.add(static_cloud_of(scene, i, stride=stride, min_confidence=min_confidence))
        cloud = _without_floaters(scene, thinner.result(), min_confidence=min_confidence)
        if len(cloud) >= max_points or stride == 1:
            if not len(cloud):
                warn_of_no_points(min_confidence)
            return evened(cloud, max_points, voxel=stride * pixel)
        stride //= 2


def warn_of_no_points(min_confidence: float) -> None:
    """Tell that nothing of the static scene is sure enough to be written."""
    log.warning(
        "no static point has a confidence of %g or more, so there are no points; lower "
        "min-confidence",
        min_confidence,
    )


def static_cloud_of(
    scene: Reconstruction, i: int, *, stride: int, min_confidence: float = 0.0
) -> Cloud:
    """Static points of frame i: of every stride x stride pixels the most confident one."""
    wanted = (scene.confidence(i) >= min_confidence) & ~scene.moving(i)
    return _frame_cloud(scene, i, wanted, stride=stride)


def moving_cloud_of(scene: Reconstruction, i: int, *, max_points: int) -> Cloud:
    """At most `max_points` moving points of frame i, whatever their confidence.

    What moves is seen once and cannot be triangulated over time, so its confidence is low by
    nature; a threshold made for the static scene would hide it all.
    """
    wanted = scene.moving(i) & np.isfinite(scene.depth(i))
    pixels = int(np.count_nonzero(wanted))
    stride = max(int(np.sqrt(pixels / max(max_points, 1))), 1)
    cloud = _frame_cloud(scene, i, wanted, stride=stride)
    while len(cloud) > max_points > 0:
        stride += 1
        cloud = _frame_cloud(scene, i, wanted, stride=stride)
    return cloud if max_points > 0 else join([])


def frame_stride(scene: Reconstruction, *, max_points: int) -> int:
    """Side of the blocks at which a whole frame gives at most `max_points` points."""
    width, height = scene.size
    stride = max(int(np.sqrt(width * height / max(max_points, 1))), 1)
    while -(-width // stride) * -(-height // stride) > max(max_points, 1):
        stride += 1
    return stride


def typical_distance(scene: Reconstruction, points: np.ndarray) -> float:
    """Median distance of points (P, 3) from the middle of the cameras, for sizes of what is drawn.

    Without a point it is the extent of the camera path, and 1 where that is nothing.
    """
    centres = scene.world_from_cam[:, :3, 3]
    if not len(points):
        return float(np.ptp(centres, axis=0).max()) or 1.0
    return float(np.median(np.linalg.norm(points - centres.mean(axis=0), axis=1))) or 1.0


def _static_stride(scene: Reconstruction, *, room: int) -> int:
    width, height = scene.size
    all_frames = len(scene) * width * height / (_SAMPLES_PER_POINT * room)
    # A single frame must not be much more than what is kept, whatever its size.
    one_frame = width * height / (2 * room)
    return max(int(np.sqrt(max(all_frames, one_frame))), 1)


def _frame_cloud(scene: Reconstruction, i: int, wanted: np.ndarray, *, stride: int) -> Cloud:
    """Points of the most confident wanted pixel of every block of frame i."""
    depth, confidence = scene.depth(i), scene.confidence(i)
    score = np.where(wanted & np.isfinite(depth), confidence, -np.inf)
    v, u = _best_of_blocks(score, stride)
    z = depth[v, u].astype(np.float64)
    pose = scene.world_from_cam[i]
    world_from_pixel = pose[:3, :3] @ np.linalg.inv(scene.intrinsics[i])
    points = (np.stack([u, v, np.ones_like(u)]) * z).T @ world_from_pixel.T + pose[:3, 3]
    image = scene.image(i)
    width, height = scene.size
    # Pixel u covers [u, u + 1) of the width, so its centre lies in this working pixel.
    rows = ((v + 0.5) * image.shape[0] / height).astype(int)
    columns = ((u + 0.5) * image.shape[1] / width).astype(int)
    return Cloud(
        points.astype(np.float32), image[rows, columns], confidence[v, u].astype(np.float32)
    )


def _without_floaters(scene: Reconstruction, cloud: Cloud, *, min_confidence: float) -> Cloud:
    """The points that more of the judging frames see than see past.

    What a mask has missed of a moving thing, and what a depth edge has smeared, hangs in the air:
    other frames see what is behind it. A lone vote is not enough to drop a point.
    """
    seen, past = np.zeros((2, len(cloud)), np.uint8)
    for i in _spread(len(scene), _JUDGES):
        rows, pixels, z = _project(scene, cloud.points, i)
        depth = scene.depth(i)
        sure = (scene.confidence(i) >= min_confidence) & ~scene.moving(i)
        ratio = z / np.where(sure, depth, np.nan).ravel()[pixels]
        # nan fails both comparisons: an unknown depth has no vote.
        past[rows] += ratio < _NEARER
        seen[rows] += (ratio >= _NEARER) & (ratio <= 1 / _NEARER)
    return cloud.pick((past < 2) | (past <= seen))


def _project(
    scene: Reconstruction, points: np.ndarray, i: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which points frame i sees: their numbers, flat pixel numbers, and z-depths (float32)."""
    width, height = scene.size
    cam_from_world = np.linalg.inv(scene.world_from_cam[i])
    pixel_from_world = (scene.intrinsics[i] @ cam_from_world[:3]).astype(np.float32)
    u, v, z = pixel_from_world[:, :3] @ points.T + pixel_from_world[:, 3:]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = u / z, v / z
    inside = (z > 0) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    rows = np.flatnonzero(inside)
    columns, lines = np.rint(u[rows]).astype(int), np.rint(v[rows]).astype(int)
    return rows, lines * width + columns, z[rows]


def _best_of_blocks(score: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the highest score of every stride x stride block, where it is finite."""
    if stride == 1:
        every_row, every_column = np.nonzero(np.isfinite(score))
        return every_row, every_column
    height, width = score.shape
    down, across = -(-height // stride), -(-width // stride)
    padded = np.full((down * stride, across * stride), -np.inf, score.dtype)
    padded[:height, :width] = score
    blocks = padded.reshape(down, stride, across, stride).swapaxes(1, 2)
    best = blocks.reshape(down, across, stride * stride).argmax(axis=-1)
    rows = np.arange(down)[:, None] * stride + best // stride
    columns = np.arange(across) * stride + best % stride
    filled = np.isfinite(padded[rows, columns])
    return rows[filled], columns[filled]


def _pixel_at_typical_depth(scene: Reconstruction) -> float:
    """Width of a source pixel at the median depth of a few frames, in scene units."""
    widths = []
    for i in _spread(len(scene), 8):
        depth = scene.depth(i)[::8, ::8]
        known = depth[np.isfinite(depth)]
        if len(known):
            widths.append(float(np.median(known)) / scene.intrinsics[i, 0, 0])
    # Without a depth there is no point to thin either.
    return float(np.median(widths)) if widths else 1.0


def _spread(n: int, at_most: int) -> list[int]:
    """Numbers of at most `at_most` of n frames, evenly spread, ends included."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, at_most)).round())]
