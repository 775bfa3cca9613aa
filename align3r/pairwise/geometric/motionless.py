"""Videos that show no parallax: the camera stands still or only turns."""

from __future__ import annotations

import numpy as np

from align3r.pairwise.geometric.bundle import Adjustment, Cameras, adjust
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.twoview import TwoView, rotation_between, rotation_residual

_PARALLAX_PX = 0.7
"""Flow alone makes up to 0.3 px of it, in noisy images."""
_STILL_PX = 0.5


def parallax_px(views: list[TwoView], focal: float, *, focal_known: bool) -> float:
    """Displacement that no rotation explains, for the pairs of the video that show most of it.

    The focal length is free within a wide range unless known: a wrong one makes a pure rotation
    look like parallax.
    """
    if not views:
        return 0.0
    candidates = [focal] if focal_known else [*(focal * np.geomspace(0.5, 2.5, 9)), focal]
    wide = sorted(views, key=lambda v: v.j - v.i)[-40:]
    per_focal = []
    for f in candidates:
        residuals = [
            float(
                np.median(
                    rotation_residual(
                        v.source, v.target, f, rotation_between(v.source, v.target, f)
                    )
                )
            )
            for v in wide
        ]
        per_focal.append(float(np.quantile(residuals, 0.8)))
    return min(per_focal)


def has_parallax(parallax: float) -> bool:
    """Whether depth can be triangulated from this much parallax."""
    return parallax > _PARALLAX_PX


def is_still(views: list[TwoView]) -> bool:
    """Whether most of the image does not move at all."""
    moves = [float(np.median(np.linalg.norm(v.target - v.source, axis=-1))) for v in views]
    return not moves or float(np.quantile(moves, 0.9)) < _STILL_PX


def turning_cameras(
    obs: Observations,
    views: list[TwoView],
    *,
    focal: float,
    focal_known: bool,
    centre: tuple[float, float],
) -> Cameras:
    """Rotations (and focal length) of a camera that only turns; all positions are the origin."""
    n = obs.n_frames
    poses = np.tile(np.eye(4), (n, 1, 1))
    by_pair = {(v.i, v.j): v for v in views}
    for j in range(1, n):
        steps = [i for i in range(j - 1, -1, -1) if (i, j) in by_pair]
        if steps:
            view = by_pair[steps[0], j]
            turn = rotation_between(view.source, view.target, focal)
            poses[j, :3, :3] = turn @ poses[steps[0], :3, :3]
        else:
            poses[j] = poses[j - 1]
    cameras = Cameras(poses, focal, centre, np.full(len(obs.anchor_frame), 1e-3))
    if is_still(views):
        return cameras
    seen = np.union1d(obs.source, obs.target)
    free = np.isin(np.arange(n), seen[1:])
    for scale in (4.0, 1.0):
        options = Adjustment(
            scale_px=scale,
            free_pose=free,
            free_translation=False,
            free_focal=not focal_known,
            focal_prior=float(np.log(focal)),
            focal_prior_weight=20.0,
        )
        cameras = adjust(cameras, obs, options, steps=15)
    return cameras
