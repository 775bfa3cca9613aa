"""From observations to cameras: start pair, one frame after the other, joint adjustment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from align3r.pairwise.geometric.bundle import (
    Adjustment,
    Cameras,
    adjust,
    anchor_rays,
    project,
    relative_poses,
    robust_cost,
    robust_weight,
)
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.starts import Start, start_pairs
from align3r.pairwise.geometric.twoview import TwoView
from align3r.parallel import in_threads

_LEAST_POINTS = 30
_PNP_POINTS = 3000
_TRIAL_FRAMES = 16
_TRIAL_PAIRS = 2
_TRIAL_FOCALS = (0.8, 1.0, 1.25)
_TRIAL_ANCHORS = 100
_TRIAL_SCALE_PX = 2.0
_ROUGH_EVERY = 3
_ROUGH_LEAST = 300
"""Anchors a frame from which on a third of them is enough for rough cameras."""
_LOCAL_WINDOW = 40
"""Frames on either side of a new one that are looked at when a part of a long path is adjusted."""
_LOCAL_FREE = 25
"""Frames nearer than this move in it; the others hold it in its place."""
_LOCAL_EVERY = 6
_LOCAL_STEPS = 4
_LONG_FRAMES = 100
_LAST_STEPS = (15, 60)
"""Most steps of the last adjustment: a long path straightens slowly."""
_SUPPORT_PX = 3.0
_LEAST_SUPPORT = 0.2
_FOCAL_PRIOR_WEIGHT = 200.0
"""A camera that moves along its axis leaves the focal length open: then the usual one is taken."""


@dataclass(frozen=True)
class Structure:
    """Cameras of the frames that could be placed."""

    cameras: Cameras
    placed: np.ndarray
    """(N,) bool."""


def triangulate(cameras: Cameras, obs: Observations, *, rounds: int = 3) -> np.ndarray:
    """(A,) robust linear inverse depth of every anchor; 0 where no observation shows parallax."""
    inverse_depth = np.zeros(len(obs.anchor_frame))
    for _, part in obs.parts:
        first, end = int(part.anchor.min()), int(part.anchor.max()) + 1
        inverse_depth[first:end] = _triangulated(cameras, part, slice(first, end), rounds=rounds)
    return np.maximum(inverse_depth, 0.0)


def _triangulated(
    cameras: Cameras, part: Observations, anchors: slice, *, rounds: int
) -> np.ndarray:
    """Inverse depth of some anchors, all of whose observations are given."""
    rotation, shift = relative_poses(cameras, part)
    turned = np.einsum("mab,mb->ma", rotation, anchor_rays(cameras, part))
    seen = np.concatenate(
        [(part.pixel - cameras.centre) / cameras.focal, np.ones((len(part.pixel), 1))], 1
    )
    # The point turned + rho * shift is parallel to the ray seen; linear in rho.
    lever = np.cross(shift, seen)
    miss = np.cross(turned, seen)
    weight = np.ones(len(miss))
    at, count = part.anchor - anchors.start, anchors.stop - anchors.start
    for _ in range(rounds):
        top = np.bincount(at, -weight * (lever * miss).sum(-1), count)
        bottom = np.bincount(at, weight * (lever**2).sum(-1), count)
        inverse_depth = np.divide(top, bottom, out=np.zeros(count), where=bottom > 1e-12)
        residual = miss + inverse_depth[at, None] * lever
        weight = robust_weight(cameras.focal * residual, 2.0)
    return inverse_depth


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
    grower = _Grower(obs, usual_focal=usual, anchor_frame=start.i)
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
    grower = _Grower(obs, usual_focal=usual_focal, anchor_frame=start.i)
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
    return np.asarray((agree >= _LEAST_POINTS) & (agree >= _LEAST_SUPPORT * every))


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
    fresh = triangulate(cameras, obs)
    known = fresh[fresh > 0]
    default = float(np.median(known)) if len(known) else 0.5
    cameras = replace(cameras, inverse_depth=np.where(fresh > 0, fresh, 0.2 * default))
    if not focal_known:
        options = Adjustment(free_pose=np.zeros(obs.n_frames, bool), scale_px=2.0)
        cameras = adjust(cameras, obs, options, steps=20)
    return Structure(cameras, np.ones(obs.n_frames, bool))


class _Grower:
    def __init__(self, obs: Observations, *, usual_focal: float | None, anchor_frame: int) -> None:
        """`usual_focal` draws the focal length where the video does not tell it; None: known."""
        self._obs, self._usual_focal, self._fixed = obs, usual_focal, anchor_frame

    def refine(
        self,
        cameras: Cameras,
        placed: np.ndarray,
        *,
        scale_px: float,
        steps: int,
        free_focal: bool = True,
    ) -> Cameras:
        """Joint adjustment of the placed frames, from freshly triangulated anchors."""
        obs = self._obs.among(placed)
        fresh = triangulate(cameras, obs)
        known = fresh[fresh > 0]
        default = float(np.median(known)) if len(known) else 0.5
        cameras = replace(cameras, inverse_depth=np.where(fresh > 0, fresh, 0.2 * default))
        free = placed.copy()
        free[self._fixed] = False
        options = Adjustment(
            scale_px=scale_px,
            free_pose=free,
            free_focal=free_focal and self._usual_focal is not None,
            focal_prior=float(np.log(self._usual_focal or cameras.focal)),
            focal_prior_weight=_FOCAL_PRIOR_WEIGHT,
        )
        return adjust(cameras, obs, options, steps=steps)

    def _refine_near(self, cameras: Cameras, placed: np.ndarray, frame: int) -> Cameras:
        """Joint adjustment of the placed frames around one; those at the window's rim stay."""
        first = max(frame - _LOCAL_WINDOW, 0)
        end = min(frame + _LOCAL_WINDOW + 1, self._obs.n_frames)
        window, anchors = self._obs.window(first, end)
        near = placed[first:end]
        inside = replace(
            cameras,
            cam_from_world=cameras.cam_from_world[first:end],
            inverse_depth=cameras.inverse_depth[anchors],
        )
        distance = np.abs(np.arange(first, end) - frame)
        free = near & (distance < _LOCAL_FREE) & (np.arange(first, end) != self._fixed)
        options = Adjustment(scale_px=2.0, free_pose=free, free_focal=False)
        found = adjust(inside, window.among(near), options, steps=_LOCAL_STEPS)
        poses, inverse_depth = cameras.cam_from_world.copy(), cameras.inverse_depth.copy()
        poses[first:end], inverse_depth[anchors] = found.cam_from_world, found.inverse_depth
        return replace(cameras, cam_from_world=poses, inverse_depth=inverse_depth)

    def grow(self, cameras: Cameras, placed: np.ndarray) -> tuple[Cameras, np.ndarray]:
        """Place frame after frame by resection; adjust jointly as the model grows."""
        tried: set[int] = set()
        last_joint = int(placed.sum())
        fresh: set[int] = set()
        votes = np.zeros(self._obs.n_frames, np.int64)
        for known in np.flatnonzero(placed).tolist():
            self._vote(votes, known)
        while not placed.all():
            frame = self._next_frame(votes, placed, tried)
            if frame is None:
                break
            pose = self._resect(cameras, placed, frame)
            if pose is None:
                tried.add(frame)
                continue
            tried.clear()
            poses = cameras.cam_from_world.copy()
            poses[frame] = pose
            placed = placed.copy()
            placed[frame] = True
            self._vote(votes, frame)
            cameras = replace(cameras, cam_from_world=poses)
            count = int(placed.sum())
            if count <= 6 or count >= 1.25 * last_joint or placed.all():
                cameras = self.refine(cameras, placed, scale_px=2.0, steps=6, free_focal=count >= 4)
                last_joint, fresh = count, set()
                continue
            cameras = replace(cameras, inverse_depth=self._updated(cameras, placed, frame))
            fresh.add(frame)
            around = {k for k in fresh if abs(k - frame) < _LOCAL_FREE}
            # Until the next adjustment of all, a long path would bend more and more.
            if len(around) >= _LOCAL_EVERY and count > _LOCAL_WINDOW:
                cameras = self._refine_near(cameras, placed, frame)
                fresh -= around
        return cameras, placed

    def _near(self, frame: int) -> Observations:
        """All observations of the anchors that a frame has or sees."""
        reach = self._obs.reach
        return self._obs.of_sources(max(frame - reach, 0), frame + reach + 1)

    def _updated(self, cameras: Cameras, placed: np.ndarray, frame: int) -> np.ndarray:
        """(A,) inverse depth, triangulated again where a frame that was just placed has a say."""
        fresh = triangulate(cameras, self._near(frame).among(placed))
        return np.where(fresh > 0, fresh, cameras.inverse_depth)

    def _vote(self, votes: np.ndarray, source: int) -> None:
        """Count for every frame how much of what has just been placed it sees."""
        seen = self._obs.of_sources(source, source + 1).target
        votes += np.bincount(seen, minlength=len(votes))

    def _next_frame(self, votes: np.ndarray, placed: np.ndarray, tried: set[int]) -> int | None:
        votes = np.where(placed, 0, votes)
        votes[list(tried)] = 0
        return int(votes.argmax()) if votes.max() >= _LEAST_POINTS else None

    def _resect(self, cameras: Cameras, placed: np.ndarray, frame: int) -> np.ndarray | None:
        """Pose (4, 4) cam_from_world of a frame from the anchors it sees; None if it fails."""
        obs = self._near(frame)
        inner = obs.among(placed)
        residual, z = project(cameras, inner)
        good = robust_weight(residual, 3.0) * (z > 0)
        support = np.bincount(inner.anchor, good, len(obs.anchor_frame))
        rows = np.flatnonzero(
            placed[obs.source] & (obs.target == frame) & (support[obs.anchor] > 0.5)
        )
        if len(rows) < _LEAST_POINTS:
            return None
        rows = rows[:: max(1, len(rows) // _PNP_POINTS)]
        points = _world_points(cameras, obs, obs.anchor[rows])
        k = np.array(
            [
                [cameras.focal, 0, cameras.centre[0]],
                [0, cameras.focal, cameras.centre[1]],
                [0, 0, 1],
            ]
        )
        cv2.setRNGSeed(0)
        try:
            ok, turn, shift, inlier = cv2.solvePnPRansac(
                points,
                obs.pixel[rows],
                k,
                None,
                reprojectionError=4.0,
                iterationsCount=500,
                flags=cv2.SOLVEPNP_SQPNP,
            )
        except cv2.error:
            # Degenerate points end in an assertion of OpenCV's own.
            return None
        if not ok or inlier is None or len(inlier) < _LEAST_POINTS:
            return None
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(turn)[0]
        pose[:3, 3] = shift.ravel()
        return pose


def _world_points(cameras: Cameras, obs: Observations, anchors: np.ndarray) -> np.ndarray:
    xy = (obs.anchor_pixel[anchors] - cameras.centre) / cameras.focal
    rays = np.concatenate([xy, np.ones((len(xy), 1))], 1)
    in_cam = rays / np.maximum(cameras.inverse_depth[anchors, None], 1e-6)
    world_from_cam = np.linalg.inv(cameras.cam_from_world)[obs.anchor_frame[anchors]]
    turned = np.einsum("mab,mb->ma", world_from_cam[:, :3, :3], in_cam)
    return np.asarray(turned + world_from_cam[:, :3, 3])
