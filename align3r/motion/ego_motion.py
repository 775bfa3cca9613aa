"""What moves, before anything is solved: the flow that is seen against the camera's own.

After MonST3R (Zhang et al., 2024), but nothing is normalised by the worst pixel of a pair: the
depth of a frame is the median of all its predictions, the camera motion of a pair is fitted to
its flow with the point maps as the start, occluded pixels have no say, and a pixel's disagreement
is the median over the pairs of its frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from align3r.flow.warp import pixel_grid
from align3r.geometry.cameras import rays
from align3r.geometry.robust import weiszfeld_focal
from align3r.motion.evidence import Evidence, Vote, gather, vote
from align3r.motion.masks import masks_of
from align3r.motion.resection import Pinhole, pose_from_points, refine_pose
from align3r.motion.static_scene import Sight, one_way, two_images
from align3r.types import PairFlows, PairPredictions

_SAMPLES = 2000
_LEAST_SAMPLES = 60
_SURE = 0.3
"""Quantile of the confidence from which points have a say about the camera."""


@dataclass(frozen=True)
class _View:
    """One side of a pair: where a frame is seen from, and what makes it a unit."""

    row: int
    backward: bool
    view_from_pair: np.ndarray
    """(4, 4), in the unit of the pair."""
    partner_from_view: np.ndarray
    """(4, 4), in the unit that makes the median depth of the view 1."""
    unit: float
    """That median depth, in the unit of the pair."""


def moving_masks(
    predictions: PairPredictions,
    flows: PairFlows,
    n_frames: int,
    threshold: float,
    *,
    images: np.ndarray | None = None,
) -> np.ndarray:
    """Moving regions of all frames.

    Args:
        predictions: Point maps of pairs.
        flows: Flow of the same pairs.
        n_frames: Frames of the video.
        threshold: In robust standard deviations; see `motion_masks`.
        images: (n_frames, h, w, 3) uint8 RGB; with them a flow must match the image better than
            a static scene would, and masks end where the image has an edge.

    Returns:
        (n_frames, h, w) bool, True = moving.
    """
    found = evidence(predictions, flows, n_frames=n_frames, images=images)
    return masks_of(found, flows, threshold=threshold, images=images)


def evidence(
    predictions: PairPredictions,
    flows: PairFlows,
    *,
    n_frames: int | None = None,
    images: np.ndarray | None = None,
) -> Evidence:
    """How far the flow that is seen is from what a static scene would show.

    All views are taken to have one focal length, the median of what the pairs say.

    Args:
        predictions: Point maps of pairs.
        flows: Flow of the same pairs, in the same order.
        n_frames: Frames of the video; the highest frame of a pair is the last if not given.
        images: (N, h, w, 3) uint8 RGB.
    """
    if not np.array_equal(predictions.edges, flows.edges):
        raise ValueError("the flows are not of the predicted pairs")
    shape = (int(predictions.points.shape[2]), int(predictions.points.shape[3]))
    count = int(predictions.edges.max()) + 1 if n_frames is None else n_frames
    camera = _shared_camera(predictions, shape)
    views = {} if camera is None else _views(predictions, camera)

    def votes_of(frame: int) -> list[Vote]:
        of_frame = views.get(frame, [])
        if camera is None or not of_frame:
            return []
        rho = _median([_inverse_depth(view, predictions) for view in of_frame])
        sights = [_sight(view, rho, flows, camera, images=images) for view in of_frame]
        votes = [vote(sight, rho) for sight in sights if sight is not None]
        return [one for one in votes if one is not None]

    return gather(votes_of, count, shape)


def _shared_camera(predictions: PairPredictions, shape: tuple[int, int]) -> Pinhole | None:
    """The camera whose focal length is the median of the pairs'; None if no pair has one."""
    step = _step(shape)
    grid = pixel_grid(*shape)[::step, ::step] - np.asarray(predictions.principal_point, np.float32)
    points = predictions.points[:, 0, ::step, ::step].float()
    focals = weiszfeld_focal(points.flatten(1, 2), torch.from_numpy(grid.reshape(-1, 2))).numpy()
    focals = focals[np.isfinite(focals) & (focals > 0)]
    if not len(focals):
        return None
    return Pinhole(float(np.median(focals)), predictions.principal_point, shape)


