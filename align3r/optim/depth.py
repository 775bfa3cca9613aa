"""Depth and confidence of every pixel once the cameras and pair similarities are known."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from align3r.geometry.robust import weighted_median
from align3r.io.storage import Storage
from align3r.optim.sampling import Grid
from align3r.optim.state import Estimate
from align3r.optim.threads import for_each_frame
from align3r.types import PairPredictions

# Pixels of one view that no pair trusts still get the depth the pairs suggest.
FLOOR_WEIGHT = 1e-3
# Relative disagreement of the predictions of a pixel that halves its log confidence.
TOLERANCE = 0.1
REWEIGHTINGS = 6
# Observations that are looked at together: few enough for the cache, and a keyframe of a long video
# has dozens a pixel.
AT_ONCE = 2**18


def depth_along_rays(points: Tensor, rays: Tensor, weight: Tensor) -> Tensor:
    """Depth that minimises sum_k w_k |d r - y_k|: separable, convex, one unknown a pixel.

    Iteratively re-weighted from the weighted median of the projections onto the ray.

    Args:
        points: (K, 3, P) what K predictions say about the pixels, in the camera.
        rays: (3, P) with z = 1.
        weight: (K, P) > 0.

    Returns:
        (P,) depth.
    """
    square = rays.square().sum(0)
    along = (points * rays).sum(1) / square
    aside = (points.square().sum(1) - along.square() * square).clamp(min=0.0)
    depth = weighted_median(along, weight, dim=0)
    quiet = (1e-4 * depth.abs()).square() * square + 1e-20
    for _ in range(REWEIGHTINGS):
        pull = weight * (square * (depth - along).square() + aside + quiet).rsqrt()
        depth = (pull * along).sum(0) / pull.sum(0)
    return depth


def full_depth(
    predictions: PairPredictions,
    estimate: Estimate,
    centred: Tensor,
    *,
    storage: Storage | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and confidence at full size, view by view.

    The confidence is exp of the mean log confidence of the predictions, divided by
    1 + (s / 0.1)^2, where s is their median absolute log-depth disagreement with the result;
    1 where no prediction has a say.

    Args:
        predictions: All pairs.
        estimate: Cameras and pair similarities.
        centred: (N, 2, h * w) pixel minus principal point.
        storage: Gives out the two arrays; None: main memory.

    Returns:
        (N, h, w) float32 depth and (N, h, w) float32 confidence, >= 1.
    """
    n_frames = len(estimate.focal)
    pairs_of = np.asarray(predictions.edges).reshape(-1)
    storage, shape = storage or Storage(), (n_frames, *predictions.points.shape[2:4])
    depth = storage.empty("solution.depth", shape, np.float32)
    confidence = storage.empty("solution.confidence", shape, np.float32)

    def one(frame: int) -> None:
        seen = np.flatnonzero(pairs_of == frame)
        rays = centred[frame] / float(estimate.focal[frame])
        rays = torch.cat([rays, torch.ones_like(rays[:1])])
        matrix = _cam_from_pair(estimate, frame, seen // 2)
        found = _fuse(*_observations(predictions, seen), matrix.to(rays), rays)
        for whole, values in zip((depth, confidence), found, strict=True):
            whole[frame] = values.view(shape[1:]).cpu().numpy()

    for_each_frame(one, n_frames)
    return depth, confidence


def _fuse(
    points: Tensor, confidence: Tensor, matrix: Tensor, rays: Tensor
) -> tuple[Tensor, Tensor]:
    """(P,) depth and confidence of one view from its K predictions, points (K, P, 3)."""
    count = max(1, AT_ONCE // len(points))
    some = [slice(start, start + count) for start in range(0, rays.shape[1], count)]

    def seen(at: slice) -> tuple[Tensor, Tensor, Tensor]:
        return _in_camera(points[:, at], confidence[:, at], matrix, rays[:, at])

    depth = torch.cat([depth_along_rays(*seen(at)) for at in some])
    depth = depth.clamp(min=1e-3 * float(depth.median().clamp(min=1e-12)))
    spread = torch.cat([_disagreement(*seen(at), depth[at]) for at in some])
    strength = _log_confidence(confidence).mean(0) / (1 + (spread / TOLERANCE).square())
    return depth, strength.exp()


def _in_camera(
    points: Tensor, confidence: Tensor, matrix: Tensor, rays: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(K, 3, P) points in the camera, (3, P) their rays, and (K, P) their weights."""
    points = torch.baddbmm(matrix[:, :, 3:], matrix[:, :, :3], points.mT.float())
    weight = _log_confidence(confidence)
    behind = (points * rays).sum(1) <= 0
    return points, rays, torch.where(behind, 1e-6 * weight + 1e-9, weight + FLOOR_WEIGHT)


def _log_confidence(confidence: Tensor) -> Tensor:
    """(K, P) float32, >= 0."""
    return confidence.float().clamp(min=1.0).log()


def _observations(predictions: PairPredictions, seen: np.ndarray) -> tuple[Tensor, Tensor]:
    """(K, P, 3) points and (K, P) confidence of the predictions about one view."""
    take = torch.from_numpy(seen).to(predictions.points.device)
    edge, side = take // 2, take % 2
    return predictions.points[edge, side].flatten(1, 2), predictions.confidence[edge, side].flatten(
        1
    )


def _cam_from_pair(estimate: Estimate, frame: int, edges: np.ndarray) -> Tensor:
    """(K, 3, 4) similarities from the pairs to one camera."""
    cam_from_world = torch.linalg.inv(estimate.world_from_cam[frame].double())
    pair = estimate.world_from_pair[torch.from_numpy(edges)].double()
    matrix = cam_from_world[:3, :3] @ pair
    matrix[:, :, 3] += cam_from_world[:3, 3]
    return torch.as_tensor(matrix)


def _disagreement(points: Tensor, rays: Tensor, weight: Tensor, depth: Tensor) -> Tensor:
    """(P,) weighted median of |ln(depth of the prediction / depth)|."""
    along = (points * rays).sum(1) / rays.square().sum(0)
    ratio = (along.clamp(min=1e-9) / depth).log().abs()
    return weighted_median(ratio, weight, dim=0)


def between_samples(values: np.ndarray, grid: Grid) -> np.ndarray:
    """(h, w) float32 smooth field through values (P,) at the pixels of the grid."""
    cells = values.reshape(grid.cells).astype(np.float32)
    if grid.full:
        return cells
    # A cell that fell on an outlier of the predictions takes what its neighbours have.
    calm = cv2.medianBlur(cells, 3) if min(grid.cells) >= 3 else cells
    return cv2.resize(calm, grid.size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
