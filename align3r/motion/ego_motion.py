"""What moves, for any predictor of point maps: the flow that is seen against the camera's own.

After MonST3R (Zhang et al., 2024), but nothing is normalised by the worst pixel of a pair: the
depth of a frame is the median of all its predictions, the camera motion of a pair is fitted to
its flow with the point maps as the start, occluded pixels have no say, and a pixel's disagreement
is the median over the pairs of its frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from align3r.flow.warp import pixel_grid
from align3r.geometry.cameras import ego_flow, rays
from align3r.geometry.robust import weiszfeld_focal
from align3r.motion.masks import motion_masks
from align3r.motion.resection import Pinhole, pose_from_points, refine_pose
from align3r.types import PairFlows, PairPredictions

_SAMPLES = 2000
_LEAST_SAMPLES = 60
_DEPTH_TOLERANCE = 0.05
"""Relative depth error that is forgiven: it moves a match along its epipolar line only."""
_EDGE = 0.01
"""Distance, in long sides of the image, over which a depth edge may be misplaced."""
_SURE = 0.3
"""Quantile of the confidence from which points have a say about the camera."""


@dataclass(frozen=True)
class _View:
    """One side of a pair: a frame, its depth as the pair sees it, and the way to its partner."""

    row: int
    backward: bool
    inverse_depth: np.ndarray
    """(h, w) float32, median 1; nan where the pair says nothing."""
    partner_from_view: np.ndarray
    """(4, 4), in the unit that makes the median inverse depth 1."""


def moving_masks(
    predictions: PairPredictions, flows: PairFlows, n_frames: int, threshold: float
) -> np.ndarray:
    """Moving regions of all frames.

    Args:
        predictions: Point maps of pairs.
        flows: Flow of the same pairs.
        n_frames: Frames of the video.
        threshold: In robust standard deviations; see `motion_masks`.

    Returns:
        (n_frames, h, w) bool, True = moving.
    """
    to_next, to_previous = _neighbour_flows(flows, n_frames)
    return motion_masks(
        disagreement(predictions, flows, n_frames=n_frames),
        threshold=threshold,
        to_next=to_next,
        to_previous=to_previous,
    )


def disagreement(
    predictions: PairPredictions, flows: PairFlows, *, n_frames: int | None = None
) -> np.ndarray:
    """Pixels between the flow that is seen and the one a static scene would show.

    All views are taken to have one focal length, the median of what the pairs say.

    Args:
        predictions: Point maps of pairs.
        flows: Flow of the same pairs, in the same order.
        n_frames: Frames of the video; the highest frame of a pair is the last if not given.

    Returns:
        (N, h, w) float32, the median over the pairs of a frame; nan where no pair knows.
    """
    if not np.array_equal(predictions.edges, flows.edges):
        raise ValueError("the flows are not of the predicted pairs")
    shape = (int(predictions.points.shape[2]), int(predictions.points.shape[3]))
    count = int(predictions.edges.max()) + 1 if n_frames is None else n_frames
    evidence = np.full((count, *shape), np.nan, np.float32)
    camera = _shared_camera(predictions, shape)
    if camera is None:
        return evidence
    views = _views(predictions, camera)
    for frame, of_frame in views.items():
        inverse_depth = _median([view.inverse_depth for view in of_frame])
        errors = [_error(view, inverse_depth, flows, camera) for view in of_frame]
        known = [error for error in errors if error is not None]
        if known:
            evidence[frame] = _median(known)
    return evidence


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
        points = predictions.points[row].float().numpy()
        confidence = predictions.confidence[row, 1].float().numpy()
        j_from_i = _second_pose(points[1], confidence, camera)
        if j_from_i is None:
            continue
        z_in_j = points[1] @ j_from_i[2, :3] + j_from_i[2, 3]
        for frame, backward, depth, pose in (
            (i, False, points[0, ..., 2], j_from_i),
            (j, True, z_in_j, np.linalg.inv(j_from_i)),
        ):
            view = _view((row, backward), depth, pose)
            if view is not None:
                views.setdefault(frame, []).append(view)
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


def _view(place: tuple[int, bool], depth: np.ndarray, pose: np.ndarray) -> _View | None:
    """A view in the unit of its median depth."""
    in_front = depth > 0
    if in_front.mean() < 0.1:
        return None
    unit = float(np.median(depth[in_front]))
    with np.errstate(divide="ignore"):
        inverse_depth = np.where(in_front, unit / depth, np.nan).astype(np.float32)
    pose = pose.copy()
    pose[:3, 3] /= unit
    return _View(*place, inverse_depth, pose)


def _error(
    view: _View, inverse_depth: np.ndarray, flows: PairFlows, camera: Pinhole
) -> np.ndarray | None:
    """(h, w) pixels that no small depth error explains; nan where not seen; None if too few."""
    flow = (flows.backward if view.backward else flows.forward)[view.row].astype(np.float32)
    valid = (flows.backward_valid if view.backward else flows.forward_valid)[view.row]
    valid = valid & np.isfinite(inverse_depth)
    rho = np.nan_to_num(inverse_depth, nan=1.0)
    step = _step(camera.shape)
    sample = np.s_[::step, ::step]
    chosen = valid[sample]
    if chosen.sum() < _LEAST_SAMPLES:
        return None
    rays_of_view = rays(camera.shape, camera.focal, camera.centre)
    pose = refine_pose(
        view.partner_from_view,
        np.concatenate([rays_of_view, rho[..., None]], -1)[sample][chosen].astype(np.float64),
        (pixel_grid(*camera.shape) + flow)[sample][chosen].astype(np.float64),
        camera,
    )
    farthest, nearest = _depth_range(rho)
    at_most, in_front = ego_flow(farthest, pose, camera.focal, camera.centre)
    at_least, also = ego_flow(nearest, pose, camera.focal, camera.centre)
    error = _off_segment(flow, at_most, at_least)
    return np.where(valid & in_front & also, error, np.nan).astype(np.float32)


def _depth_range(rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest inverse depth that a pixel may have.

    Flow and depth both bleed over depth edges, so the depths nearby are forgiven too.
    """
    side = 2 * max(1, round(_EDGE * max(rho.shape))) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    farthest = cv2.erode(rho, disc) * (1 - _DEPTH_TOLERANCE)
    nearest = cv2.dilate(rho, disc) * (1 + _DEPTH_TOLERANCE)
    return farthest, nearest


def _off_segment(flow: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(h, w) distance of the (h, w, 2) flow from the segment: depth moves a match along it."""
    along, miss = end - start, flow - start
    share = (miss * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-9)
    rest = miss - np.clip(share, 0, 1)[..., None] * along
    return np.asarray(np.hypot(rest[..., 0], rest[..., 1]))


def _median(maps: list[np.ndarray]) -> np.ndarray:
    """(h, w) median of the finite values; nan where there is none."""
    ordered = np.sort(np.stack(maps), 0)
    count = np.isfinite(ordered).sum(0)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(maps) - 1)[None], 0)[0]
    return np.asarray(0.5 * (low + high), np.float32)


def _neighbour_flows(flows: PairFlows, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, h, w, 2) flows to the next and the previous frame; nan where that pair is not there."""
    shape = (n_frames, *flows.forward.shape[1:])
    to_next, to_previous = np.full(shape, np.nan, np.float16), np.full(shape, np.nan, np.float16)
    for row, (i, j) in enumerate(flows.edges.tolist()):
        there, back = flows.forward[row], flows.backward[row]
        if j == i + 1:
            to_next[i], to_previous[j] = there, back
        elif j == i - 1:
            to_previous[i], to_next[j] = there, back
    return to_next, to_previous
