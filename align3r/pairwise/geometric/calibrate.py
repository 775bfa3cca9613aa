"""Cameras and focal length of a whole video, and what it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from align3r.errors import SolveError
from align3r.pairwise.geometric.bundle import Cameras
from align3r.pairwise.geometric.motionless import (
    has_parallax,
    is_still,
    parallax_px,
    turning_cameras,
)
from align3r.pairwise.geometric.structure import fixed_poses, incremental, with_all_frames
from align3r.pairwise.geometric.survey import Survey
from align3r.pairwise.geometric.twoview import focal_from_fundamentals
from align3r.types import Frames, KnownCameras

_DEFAULT_FOCAL = 0.9
"""Of the long side: a horizontal field of view of 58 degrees, between phone and camera lenses."""
_LEAST_VOTE = 0.02


@dataclass(frozen=True)
class CalibratedScene:
    """Cameras of all frames and what was noticed on the way."""

    cameras: Cameras
    parallax: bool
    warnings: tuple[str, ...]


def find_scene(
    found: Survey, frames: Frames, known: KnownCameras, centre: tuple[float, float]
) -> CalibratedScene:
    """Cameras of all frames: known ones, structure from motion, or rotations only.

    Raises:
        SolveError: No two frames can be matched.
    """
    focal, focal_known, voted = _first_focal(found, frames, known)
    poses = known.world_from_cam
    if poses is not None and np.isfinite(poses).all():
        structure = fixed_poses(
            found.observations,
            np.linalg.inv(poses),
            focal=focal,
            focal_known=focal_known,
            centre=centre,
        )
        return CalibratedScene(structure.cameras, True, ())
    if len(frames) > 1 and not found.views:
        raise SolveError(
            f"no two of the {len(frames)} frames have enough in common to be matched",
            hint="the video may be black, blank or blurred; try --input.fps for closer frames",
        )
    shift = parallax_px(found.views, focal, focal_known=focal_known)
    if has_parallax(shift):
        structure = incremental(
            found.observations, found.views, focal=focal, focal_known=focal_known, centre=centre
        )
        if structure is not None and structure.placed.sum() >= max(2, len(frames) // 2):
            lost = np.flatnonzero(~structure.placed).tolist()
            warnings = (
                (
                    f"{len(lost)} frames could not be placed and lie between their "
                    f"neighbours: {lost[:20]}",
                )
                if lost
                else ()
            )
            return CalibratedScene(_unit_scale(with_all_frames(structure)), True, warnings)
    cameras = turning_cameras(
        found.observations, found.views, focal=focal, focal_known=focal_known, centre=centre
    )
    return CalibratedScene(cameras, False, (_no_parallax(found, shift, len(frames), voted),))


def _no_parallax(found: Survey, shift: float, n_frames: int, voted: bool) -> str:
    kind = (
        "a single frame"
        if n_frames == 1
        else "the camera stands still"
        if is_still(found.views)
        else f"the camera only turns ({shift:.1f} px of parallax)"
    )
    unknown = n_frames == 1 or is_still(found.views)
    focal = "" if voted or not unknown else " and the focal length"
    return f"{kind}: depth{focal} cannot be measured and is set to a constant at confidence 1"


def _first_focal(found: Survey, frames: Frames, known: KnownCameras) -> tuple[float, bool, bool]:
    """Focal length to start from, whether it is known, and whether it is more than a guess."""
    if known.intrinsics is not None:
        return float(known.intrinsics[:, (0, 1), (0, 1)].mean()), True, True
    long_side = float(max(frames.size))
    vote = focal_from_fundamentals(found.views, long_side)
    if vote is None or vote[1] < _LEAST_VOTE:
        return _DEFAULT_FOCAL * long_side, False, False
    return vote[0], False, True


def _unit_scale(cameras: Cameras) -> Cameras:
    """Scale the scene so that the median depth of the anchors is 1."""
    seen = cameras.inverse_depth[cameras.inverse_depth > 2e-6]
    unit = float(np.median(seen)) if len(seen) else 1.0
    poses = cameras.cam_from_world.copy()
    poses[:, :3, 3] *= unit
    return replace(cameras, cam_from_world=poses, inverse_depth=cameras.inverse_depth / unit)
