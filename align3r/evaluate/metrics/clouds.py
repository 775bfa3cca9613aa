"""Accuracy and completeness of point clouds."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from align3r.errors import SolveError
from align3r.evaluate.metrics.trajectory import Similarity, align_trajectory

_AT_ONCE = 1 << 18
_NEEDED = 3


def cloud_errors(
    gt: np.ndarray,
    pred: np.ndarray,
    *,
    normals: tuple[np.ndarray, np.ndarray] | None = None,
    within: float = 0.05,
) -> dict[str, float]:
    """How near a predicted cloud is to the true one and how much of that it covers.

    Points that are not finite do not count.

    Args:
        gt: (N, 3) true points.
        pred: (M, 3) predicted points in the same frame and unit.
        normals: Unit normals of both, (N, 3) and (M, 3).
        within: Distance of `completeness_ratio`, in the unit of the truth.

    Returns:
        `accuracy`, `accuracy_median`: distances from predicted points to the nearest true one.
        `completeness`, `completeness_median`: from true points to the nearest predicted one.
        `completeness_ratio`: part of the true points with a predicted one nearer than `within`.
        With normals `normals_accuracy`, `normals_completeness` and their medians: |cosine| between
        the normals of the points that were nearest. All nan if one of the clouds is empty.
    """
    gt_normals, pred_normals = normals if normals is not None else (None, None)
    gt, gt_normals = _finite(gt, gt_normals)
    pred, pred_normals = _finite(pred, pred_normals)
    to_gt, nearest_gt = _nearest(pred, gt)
    to_pred, nearest_pred = _nearest(gt, pred)
    out = {
        **_both("accuracy", to_gt),
        **_both("completeness", to_pred),
        "completeness_ratio": float((to_pred < within).mean()) if len(to_pred) else np.nan,
    }
    if gt_normals is not None and pred_normals is not None:
        out |= _both("normals_accuracy", _alike(pred_normals, gt_normals, nearest_gt))
        out |= _both("normals_completeness", _alike(gt_normals, pred_normals, nearest_pred))
    return out


def register_clouds(
    gt: np.ndarray, pred: np.ndarray, *, within: float = 0.1, rounds: int = 30
) -> Similarity:
    """Rigid point-to-point ICP from where the clouds are (Besl and McKay 1992).

    Args:
        gt: (N, 3) true points.
        pred: (M, 3) predicted points.
        within: Pairs farther apart than this do not count.
        rounds: At most so many; it ends when distances fall by less than 1e-6 of themselves.

    Returns:
        gt = rotation @ pred + translation; the scale is 1.

    Raises:
        SolveError: Fewer than three points are that near.
    """
    gt, pred = _finite(gt, None)[0], _finite(pred, None)[0]
    tree = cKDTree(gt) if len(gt) else None
    fit, before = Similarity(1.0, np.eye(3), np.zeros(3)), np.inf
    for _ in range(rounds):
        moved = pred @ fit.rotation.T + fit.translation
        distance, nearest = _query(tree, moved)
        near = distance <= within
        if near.sum() < _NEEDED:
            raise SolveError(
                f"only {int(near.sum())} of {len(pred)} points are within {within:g} of the truth",
                hint="align the clouds by scale and shift first, or allow a larger distance",
            )
        error = float(np.square(distance[near]).mean())
        if error >= before * (1 - 1e-6):
            break
        before = error
        fit = align_trajectory(gt[nearest[near]], pred[near], scale=1.0)
    return fit


def _finite(points: np.ndarray, normals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    kept = np.isfinite(points).all(axis=1)
    return points[kept], None if normals is None else np.asarray(normals, np.float64)[kept]


def _nearest(places: np.ndarray, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(cloud):
        return np.empty(0), np.empty(0, np.int64)
    return _query(cKDTree(cloud), places)


def _query(tree: cKDTree | None, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance and index of the nearest point of each place, a part of the places at a time."""
    distance, index = np.full(len(places), np.inf), np.zeros(len(places), np.int64)
    if tree is None:
        return distance, index
    for start in range(0, len(places), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distance[part], index[part] = tree.query(places[part])
    return distance, index


def _alike(normals: np.ndarray, others: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    if not len(nearest):
        return np.empty(0)
    return np.asarray(np.abs((normals * others[nearest]).sum(axis=1)))


def _both(name: str, values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {name: np.nan, f"{name}_median": np.nan}
    return {name: float(values.mean()), f"{name}_median": float(np.median(values))}
