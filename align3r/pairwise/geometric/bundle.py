"""Flow bundle adjustment: cameras, one focal length and an inverse depth per anchor.

Levenberg-Marquardt on the robust reprojection error; the inverse depths are eliminated (their
block of the normal matrix is diagonal), so a step solves for 6 N + 1 unknowns only, whose matrix
is a band with the focal length at its border: work and memory grow with the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.pairwise.geometric.arrow import POSE as _POSE
from align3r.pairwise.geometric.arrow import Arrow
from align3r.pairwise.geometric.observations import Observations

_LOCAL = 2 * _POSE + 1
"""Unknowns that an observation has a say in, but for its depth: two poses and the focal length."""


@dataclass(frozen=True)
class Cameras:
    """State of the adjustment."""

    cam_from_world: np.ndarray
    """(N, 4, 4)."""
    focal: float
    """Pixels."""
    centre: tuple[float, float]
    """Principal point, pixels."""
    inverse_depth: np.ndarray
    """(A,) of each anchor in its own frame."""


@dataclass(frozen=True)
class Adjustment:
    """What is free and how errors are weighed."""

    scale_px: float = 1.0
    """Errors beyond this lose their weight (Geman-McClure)."""
    free_pose: np.ndarray | None = None
    """(N,) bool; all but the first frame by default."""
    free_focal: bool = True
    free_translation: bool = True
    focal_prior: float = 0.0
    """Log focal expected by the weak prior; used when `focal_prior_weight` is above 0."""
    focal_prior_weight: float = 0.0


def skew(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3) matrices of the cross product."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def relative_poses(cameras: Cameras, obs: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (M, 3, 3) and translation (M, 3) of target_from_source of each observation."""
    blocks = obs.blocks
    source = np.array([i for i, _, _ in blocks], np.int64)
    target = np.array([j for _, j, _ in blocks], np.int64)
    count = [rows.stop - rows.start for _, _, rows in blocks]
    world_from_cam = np.linalg.inv(cameras.cam_from_world)
    target_from_source = cameras.cam_from_world[target] @ world_from_cam[source]
    of_each = np.repeat(target_from_source, count, axis=0)
    return of_each[:, :3, :3], of_each[:, :3, 3]


def anchor_rays(cameras: Cameras, obs: Observations) -> np.ndarray:
    """(M, 3) rays with z = 1 of the anchor of each observation."""
    xy = (obs.anchor_pixel[obs.anchor] - cameras.centre) / cameras.focal
    return np.concatenate([xy, np.ones((len(xy), 1))], 1)


