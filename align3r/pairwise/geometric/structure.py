"""From observations to cameras: start pair, one frame after the other, joint adjustment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from align3r.pairwise.geometric.bundle import Adjustment, Cameras, adjust, project, robust_cost
from align3r.pairwise.geometric.growth import Grower
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.resection import LEAST_POINTS
from align3r.pairwise.geometric.starts import Start, start_pairs
from align3r.pairwise.geometric.triangulation import with_fresh_depth
from align3r.pairwise.geometric.twoview import TwoView
from align3r.parallel import in_threads

_TRIAL_FRAMES = 16
_TRIAL_PAIRS = 2
_TRIAL_FOCALS = (0.8, 1.0, 1.25)
_TRIAL_ANCHORS = 100
_TRIAL_SCALE_PX = 2.0
_ROUGH_EVERY = 3
_ROUGH_LEAST = 300
"""Anchors a frame from which on a third of them is enough for rough cameras."""
_LONG_FRAMES = 100
_LAST_STEPS = (15, 60)
"""Most steps of the last adjustment: a long path straightens slowly."""
_SUPPORT_PX = 3.0
_LEAST_SUPPORT = 0.2


@dataclass(frozen=True)
class Structure:
    """Cameras of the frames that could be placed."""

    cameras: Cameras
    placed: np.ndarray
    """(N,) bool."""


def incremental(
    obs: Observations,
    views: list[TwoView],
    *,
    focal: float,
    focal_known: bool,
    centre: tuple[float, float],
) -> Structure | None:
    """Cameras by growing from the best start pair; None if no pair can start.

    Args:
        obs: Observations of all pairs, static and moving alike.
        views: The two-view relations the start pair is chosen from.
        focal: First guess or known focal length, pixels.
        focal_known: The focal length is not to be touched.
        centre: Principal point, pixels.

    Returns:
        World = camera of the start pair's first frame; scale of the start baseline.
    """
    start = _best_start(obs, views, _Lens(focal, focal_known, centre))
    if start is None:
        return None
    crowded = len(obs.anchor_frame) >= _ROUGH_LEAST * obs.n_frames
    rough = obs.thinned(_ROUGH_EVERY) if crowded else obs
    usual = None if focal_known else focal
    cameras, placed = _grown(rough, start, usual, centre)
    grower = Grower(obs, usual_focal=usual, anchor_frame=start.i)
    last = _LAST_STEPS[obs.n_frames > _LONG_FRAMES]
    for scale, steps in ((3.0, 4), (1.5, 6), (1.0, last)):
        cameras = grower.refine(cameras, placed, scale_px=scale, steps=steps)
    return Structure(cameras, placed & _supported(cameras, obs.among(placed)))


@dataclass(frozen=True)
class _Lens:
    focal: float
    known: bool
    centre: tuple[float, float]


def _grown(
    obs: Observations, start: Start, usual_focal: float | None, centre: tuple[float, float]
) -> tuple[Cameras, np.ndarray]:
    """Rough cameras from a start pair, and which frames they are of."""
    poses = np.tile(np.eye(4), (obs.n_frames, 1, 1))
    poses[start.j] = start.target_from_source
    cameras = Cameras(poses, start.focal, centre, np.full(len(obs.anchor_frame), 0.5))
    placed = np.isin(np.arange(obs.n_frames), (start.i, start.j))
    grower = Grower(obs, usual_focal=usual_focal, anchor_frame=start.i)
    cameras = grower.refine(cameras, placed, scale_px=2.0, steps=10, free_focal=False)
    return grower.grow(cameras, placed)


def _best_start(obs: Observations, views: list[TwoView], lens: _Lens) -> Start | None:
    """The start whose rough cameras explain the frames around it best.

    A narrow baseline also allows a scene that is turned inside out, with another focal length;
    no step of an adjustment leads from there to the right one, so several starts are tried.
    """
    first = start_pairs(views, lens.focal)
    if not first:
        return None
    low = min(max((first[0].i + first[0].j - _TRIAL_FRAMES) // 2, 0), obs.n_frames)
    around = np.zeros(obs.n_frames, bool)
    around[low : low + _TRIAL_FRAMES] = True
    near = [v for v in views if around[v.i] and around[v.j]]
    tried = [1.0] if lens.known else _TRIAL_FOCALS
    starts = [s for f in tried for s in start_pairs(near, f * lens.focal)[:_TRIAL_PAIRS]]
    inside = obs.among(around)
    part = inside.thinned(max(1, len(obs.anchor_frame) // obs.n_frames // _TRIAL_ANCHORS))
    usual = None if lens.known else lens.focal

    def trial(start: Start) -> float:
        cameras, _ = _grown(part, start, usual, lens.centre)
        return robust_cost(project(cameras, part)[0], _TRIAL_SCALE_PX)

    costs = list(in_threads(trial, starts))
    return starts[int(np.argmin(costs))] if starts else first[0]


def _supported(cameras: Cameras, obs: Observations) -> np.ndarray:
    """(N,) bool: frames whose matches agree with the cameras, most others by chance only."""
    residual, z = project(cameras, obs)
    good = ((residual**2).sum(-1) < _SUPPORT_PX**2) & (z > 0)
    every = np.bincount(obs.source, minlength=obs.n_frames)
    every += np.bincount(obs.target, minlength=obs.n_frames)
    agree = np.bincount(obs.source, good, obs.n_frames)
    agree += np.bincount(obs.target, good, obs.n_frames)
    return np.asarray((agree >= LEAST_POINTS) & (agree >= _LEAST_SUPPORT * every))


def fixed_poses(
    obs: Observations,
    cam_from_world: np.ndarray,
    *,
    focal: float,
    focal_known: bool,
    centre: tuple[float, float],
) -> Structure:
    """Structure for cameras that are all known; only the focal length may still be solved for."""
    cameras = Cameras(cam_from_world, focal, centre, np.full(len(obs.anchor_frame), 0.5))
    cameras = with_fresh_depth(cameras, obs)
    if not focal_known:
        options = Adjustment(free_pose=np.zeros(obs.n_frames, bool), scale_px=2.0)
        cameras = adjust(cameras, obs, options, steps=20)
    return Structure(cameras, np.ones(obs.n_frames, bool))
