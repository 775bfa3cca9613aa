"""A world of points and cameras, exactly known, as the geometric predictor would observe it."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.pairwise.geometric.bundle import Cameras, project
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.twoview import TwoView, two_view

SHAPE = (96, 128)
CENTRE = (63.5, 47.5)
FOCAL = 118.0


def anchors(n_frames: int, spacing: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame (A,) and pixel (A, 2) of the anchors on a grid."""
    v, u = np.meshgrid(
        np.arange(spacing // 2, SHAPE[0], spacing),
        np.arange(spacing // 2, SHAPE[1], spacing),
        indexing="ij",
    )
    grid = np.stack([u.ravel(), v.ravel()], -1).astype(float)
    return np.repeat(np.arange(n_frames), len(grid)), np.tile(grid, (n_frames, 1))


def path(n_frames: int, rng: np.random.Generator, *, step: float = 0.12) -> np.ndarray:
    """(N, 4, 4) cam_from_world of a camera that moves sideways and looks around."""
    poses = np.tile(np.eye(4), (n_frames, 1, 1))
    for k in range(1, n_frames):
        poses[k, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.03, 3)).as_matrix()
        poses[k, :3, 3] = [-step * k, 0.02 * np.sin(k), 0.03 * k]
    return poses


def world(
    n_frames: int = 5,
    *,
    spacing: int = 12,
    gap: int = 3,
    noise_px: float = 0.0,
    outliers: float = 0.0,
    step: float = 0.12,
    seed: int = 0,
) -> tuple[Cameras, Observations]:
    """True cameras and what is seen, with some matches anywhere."""
    rng = np.random.default_rng(seed)
    frame, pixel = anchors(n_frames, spacing)
    inverse_depth = rng.uniform(0.2, 0.8, len(frame))
    cameras = Cameras(path(n_frames, rng, step=step), FOCAL, CENTRE, inverse_depth)
    per_frame = len(frame) // n_frames
    pairs = [(i, j) for i in range(n_frames) for j in range(n_frames) if 0 < abs(i - j) <= gap]
    anchor = np.concatenate([i * per_frame + np.arange(per_frame) for i, _ in pairs])
    target = np.repeat([j for _, j in pairs], per_frame)
    blank = Observations(frame, pixel, anchor, target, np.zeros((len(anchor), 2)), n_frames)
    seen, _ = project(cameras, blank)
    seen = seen + rng.normal(0, noise_px, seen.shape) if noise_px else seen
    wild = rng.uniform(size=len(seen)) < outliers
    seen[wild] = rng.uniform((0, 0), SHAPE[::-1], (int(wild.sum()), 2))
    return cameras, Observations(frame, pixel, anchor, target, seen, n_frames)


def two_views(obs: Observations) -> list[TwoView]:
    """The two-view relations of all pairs i < j."""
    views = []
    for i, j, rows in obs.blocks:
        if i < j:
            source = obs.anchor_pixel[obs.anchor[rows]] - CENTRE
            views.append(two_view(i, j, source, obs.pixel[rows] - CENTRE, noise_px=1.0))
    return views


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Largest angle between the rotations of two (..., 4, 4) or (..., 3, 3) stacks."""
    difference = np.swapaxes(a[..., :3, :3], -1, -2) @ b[..., :3, :3]
    return float(np.degrees(Rotation.from_matrix(difference.reshape(-1, 3, 3)).magnitude()).max())


def shape_error(cam_from_world: np.ndarray, true_cam_from_world: np.ndarray) -> float:
    """Largest position error relative to the length of the path, after scaling, camera 0 equal."""
    found, true = np.linalg.inv(cam_from_world), np.linalg.inv(true_cam_from_world)
    a = (np.linalg.inv(found[0]) @ found)[:, :3, 3]
    b = (np.linalg.inv(true[0]) @ true)[:, :3, 3]
    scale = (a * b).sum() / (a * a).sum()
    return float(np.linalg.norm(scale * a - b, axis=1).max() / np.linalg.norm(b, axis=1).max())
