"""Errors of trajectories, depth and masks. Pure functions on float64 numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

DepthAlignment = Literal["median", "ratio", "l1", "none"]
DELTA1 = 1.25


class Similarity(NamedTuple):
    """gt = scale * rotation @ est + translation."""

    scale: float
    rotation: np.ndarray
    """(3, 3)."""
    translation: np.ndarray
    """(3,)."""


def align_trajectory(gt: np.ndarray, est: np.ndarray, *, scale: float | None = None) -> Similarity:
    """The similarity that brings estimated positions closest to the true ones (Umeyama 1991).

    Positions on a line fix the rotation only up to a turn about it; every such rotation has the
    same error, and one of them is returned.

    Args:
        gt: (N, 3) true positions.
        est: (N, 3) estimated positions.
        scale: Given scale; None to solve for it.

    Raises:
        ValueError: The arrays do not fit, are not finite or empty; or the scale is to be solved
            for and one of the two trajectories stands still.
    """
    gt, est = _positions(gt, est)
    gt_mean, est_mean = gt.mean(0), est.mean(0)
    gt_centred, est_centred = gt - gt_mean, est - est_mean
    u, singular, vt = np.linalg.svd(gt_centred.T @ est_centred / len(gt))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    if scale is None:
        if min(_spread(gt), _spread(est)) <= 1e-9 * (1.0 + np.abs(gt).max()):
            raise ValueError("a trajectory that stands still fixes no scale; give one")
        scale = float((singular * signs).sum() / est_centred.var(axis=0).sum())
    return Similarity(scale, rotation, gt_mean - scale * rotation @ est_mean)


def trajectory_errors(
    gt_world_from_cam: np.ndarray, est_world_from_cam: np.ndarray, *, scale: float | None = None
) -> dict[str, float]:
    """Errors of a trajectory after the best similarity.

    Args:
        gt_world_from_cam: (N, 4, 4) true poses.
        est_world_from_cam: (N, 4, 4) estimated poses of the same frames.
        scale: Given scale from estimated to true lengths; None to solve for it.

    Returns:
        `ate_m`: root mean square of the position errors. `rpe_trans_m`, `rpe_rot_deg`: root mean
        square of the errors of the motion from each frame to the next (0 for one frame).
        `scale`: the scale used. Lengths are in the unit of the truth.

    Raises:
        ValueError: As `align_trajectory`.
    """
    gt = np.asarray(gt_world_from_cam, dtype=np.float64)
    est = np.asarray(est_world_from_cam, dtype=np.float64)
    fit = align_trajectory(gt[:, :3, 3], est[:, :3, 3], scale=scale)
    aligned = est.copy()
    aligned[:, :3, :3] = fit.rotation @ est[:, :3, :3]
    aligned[:, :3, 3] = fit.scale * est[:, :3, 3] @ fit.rotation.T + fit.translation
    position_errors = np.linalg.norm(aligned[:, :3, 3] - gt[:, :3, 3], axis=1)
    translation_errors, rotation_errors = _relative_errors(gt, aligned)
    return {
        "ate_m": _rms(position_errors),
        "rpe_trans_m": _rms(translation_errors),
        "rpe_rot_deg": _rms(np.degrees(rotation_errors)),
        "scale": fit.scale,
    }


def path_length(world_from_cam: np.ndarray) -> float:
    """Length of the way of (N, 4, 4) cameras, in the unit of their world."""
    return float(np.linalg.norm(np.diff(world_from_cam[:, :3, 3], axis=0), axis=1).sum())


def depth_errors(
    gt: np.ndarray,
    pred: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    align: DepthAlignment | float = "median",
) -> dict[str, float]:
    """Errors of depth over all pixels that have a true depth, pooled, with one scale for all.

    A pixel without a prediction (nan, inf, zero or negative) counts as a prediction of depth 0:
    a relative error of 1, outside delta1. It has no say in the scale.

    Args:
        gt: True z-depth of any shape; nan, inf or <= 0 where there is none.
        pred: Predicted z-depth, same shape.
        mask: Same shape, bool; only these pixels count.
        align: How the scale is found: `median` (ratio of the lower medians), `ratio` (lower
            median of the ratios), `l1` (least sum of absolute errors, exact), `none`; or the
            scale itself.

    Returns:
        `abs_rel`, `delta1` (part of the pixels within a factor of 1.25), `rmse` (unit of the
        truth), `scale`, `pixels`. All nan but `pixels` when there is nothing to compare.

    Raises:
        ValueError: The shapes do not fit.
    """
    if gt.shape != pred.shape or (mask is not None and mask.shape != gt.shape):
        raise ValueError(f"true depth {gt.shape}, prediction {pred.shape}: shapes differ")
    counts = np.isfinite(gt) & (gt > 0)
    if mask is not None:
        counts &= mask
    g, p = gt[counts].astype(np.float64), pred[counts].astype(np.float64)
    known = np.isfinite(p) & (p > 0)
    p = np.where(known, p, 0.0)
    if not len(g):
        return {"abs_rel": np.nan, "delta1": np.nan, "rmse": np.nan, "scale": np.nan, "pixels": 0}
    scale = _DEPTH_SCALES[align](g[known], p[known]) if isinstance(align, str) else float(align)
    p = p * (scale if known.any() else 0.0)
    # A factor of 1.25 either way, written without a division by a missing prediction.
    within = (p < DELTA1 * g) & (g < DELTA1 * p)
    return {
        "abs_rel": float((np.abs(p - g) / g).mean()),
        "delta1": float(within.mean()),
        "rmse": _rms(p - g),
        "scale": scale,
        "pixels": len(g),
    }


def mask_iou(gt: np.ndarray, pred: np.ndarray) -> float:
    """Intersection over union of two bool arrays, pooled over all their pixels.

    1 if both are empty.

    Raises:
        ValueError: The shapes differ.
    """
    if gt.shape != pred.shape:
        raise ValueError(f"true mask {gt.shape}, predicted mask {pred.shape}: shapes differ")
    union = int((gt | pred).sum())
    return float((gt & pred).sum() / union) if union else 1.0


def _positions(gt: np.ndarray, est: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gt, est = np.asarray(gt, dtype=np.float64), np.asarray(est, dtype=np.float64)
    if gt.shape != est.shape or gt.ndim != 2 or gt.shape[1] != 3 or not len(gt):
        raise ValueError(f"positions {gt.shape} and {est.shape} are not two lists of N >= 1 points")
    if not (np.isfinite(gt).all() and np.isfinite(est).all()):
        raise ValueError("positions are not finite")
    return gt, est


def _spread(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - points.mean(0), axis=1).max())


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else 0.0


def _relative_errors(gt: np.ndarray, est: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length and angle (radians) of the error of each motion from frame to frame, (N - 1,)."""
    gt_motion = np.linalg.inv(gt[:-1]) @ gt[1:]
    est_motion = np.linalg.inv(est[:-1]) @ est[1:]
    error = np.linalg.inv(gt_motion) @ est_motion
    r = error[:, :3, :3]
    axis = np.stack(
        [r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1
    )
    # atan2 keeps small angles that arccos of the trace would round away.
    trace = r[:, 0, 0] + r[:, 1, 1] + r[:, 2, 2]
    angle = np.arctan2(np.linalg.norm(axis, axis=1), trace - 1.0)
    return np.linalg.norm(error[:, :3, 3], axis=1), angle


def _lower_median(values: np.ndarray) -> float:
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def _median_scale(g: np.ndarray, p: np.ndarray) -> float:
    return _lower_median(g) / _lower_median(p) if len(p) else np.nan


def _l1_scale(g: np.ndarray, p: np.ndarray) -> float:
    """argmin_s sum |s p - g|: the median of g / p with weights p."""
    if not len(p):
        return np.nan
    ratio = g / p
    order = np.argsort(ratio)
    weight = np.cumsum(p[order])
    return float(ratio[order][np.searchsorted(weight, 0.5 * weight[-1])])


_DEPTH_SCALES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "median": _median_scale,
    "ratio": lambda g, p: _lower_median(g / p) if len(p) else np.nan,
    "l1": _l1_scale,
    "none": lambda _g, _p: 1.0,
}