def project(cameras: Cameras, obs: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (M, 2) in pixels and z (M,) of the anchors' points, scaled by inverse depth."""
    residual, depth = np.empty((len(obs.anchor), 2)), np.empty(len(obs.anchor))
    for rows, part in obs.parts:
        rotation, shift = relative_poses(cameras, part)
        point = np.einsum("mab,mb->ma", rotation, anchor_rays(cameras, part))
        point += cameras.inverse_depth[part.anchor, None] * shift
        z = np.maximum(point[:, 2], 1e-3)
        seen = cameras.focal * point[:, :2] / z[:, None] + np.asarray(cameras.centre)
        missed = seen - part.pixel
        missed[point[:, 2] < 1e-3] = 1e3
        residual[rows], depth[rows] = missed, point[:, 2]
    return residual, depth


def robust_weight(residual: np.ndarray, scale_px: float) -> np.ndarray:
    """(M,) Geman-McClure weights."""
    square = (residual**2).sum(-1) / scale_px**2
    return np.asarray(1.0 / (1.0 + square) ** 2)


def robust_cost(residual: np.ndarray, scale_px: float) -> float:
    """Sum of the Geman-McClure losses, in squared pixels."""
    square = (residual**2).sum(-1)
    return float((square / (1.0 + square / scale_px**2)).sum())


def adjust(
    cameras: Cameras,
    obs: Observations,
    options: Adjustment,
    *,
    steps: int = 20,
    on_step: Callable[[int], None] | None = None,
) -> Cameras:
    """Minimise the robust reprojection error.

    Args:
        cameras: Start.
        obs: Observations among frames that have a pose.
        options: What is free; error scale.
        steps: Most Levenberg-Marquardt steps.
        on_step: Called with the number of each step.

    Returns:
        The adjusted cameras; the frame that is not free keeps its pose.
    """
    damping = 1e-4
    cost = _cost(cameras, obs, options)
    for step in range(steps):
        system = _Normal(cameras, obs, options)
        improved = False
        for _ in range(6):
            trial = system.step(damping)
            trial_cost = _cost(trial, obs, options) if trial is not None else np.inf
            if trial is not None and trial_cost < cost:
                gain = (cost - trial_cost) / max(cost, 1e-12)
                cameras, cost, improved = trial, trial_cost, True
                damping = max(damping / 5, 1e-9)
                break
            damping *= 6
        if on_step is not None:
            on_step(step)
        if not improved or gain < 1e-5:
            break
    return cameras


def _cost(cameras: Cameras, obs: Observations, options: Adjustment) -> float:
    residual, _ = project(cameras, obs)
    prior = options.focal_prior_weight * (np.log(cameras.focal) - options.focal_prior) ** 2
    return robust_cost(residual, options.scale_px) + float(prior)


class _Normal:
    """The normal equations at one state, with the inverse depths eliminated."""

    def __init__(self, cameras: Cameras, obs: Observations, options: Adjustment) -> None:
        self._cameras, self._obs, self._options = cameras, obs, options
        n, n_anchor = obs.n_frames, len(obs.anchor_frame)
        # Frames that see the same anchor are within twice the reach of each other.
        self._told = Arrow.zeros(n, min(2 * obs.reach, max(n - 1, 0)))
        self._eliminated = Arrow.zeros(n, self._told.reach)
        self._a, self._gd = np.zeros(n_anchor), np.zeros(n_anchor)
        self._mixed = np.zeros((len(obs.anchor), _LOCAL), np.float32)
        for rows, part in obs.parts:
            self._gather(part, rows)

    def _gather(self, part: Observations, rows: slice) -> None:
        """Add what a few frames' anchors say."""
        residual, _ = project(self._cameras, part)
        jac_pose_i, jac_pose_j, jac_focal, jac_depth = _jacobians(self._cameras, part)
        root = np.sqrt(robust_weight(residual, self._options.scale_px))
        residual = residual * root[:, None]
        local = np.concatenate([jac_pose_i, jac_pose_j, jac_focal[..., None]], -1)
        local *= root[:, None, None]
        jac_depth = jac_depth * root[:, None]
        # The anchors of a frame are in one part, and follow each other.
        first, end = int(part.anchor.min()), int(part.anchor.max()) + 1
        at = part.anchor - first
        a = np.bincount(at, (jac_depth**2).sum(1), end - first)
        gd = np.bincount(at, (jac_depth * residual).sum(1), end - first)
        # A camera that only turns says nothing about any depth.
        told = a[a > 0]
        a = np.asarray(a + 1e-9 + (1e-6 * float(np.median(told)) if len(told) else 0.0))
        self._a[first:end], self._gd[first:end] = a, gd
        mixed = np.einsum("mk,mkc->mc", jac_depth, local)
        self._mixed[rows] = mixed
        per_frame: dict[int, list[tuple[int, slice]]] = {}
        for i, j, inside in part.blocks:
            block = local[inside].reshape(-1, _LOCAL)
            self._told.add_pair(i, j, block.T @ block, block.T @ residual[inside].reshape(-1))
            per_frame.setdefault(i, []).append((j, inside))
        for i, targets in per_frame.items():
            anchors, block = _frame_rows(part, targets, mixed)
            scaled = block / self._a[anchors, None]
            touched = np.array([i, *(j for j, _ in targets)])
            self._eliminated.add_frames(touched, block.T @ scaled, scaled.T @ self._gd[anchors])

    def step(self, damping: float) -> Cameras | None:
        """The damped Gauss-Newton step, applied; None if the system is not positive."""
        options = self._options
        prior = (0.0, 0.0)
        if options.focal_prior_weight > 0:
            miss = np.log(self._cameras.focal) - options.focal_prior
            prior = (options.focal_prior_weight, options.focal_prior_weight * float(miss))
        system = self._told.damped(damping).minus(self._eliminated, 1 / (1 + damping))
        solved = system.with_focal_prior(*prior).solve(
            self._free_poses(), free_focal=options.free_focal
        )
        if solved is None:
            return None
        poses, focal = solved
        moved = -self._gd
        for rows, part in self._obs.parts:
            mixed, first = self._mixed[rows], int(part.anchor.min())
            along = (mixed[:, :_POSE] * poses[part.source]).sum(1)
            along += (mixed[:, _POSE : 2 * _POSE] * poses[part.target]).sum(1)
            along += mixed[:, -1] * focal
            told = np.bincount(part.anchor - first, along)
            moved[first : first + len(told)] -= told
        depth_step = np.divide(
            moved, self._a * (1 + damping), out=np.zeros_like(moved), where=self._a > 0
        )
        return _moved(self._cameras, np.r_[poses.ravel(), focal], depth_step)

    def _free_poses(self) -> np.ndarray:
        """(N, 6) bool."""
        options, n = self._options, self._obs.n_frames
        pose = options.free_pose
        if pose is None:
            pose = np.arange(n) > 0
        parts = np.array([True] * 3 + [options.free_translation] * 3)
        return np.asarray(pose[:, None] & parts[None])


def _frame_rows(
    part: Observations, targets: list[tuple[int, slice]], mixed: np.ndarray
) -> tuple[slice, np.ndarray]:
    """The anchors of one frame, and their dense mixed block with the poses and the focal length."""
    rows = slice(targets[0][1].start, targets[-1][1].stop)
    start, stop = int(part.anchor[rows].min()), int(part.anchor[rows].max()) + 1
    block = np.zeros((stop - start, _POSE * (1 + len(targets)) + 1))
    for k, (_, inside) in enumerate(targets):
        at = part.anchor[inside] - start
        block[at, :_POSE] += mixed[inside, :_POSE]
        own = slice(_POSE * (k + 1), _POSE * (k + 2))
        block[at, own] += mixed[inside, _POSE : 2 * _POSE]
        block[at, -1] += mixed[inside, -1]
    return slice(start, stop), block


def _moved(cameras: Cameras, delta: np.ndarray, depth_step: np.ndarray) -> Cameras:
    poses = delta[:-1].reshape(-1, _POSE)
    motion = np.tile(np.eye(4), (len(poses), 1, 1))
    motion[:, :3, :3] = Rotation.from_rotvec(poses[:, :3]).as_matrix()
    motion[:, :3, 3] = poses[:, 3:]
    old = cameras.inverse_depth
    # An inverse depth may not jump through zero: half way to zero is the most it may lose.
    depth = np.where(old + depth_step < 0.5 * old, 0.5 * old, old + depth_step)
    return replace(
        cameras,
        cam_from_world=motion @ cameras.cam_from_world,
        focal=float(cameras.focal * np.exp(np.clip(delta[-1], -0.2, 0.2))),
        inverse_depth=np.maximum(depth, 1e-6),
    )


def _jacobians(
    cameras: Cameras, obs: Observations
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives by source pose, target pose, ln f and inverse depth.

    Shapes (M, 2, 6), (M, 2, 6), (M, 2), (M, 2). Poses move by left multiplication with
    exp(omega, v).
    """
    rotation, shift = relative_poses(cameras, obs)
    ray = anchor_rays(cameras, obs)
    depth = cameras.inverse_depth[obs.anchor]
    point = np.einsum("mab,mb->ma", rotation, ray) + depth[:, None] * shift
    z = np.maximum(point[:, 2], 1e-3)
    f = cameras.focal
    by_point = np.zeros((len(z), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = f / z
    by_point[:, :, 2] = -f * point[:, :2] / z[:, None] ** 2
    by_point_r = by_point @ rotation
    pose_j = np.concatenate([by_point @ -skew(point), depth[:, None, None] * by_point], -1)
    pose_i = np.concatenate([by_point_r @ skew(ray), -depth[:, None, None] * by_point_r], -1)
    flat = ray * np.array([1.0, 1.0, 0.0])
    focal = f * point[:, :2] / z[:, None] - np.einsum("mkc,mc->mk", by_point_r, flat)
    by_depth = np.einsum("mkc,mc->mk", by_point, shift)
    return pose_i, pose_j, focal, by_depth
