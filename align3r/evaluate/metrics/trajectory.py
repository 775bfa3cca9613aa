"""Errors of camera trajectories: ATE and RPE after the best similarity, on float64 poses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from align3r.errors import SolveError, UsageError
from align3r.evaluate.metrics.pose_angles import angles_of_rotations

TrajectoryAlignment = Literal["sim3", "se3", "scale", "none"]

_STANDS_STILL = 1e-9


class Similarity(NamedTuple):
    """gt = scale * rotation @ est + translation."""

    scale: float
    rotation: np.ndarray
    """(3, 3)."""
    translation: np.ndarray
    """(3,)."""

    def apply(self, world_from_cam: np.ndarray) -> np.ndarray:
        """(N, 4, 4) poses moved; their rotations stay rotations."""
        out = np.array(world_from_cam, dtype=np.float64)
        out[:, :3, :3] = self.rotation @ out[:, :3, :3]
        out[:, :3, 3] = self.scale * out[:, :3, 3] @ self.rotation.T + self.translation
        return out


@dataclass(frozen=True)
class TrajectoryResiduals:
    """The error of every pose and of every motion, after the alignment."""

    position: np.ndarray
    """(N,) distances, in the unit of the truth."""
    translation: np.ndarray
    """(M,) lengths of the errors of motions, in the unit of the truth."""
    rotation_deg: np.ndarray
    """(M,) angles of the errors of motions."""
    fit: Similarity


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "rmse": lambda e: float(np.sqrt(np.mean(np.square(e)))),
    "mean": lambda e: float(np.mean(e)),
    "median": lambda e: float(np.median(e)),
    "std": lambda e: float(np.std(e)),
    "min": lambda e: float(np.min(e)),
    "max": lambda e: float(np.max(e)),
    "sse": lambda e: float(np.sum(np.square(e))),
}
"""What evo prints of a list of errors."""


def statistics(errors: np.ndarray) -> dict[str, float]:
    """Every one of `STATISTICS` of (n,) errors; all nan if there are none."""
    return {name: of(errors) if len(errors) else np.nan for name, of in STATISTICS.items()}


def align_trajectory(
    gt: np.ndarray,
    est: np.ndarray,
    *,
    scale: float | None = None,
    refuse_lines: bool = False,
) -> Similarity:
    """The similarity that brings estimated positions closest to the true ones (Umeyama 1991).

    Positions on a line fix the rotation only up to a turn about it; every such rotation has the
    same error, and one of them is returned.

    Args:
        gt: (N, 3) true positions.
        est: (N, 3) estimated positions.
        scale: Given scale; None to solve for it.
        refuse_lines: Refuse positions on a line, as evo does, whose protocols leave such
            sequences out.

    Raises:
        ValueError: The arrays do not fit or are empty.
        SolveError: Positions are not finite; or the scale is to be solved for and one of the two
            trajectories stands still; or one is on a line, and those are refused.
    """
    gt, est = _positions(gt, est)
    gt_mean, est_mean = gt.mean(0), est.mean(0)
    gt_centred, est_centred = gt - gt_mean, est - est_mean
    u, singular, vt = np.linalg.svd(gt_centred.T @ est_centred / len(gt))
    if refuse_lines and (singular > np.finfo(np.float64).eps).sum() < 2:
        raise SolveError(
            f"the {len(gt)} positions are on a line or in one place, which fixes no rotation",
            hint="measure the sequence without refusing lines, or leave it out",
        )
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    if scale is None:
        if any(_spread(p) <= _STANDS_STILL * (1.0 + np.abs(gt).max()) for p in (gt, est)):
            raise SolveError(
                f"a trajectory of {len(gt)} poses that stands still fixes no scale",
                hint="give the scale, for example that of the depth",
            )
        scale = float((singular * signs).sum() / est_centred.var(axis=0).sum())
    return Similarity(scale, rotation, gt_mean - scale * rotation @ est_mean)


def trajectory_residuals(
    gt_world_from_cam: np.ndarray,
    est_world_from_cam: np.ndarray,
    *,
    align: TrajectoryAlignment = "sim3",
    scale: float | None = None,
    delta: int = 1,
    all_pairs: bool = True,
    refuse_lines: bool = False,
) -> TrajectoryResiduals:
    """The errors of each pose and of each motion, as evo defines them.

    Args:
        gt_world_from_cam: (N, 4, 4) true poses.
        est_world_from_cam: (N, 4, 4) estimated poses of the same frames.
        align: `sim3`; `se3` (scale 1); `scale` (the scale of sim3 alone, about the origin of the
            estimate); `none`.
        scale: Given scale from estimated to true lengths instead of a solved one.
        delta: Frames from the first to the second pose of a motion.
        all_pairs: Motions start at every frame; otherwise each starts where the last ended.
        refuse_lines: As in `align_trajectory`.

    Raises:
        ValueError: The arrays do not fit; a delta below 1.
        UsageError: An alignment that does not exist.
        SolveError: As `align_trajectory`.
    """
    gt = np.asarray(gt_world_from_cam, dtype=np.float64)
    est = np.asarray(est_world_from_cam, dtype=np.float64)
    if delta < 1:
        raise ValueError(f"motions over {delta} frames: at least 1 is needed")
    fit = _fit(gt, est, align, scale=scale, refuse_lines=refuse_lines)
    aligned = fit.apply(est)
    start = np.arange(0, len(gt) - delta, 1 if all_pairs else delta)
    gt_motion, est_motion = (_inverse(p[start]) @ p[start + delta] for p in (gt, aligned))
    error = _inverse(gt_motion) @ est_motion
    return TrajectoryResiduals(
        position=np.linalg.norm(aligned[:, :3, 3] - gt[:, :3, 3], axis=1),
        translation=np.linalg.norm(error[:, :3, 3], axis=1),
        rotation_deg=np.degrees(angles_of_rotations(error[:, :3, :3])),
        fit=fit,
    )


def trajectory_errors(
    gt_world_from_cam: np.ndarray,
    est_world_from_cam: np.ndarray,
    *,
    align: TrajectoryAlignment = "sim3",
    scale: float | None = None,
    refuse_lines: bool = False,
) -> dict[str, float]:
    """ATE and RPE of a trajectory, as tables print them.

    Args:
        gt_world_from_cam: (N, 4, 4) true poses.
        est_world_from_cam: (N, 4, 4) estimated poses of the same frames.
        align: As in `trajectory_residuals`.
        scale: Given scale from estimated to true lengths; None to solve for it.
        refuse_lines: As in `align_trajectory`.

    Returns:
        `ate_m`: root mean square of the position errors. `rpe_trans_m`, `rpe_rot_deg`: root mean
        square of the errors of the motion from each frame to the next (nan for one frame).
        `scale`: the scale used. Lengths are in the unit of the truth.

    Raises:
        ValueError: The arrays do not fit.
        SolveError: As `align_trajectory`.
    """
    found = trajectory_residuals(
        gt_world_from_cam, est_world_from_cam, align=align, scale=scale, refuse_lines=refuse_lines
    )
    return {
        "ate_m": statistics(found.position)["rmse"],
        "rpe_trans_m": statistics(found.translation)["rmse"],
        "rpe_rot_deg": statistics(found.rotation_deg)["rmse"],
        "scale": found.fit.scale,
    }


def path_length(world_from_cam: np.ndarray) -> float:
    """Length of the way of (N, 4, 4) cameras, in the unit of their world."""
    return float(np.linalg.norm(np.diff(world_from_cam[:, :3, 3], axis=0), axis=1).sum())


def _fit(
    gt: np.ndarray,
    est: np.ndarray,
    align: TrajectoryAlignment,
    *,
    scale: float | None,
    refuse_lines: bool,
) -> Similarity:
    nowhere = Similarity(1.0 if scale is None else scale, np.eye(3), np.zeros(3))
    if align == "none" or (align == "scale" and scale is not None):
        _positions(gt[:, :3, 3], est[:, :3, 3])
        return nowhere
    if align not in ("sim3", "se3", "scale"):
        raise UsageError(
            f"alignment of trajectories {align!r} does not exist",
            hint="sim3, se3, scale or none",
        )
    given = 1.0 if align == "se3" and scale is None else scale
    fit = align_trajectory(gt[:, :3, 3], est[:, :3, 3], scale=given, refuse_lines=refuse_lines)
    return nowhere._replace(scale=fit.scale) if align == "scale" else fit


def _inverse(poses: np.ndarray) -> np.ndarray:
    """Of (N, 4, 4) rigid poses."""
    out = np.tile(np.eye(4), (len(poses), 1, 1))
    out[:, :3, :3] = np.swapaxes(poses[:, :3, :3], 1, 2)
    out[:, :3, 3] = -(out[:, :3, :3] @ poses[:, :3, 3:])[..., 0]
    return out


def _positions(gt: np.ndarray, est: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gt, est = np.asarray(gt, dtype=np.float64), np.asarray(est, dtype=np.float64)
    if gt.shape != est.shape or gt.ndim != 2 or gt.shape[1] != 3 or not len(gt):
        raise ValueError(f"positions {gt.shape} and {est.shape} are not two lists of N >= 1 points")
    for name, points in (("true", gt), ("estimated", est)):
        lost = int((~np.isfinite(points).all(axis=1)).sum())
        if lost:
            raise SolveError(
                f"{lost} of {len(gt)} {name} positions are not finite",
                hint="leave these frames out of both trajectories",
            )
    return gt, est


def _spread(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - points.mean(0), axis=1).max())
