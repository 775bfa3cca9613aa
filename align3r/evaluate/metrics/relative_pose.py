"""Errors of relative poses between pairs of views: RRA, RTA and areas under recall curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from align3r.errors import UsageError
from align3r.evaluate.metrics.pose_angles import angles_between, angles_of_rotations

PairConvention = Literal["between_cameras", "first_camera"]

_NO_LENGTH = 1e-12


def pair_errors(
    gt_cam_from_world: np.ndarray,
    est_cam_from_world: np.ndarray,
    *,
    convention: PairConvention = "between_cameras",
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the relative poses of all pairs i < j of a set of views.

    Args:
        gt_cam_from_world: (N, 4, 4) true poses.
        est_cam_from_world: (N, 4, 4) estimated poses; neither scale nor world need to agree.
        convention: `between_cameras`: T_i T_j^-1, as PoseDiffusion and today's VGGT compare.
            `first_camera`: T_i^-1 T_j of poses relative to the first camera, as older VGGT, DA3
            and Pi3 do. The angles of rotations agree, those of translations do not.

    Returns:
        Rotation errors, (P,) degrees in [0, 180], and translation errors, (P,) degrees in
        [0, 90]: the angle between directions whose sign is not known; 90 where one of the two
        has no length, inf where a pose is not finite. Pairs in the order of `np.triu_indices`.

    Raises:
        ValueError: The arrays do not fit.
        UsageError: A convention that does not exist.
    """
    gt, est = (np.asarray(p, dtype=np.float64) for p in (gt_cam_from_world, est_cam_from_world))
    if gt.shape != est.shape or gt.shape[1:] != (4, 4):
        raise ValueError(f"poses {gt.shape} and {est.shape} are not two lists of N 4x4 matrices")
    if convention not in ("between_cameras", "first_camera"):
        raise UsageError(
            f"pair convention {convention!r} does not exist",
            hint="between_cameras or first_camera",
        )
    lost = np.asarray(~(np.isfinite(gt) & np.isfinite(est)).all(axis=(1, 2)))
    if convention == "first_camera" and lost[:1].any():
        lost[:] = True
    gt, est = (np.where(lost[:, None, None], np.eye(4), p) for p in (gt, est))
    i, j = np.triu_indices(len(gt), k=1)
    if convention == "first_camera":
        gt, est = (p @ np.linalg.inv(p[:1]) for p in (gt, est))
        true, found = (np.linalg.inv(p[i]) @ p[j] for p in (gt, est))
    else:
        true, found = (p[i] @ np.linalg.inv(p[j]) for p in (gt, est))
    turn = np.swapaxes(true[:, :3, :3], 1, 2) @ found[:, :3, :3]
    rotation = np.degrees(angles_of_rotations(turn))
    translation = _direction_errors(true[:, :3, 3], found[:, :3, 3])
    translation[_has_no_length(true[:, :3, 3]) | _has_no_length(found[:, :3, 3])] = 90.0
    unknown = lost[i] | lost[j]
    return np.where(unknown, np.inf, rotation), np.where(unknown, np.inf, translation)


def two_view_error(
    gt_second_from_first: np.ndarray, rotation: np.ndarray, translation: np.ndarray
) -> tuple[float, float]:
    """Rotation and translation error of one relative pose in degrees, as LoFTR has them.

    The translation is a direction whose sign is not known: its error is in [0, 90], and 0 where
    the true translation has no length. The error of the pose is the larger of the two.

    Args:
        gt_second_from_first: (4, 4).
        rotation: (3, 3) estimate.
        translation: (3,) estimate, any length.
    """
    gt = np.asarray(gt_second_from_first, dtype=np.float64)
    turn = np.degrees(angles_of_rotations(np.asarray(rotation, dtype=np.float64).T @ gt[:3, :3]))
    if _has_no_length(gt[:3, 3]):
        return float(turn), 0.0
    return float(turn), float(_direction_errors(gt[:3, 3], np.asarray(translation)))


def share_below(errors: np.ndarray, threshold_deg: float) -> float:
    """RRA@t or RTA@t: the part of (P,) errors below a threshold; nan without pairs."""
    return float((np.asarray(errors) < threshold_deg).mean()) if len(errors) else np.nan


def _binned(errors: np.ndarray, edges: np.ndarray) -> float:
    counts = np.histogram(errors, bins=edges)[0]
    return float(np.cumsum(counts / len(errors)).mean())


def _under_recall(errors: np.ndarray, top: int) -> float:
    """Trapezoids under the curve of recall against error, cut at the top."""
    errors = np.sort(errors)
    x = np.concatenate([[0.0], errors])
    recall = np.arange(len(x)) / len(errors)
    last = int(np.searchsorted(x, top))
    x = np.append(x[:last], top)
    recall = np.append(recall[:last], recall[last - 1])
    return float((np.diff(x) * (recall[1:] + recall[:-1])).sum() / (2 * top))


AREAS: dict[str, Callable[[np.ndarray, int], float]] = {
    "degrees": lambda e, top: _binned(e, np.arange(top + 1)),
    "histc": lambda e, top: _binned(e, np.linspace(0, top, top + 2)),
    "recall": _under_recall,
}
"""Areas under the recall curve up to a threshold: bins of one degree (VGGT), `top` + 1 bins
(PoseDiffusion), trapezoids between the errors (SuperGlue, LoFTR; ScanNet-1500)."""


def area_under_recall(errors: np.ndarray, top: int, *, rule: str = "degrees") -> float:
    """AUC@top of (P,) pose errors in degrees, in [0, 1].

    Args:
        errors: The larger of the rotation and the translation error of each pair; inf or nan
            where none was found.
        top: Threshold in whole degrees.
        rule: One of `AREAS`.

    Returns:
        nan without pairs.

    Raises:
        UsageError: A rule that does not exist.
    """
    if rule not in AREAS:
        raise UsageError(
            f"rule {rule!r} for areas does not exist", hint=f"one of {', '.join(AREAS)}"
        )
    errors = np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=np.inf, posinf=np.inf)
    return AREAS[rule](errors, top) if len(errors) else np.nan


def relative_pose_scores(
    rotation_deg: np.ndarray,
    translation_deg: np.ndarray,
    *,
    thresholds: Iterable[int] = (5, 15, 30),
    areas: Iterable[int] = (30,),
    rule: str = "degrees",
) -> dict[str, float]:
    """`rra@t`, `rta@t` for each threshold and `auc@t` for each area, of (P,) errors of pairs."""
    out = {}
    for t in thresholds:
        out[f"rra@{t}"] = share_below(rotation_deg, t)
        out[f"rta@{t}"] = share_below(translation_deg, t)
    worst = np.maximum(rotation_deg, translation_deg)
    return out | {f"auc@{t}": area_under_recall(worst, t, rule=rule) for t in areas}


def _direction_errors(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(...) degrees in [0, 90] between lines along (..., 3) vectors."""
    angle = np.degrees(angles_between(true, found))
    return np.asarray(np.minimum(angle, 180.0 - angle))


def _has_no_length(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(vectors, axis=-1) <= _NO_LENGTH)