def _step(shape: tuple[int, int]) -> int:
    """Of the grid that has about `_SAMPLES` pixels."""
    return max(1, int(np.sqrt(shape[0] * shape[1] / _SAMPLES)))


def _views(predictions: PairPredictions, camera: Pinhole) -> dict[int, list[_View]]:
    """Both sides of every pair whose second view can be placed, by frame."""
    views: dict[int, list[_View]] = {}
    for row, (i, j) in enumerate(predictions.edges.tolist()):
        points = predictions.points[row, 1].float().numpy()
        confidence = predictions.confidence[row, 1].float().numpy()
        j_from_i = _second_pose(points, confidence, camera)
        if j_from_i is None:
            continue
        for frame, place, own, motion in (
            (i, (row, False), np.eye(4), j_from_i),
            (j, (row, True), j_from_i, np.linalg.inv(j_from_i)),
        ):
            depth = _depth(place, own, predictions)
            in_front = depth[depth > 0]
            if len(in_front) < 0.1 * depth.size:
                continue
            unit = float(np.median(in_front))
            motion = motion.copy()
            motion[:3, 3] /= unit
            views.setdefault(frame, []).append(_View(*place, own, motion, unit))
    return views


def _second_pose(points: np.ndarray, confidence: np.ndarray, camera: Pinhole) -> np.ndarray | None:
    """(4, 4) j_from_i from the (h, w, 3) points of view j in the frame of view i."""
    step = _step(camera.shape)
    confidence = confidence[::step, ::step]
    sure = confidence >= np.quantile(confidence, _SURE)
    pixels = pixel_grid(*camera.shape)[::step, ::step][sure]
    return pose_from_points(
        points[::step, ::step][sure].astype(np.float64), pixels.astype(np.float64), camera
    )


def _depth(
    place: tuple[int, bool], view_from_pair: np.ndarray, predictions: PairPredictions
) -> np.ndarray:
    """(h, w) float32 depth of one side of a pair, in its unit."""
    points = predictions.points[place[0], int(place[1])].float().numpy()
    along = view_from_pair[2].astype(np.float32)
    return np.asarray(points @ along[:3] + along[3])


def _inverse_depth(view: _View, predictions: PairPredictions) -> np.ndarray:
    """(h, w) float32, median 1; nan where the pair puts a pixel behind the camera."""
    depth = _depth((view.row, view.backward), view.view_from_pair, predictions)
    with np.errstate(divide="ignore"):
        return np.where(depth > 0, view.unit / depth, np.nan).astype(np.float32)


def _sight(
    view: _View,
    inverse_depth: np.ndarray,
    flows: PairFlows,
    camera: Pinhole,
    *,
    images: np.ndarray | None,
) -> Sight | None:
    """The view with the camera motion that its flow says; None if too little flow is valid."""
    flow, valid = one_way(flows, view.row, backward=view.backward)
    step = _step(camera.shape)
    sample = np.s_[::step, ::step]
    chosen = (valid & np.isfinite(inverse_depth))[sample]
    if chosen.sum() < _LEAST_SAMPLES:
        return None
    ray = rays(camera.shape, camera.focal, camera.centre, step=step)
    both = np.concatenate([ray, inverse_depth[sample][..., None]], -1)
    place = pixel_grid(*camera.shape) + flow
    pose = refine_pose(
        view.partner_from_view,
        both[chosen].astype(np.float64),
        place[sample][chosen].astype(np.float64),
        camera,
    )
    seen = two_images(images, flows.edges[view.row], backward=view.backward)
    return Sight(flow, valid, pose, camera, camera.focal, images=seen)


def _median(maps: list[np.ndarray]) -> np.ndarray:
    """(h, w) median of the finite values; nan where there is none."""
    ordered = np.sort(np.stack(maps), 0)
    count = np.isfinite(ordered).sum(0)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(maps) - 1)[None], 0)[0]
    return np.asarray(0.5 * (low + high), np.float32)
