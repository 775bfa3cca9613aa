"""Growing: one frame after the other finds its place, joint adjustment in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3r.pairwise.geometric.bundle import Adjustment, Cameras, adjust
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.resection import LEAST_POINTS, resected
from align3r.pairwise.geometric.triangulation import triangulate, with_fresh_depth

_LOCAL_WINDOW = 40
"""Frames on either side of a new one that are looked at when a part of a long path is adjusted."""
_LOCAL_FREE = 25
"""Frames nearer than this move in it; the others hold it in its place."""
_LOCAL_EVERY = 6
_LOCAL_STEPS = 4
_FOCAL_PRIOR_WEIGHT = 200.0
"""A camera that moves along its axis leaves the focal length open: then the usual one is taken."""


class Grower:
    """Places frame after frame, and adjusts all or some of them as it goes."""

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
        cameras = with_fresh_depth(cameras, obs)
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
            pose = resected(cameras, self._near(frame), placed, frame)
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
        return int(votes.argmax()) if votes.max() >= LEAST_POINTS else None
