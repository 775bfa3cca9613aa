"""Cameras and focal length of a whole video, and what it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from align3r.errors import SolveError
from align3r.pairing import blank_frames
from align3r.pairwise.geometric.bundle import Cameras
from align3r.pairwise.geometric.motionless import (
    has_parallax,
    is_still,
    parallax_px,
    turning_cameras,
)
from align3r.pairwise.geometric.segments import among, segments
from align3r.pairwise.geometric.structure import Structure, fixed_poses, incremental
from align3r.pairwise.geometric.survey import Survey
from align3r.pairwise.geometric.twoview import TwoView, focal_from_fundamentals
from align3r.pairwise.geometric.world import baseline_px, chained, unit_scale, with_all_frames
from align3r.types import Frames, KnownCameras

_DEFAULT_FOCAL = 0.9
"""Of the long side: a horizontal field of view of 58 degrees, between phone and camera lenses."""
_LEAST_VOTE = 0.02
_LENS_RATIO = 2.5
_NAMED_FRAMES = 20


@dataclass(frozen=True)
class CalibratedScene:
    """Cameras of all frames and what was noticed on the way."""

    cameras: Cameras
    parallax: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Lens:
    focal: float
    known: bool
    voted: bool
    """More than a guess."""
    centre: tuple[float, float]


@dataclass(frozen=True)
class _Part:
    """The cameras of one run of frames, its first frame at the origin."""

    frames: np.ndarray
    structure: Structure
    trouble: str
    """Why it has no parallax; empty if it has."""


def find_scene(
    found: Survey, frames: Frames, known: KnownCameras, centre: tuple[float, float]
) -> CalibratedScene:
    """Cameras of all frames: known ones, structure from motion, or rotations only.

    Frames that show nothing lie between their neighbours. The parts of a video that is cut are
    solved one by one and put one behind the other.

    Raises:
        SolveError: All frames are blank, or no two of them can be matched.
    """
    n = len(frames)
    blank = blank_frames(frames.images)
    if blank.all():
        raise SolveError(
            f"all {n} frames are blank (one colour), so there is nothing to reconstruct"
            if n > 1
            else "the only frame is blank (one colour), so there is nothing to reconstruct",
            hint="look at the input; choose another stretch with --input.start and --input.stop",
        )
    seen = among(found, ~blank)
    runs = segments(seen, ~blank)
    inner = [among(seen, np.isin(np.arange(n), run)) for run in runs]
    lens = _first_lens([v for part in inner for v in part.views], frames, known, centre)
    poses = known.world_from_cam
    if poses is not None and np.isfinite(poses).all():
        return _posed_scene(seen, poses, lens)
    if (n > 1 and len(seen.views) == 0) or (len(runs) > 1 and max(map(len, runs)) == 1):
        raise SolveError(
            f"no two of the {n} frames have enough in common to be matched",
            hint="they may be blurred, masked or of different scenes; take frames closer in time",
        )
    parts = _solve_parts(inner, runs, lens)
    structure = chained([(part.frames, part.structure) for part in parts], n)
    warnings = [*_unseen(blank, structure.placed), *_cuts(parts), *_troubles(parts)]
    parallax = not all(part.trouble for part in parts)
    return CalibratedScene(with_all_frames(structure), parallax, tuple(warnings))


def _posed_scene(found: Survey, world_from_cam: np.ndarray, lens: _Lens) -> CalibratedScene:
    """Cameras that the user knows, in a unit of length that suits the scene."""
    structure = fixed_poses(
        found.observations,
        np.linalg.inv(world_from_cam),
        focal=lens.focal,
        focal_known=lens.known,
        centre=lens.centre,
    )
    shift = baseline_px(structure.cameras, found.observations)
    if has_parallax(shift):
        return CalibratedScene(
            unit_scale(structure.cameras, np.arange(len(world_from_cam))), True, ()
        )
    cameras = replace(structure.cameras, focal=lens.focal)
    kind = f"the known camera poses hardly move ({shift:.1f} px of parallax)"
    return CalibratedScene(cameras, False, (_without_depth(kind, focal=not lens.known),))


def _solve_parts(inner: list[Survey], runs: list[np.ndarray], lens: _Lens) -> list[_Part]:
    """Cameras of every run; the longest one that moves decides on the focal length."""
    parts: dict[int, _Part] = {}
    for k in sorted(range(len(runs)), key=lambda k: -len(runs[k])):
        part = parts[k] = _solve_part(inner[k], runs[k], lens)
        if not part.trouble and not lens.known:
            lens = replace(lens, focal=part.structure.cameras.focal, known=True)
    every = [parts[k] for k in range(len(runs))]
    return [_with_focal(part, lens.focal) if lens.known else part for part in every]


def _with_focal(part: _Part, focal: float) -> _Part:
    cameras = replace(part.structure.cameras, focal=focal)
    return replace(part, structure=replace(part.structure, cameras=cameras))


def _solve_part(found: Survey, run: np.ndarray, lens: _Lens) -> _Part:
    shift = parallax_px(found.views, lens.focal, focal_known=lens.known)
    turning = None
    if not has_parallax(shift):
        turning = _turning(found, run, lens)
        # A wall that slides by looks like a turn of a camera with a very long lens.
        if abs(np.log(turning.cameras.focal / lens.focal)) < np.log(_LENS_RATIO):
            return _Part(run, turning, _no_parallax(found, run, shift, lens))
    structure = incremental(
        found.observations,
        found.views,
        focal=lens.focal,
        focal_known=lens.known,
        centre=lens.centre,
    )
    if structure is not None and structure.placed.sum() >= max(2, len(run) // 2):
        return _Part(run, replace(structure, cameras=unit_scale(structure.cameras, run)), "")
    turning = turning or _turning(found, run, lens)
    return _Part(run, turning, _no_parallax(found, run, shift, lens))


def _turning(found: Survey, run: np.ndarray, lens: _Lens) -> Structure:
    cameras = turning_cameras(
        found.observations,
        found.views,
        focal=lens.focal,
        focal_known=lens.known,
        centre=lens.centre,
    )
    return Structure(cameras, np.isin(np.arange(found.observations.n_frames), run))


def _no_parallax(found: Survey, run: np.ndarray, shift: float, lens: _Lens) -> str:
    if len(run) == 1:
        return _without_depth("a single frame", focal=not lens.voted)
    if is_still(found.views):
        return _without_depth("the camera stands still", focal=not lens.voted)
    if has_parallax(shift):
        return _without_depth("no camera path explains the motion of the pixels", focal=False)
    return _without_depth(f"the camera only turns ({shift:.1f} px of parallax)", focal=False)


def _without_depth(kind: str, *, focal: bool) -> str:
    unknown = "depth and the focal length" if focal else "depth"
    return f"{kind}: {unknown} cannot be measured, depth is set to a constant at confidence 1"


def _unseen(blank: np.ndarray, placed: np.ndarray) -> list[str]:
    warnings = []
    for lost, what in ((blank, "are blank"), (~placed & ~blank, "could not be placed")):
        if lost.any():
            numbers = np.flatnonzero(lost).tolist()
            more = ", ..." if len(numbers) > _NAMED_FRAMES else ""
            named = ", ".join(map(str, numbers[:_NAMED_FRAMES])) + more
            warnings.append(
                f"{len(numbers)} of {len(blank)} frames {what} and lie between their "
                f"neighbours: {named}"
            )
    return warnings


def _cuts(parts: list[_Part]) -> list[str]:
    if len(parts) < 2:
        return []
    first = ", ".join(str(part.frames[0]) for part in parts[1:])
    return [
        f"the video is cut before frame {first}: its {len(parts)} parts have nothing in common "
        "and could not be joined; each has a scale of its own and begins where the last one ended"
    ]


def _troubles(parts: list[_Part]) -> list[str]:
    if len(parts) == 1:
        return [parts[0].trouble] if parts[0].trouble else []
    return [
        f"frames {part.frames[0]} to {part.frames[-1]}: {part.trouble}"
        for part in parts
        if part.trouble
    ]


def _first_lens(
    views: list[TwoView], frames: Frames, known: KnownCameras, centre: tuple[float, float]
) -> _Lens:
    """Focal length to start from."""
    if known.intrinsics is not None:
        return _Lens(float(known.intrinsics[:, (0, 1), (0, 1)].mean()), True, True, centre)
    long_side = float(max(frames.size))
    usual = _DEFAULT_FOCAL * long_side
    vote = focal_from_fundamentals(views, long_side, usual=usual)
    if vote is None or vote[1] < _LEAST_VOTE:
        return _Lens(usual, False, False, centre)
    return _Lens(vote[0], False, True, centre)
