"""Cameras that the user knows: lenses, intrinsics, and poses of the frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align3r.config import CameraOptions
from align3r.errors import InputError, UsageError
from align3r.geometry.cameras import resize_intrinsics
from align3r.io.calibration import CameraFinder, read_calibration
from align3r.io.colmap_model import read_colmap
from align3r.io.frame_names import FrameId, FrameNames
from align3r.io.lenses import pinhole
from align3r.io.trajectories import NamedPoses, TimedPoses, read_trajectory
from align3r.types import Frames, KnownCameras

_ROUGH_DEGREES = 0.5
_ROUGH_PART = 0.01
"""Of the diagonal of the box around the positions."""


@dataclass(frozen=True)
class CamerasOfSource:
    """What the options say about the cameras of a source, before its frames are read."""

    finder: CameraFinder | None = None
    """Finds the camera of a frame; None: none is known."""
    poses: TimedPoses | NamedPoses | None = None
    names: FrameNames | None = None
    """Of named poses."""


def open_cameras(options: CameraOptions, *, is_video: bool) -> CamerasOfSource:
    """Read the files that the options name.

    Args:
        options: What the user says.
        is_video: Whether the frames have no file names of their own.

    Raises:
        UsageError: The options contradict each other, or their numbers make no sense.
        InputError: A file cannot be read or is not what it should be.
    """
    if options.poses is not None and options.colmap is not None:
        raise UsageError("both --poses and --colmap are given", hint="give one of them")
    _check_rough(options)
    first = options.first_number
    calibration = read_calibration(options)
    finder = None
    if calibration is not None:
        finder = calibration.matcher(is_video=is_video, first_number=first)
    poses: TimedPoses | NamedPoses | None = None
    if options.poses is not None:
        poses = read_trajectory(Path(options.poses).expanduser())
    elif options.colmap is not None:
        model = read_colmap(Path(options.colmap).expanduser())
        if not model.world_from_cam:
            raise InputError(
                f"{options.colmap} holds no image with a pose",
                hint="give a folder with images.bin or images.txt; cameras alone: --intrinsics",
            )
        poses = NamedPoses(model.origin, model.world_from_cam)
    names = None
    if isinstance(poses, NamedPoses):
        listed = list(poses.world_from_cam)
        names = FrameNames(listed, origin=poses.origin, is_video=is_video, first_number=first)
    return CamerasOfSource(finder, poses, names)


def read_known_cameras(
    options: CameraOptions, frames: Frames, given: CamerasOfSource | None = None
) -> KnownCameras:
    """What is known about the cameras of these frames.

    Poses with times belong to the frame nearest in time, within half the time between two frames;
    poses of images to the frame that the name means (see `FrameNames`).

    Args:
        options: What the user says.
        frames: As they are after distortion was undone.
        given: What `open_cameras` found; None: it is read now.

    Returns:
        Intrinsics in working pixels and `world_from_cam`, each None when not given; rows of nan
        where a frame has none.

    Raises:
        UsageError: The options contradict each other, or their numbers make no sense.
        InputError: A file cannot be read, or fewer than two frames of a video get a pose.
    """
    if given is None:
        given = open_cameras(options, is_video=not frames.names)
    poses = None if given.poses is None else _poses_of(frames, given)
    sigma = None if poses is None else _sigma(options, poses)
    return KnownCameras(
        intrinsics=None if given.finder is None else _intrinsics(frames, given.finder),
        world_from_cam=poses,
        pose_sigma=None if sigma is None else np.tile(sigma, (len(frames), 1)),
    )


def _check_rough(options: CameraOptions) -> None:
    """Standard deviations make sense, and there is something that they belong to."""
    sigma = options.pose_sigma
    for name in ("pose_sigma", "poses_are"):
        if not options.posed and getattr(options, name) not in (None, "auto"):
            raise UsageError(
                f"--camera.{name.replace('_', '-')} is given, but no poses",
                hint="give them with --poses or --colmap",
            )
    if sigma is None:
        return
    if options.poses_are == "exact":
        raise UsageError(
            "the poses are said to be exact, and to have standard deviations",
            hint="give either --camera.poses-are exact or --camera.pose-sigma",
        )
    degrees, length = sigma
    if not (0 < degrees < np.inf and 0 < length < np.inf):
        raise UsageError(
            f"standard deviations of {degrees:g} degrees and {length:g} of the known poses",
            hint="both are positive; leave out --camera.pose-sigma where the poses are exact",
        )


def _sigma(options: CameraOptions, poses: np.ndarray) -> tuple[float, float] | None:
    """Degrees and length; None where the poses are exact."""
    if options.pose_sigma is not None:
        return options.pose_sigma
    rough = options.poses_are == "rough"
    if not rough and not (options.poses_are == "auto" and options.colmap is not None):
        return None
    places = poses[np.isfinite(poses).all(axis=(1, 2)), :3, 3]
    length = float(np.linalg.norm(np.ptp(places, axis=0)))
    if length == 0:
        raise UsageError(
            f"the {len(places)} known poses are all at one place, so nobody can tell how rough "
            "their positions are",
            hint="give --camera.pose-sigma DEGREES LENGTH, or --camera.poses-are exact",
        )
    return _ROUGH_DEGREES, _ROUGH_PART * length


def _intrinsics(frames: Frames, finder: CameraFinder) -> np.ndarray:
    """(N, 3, 3) of the working images; nan where a frame has no camera."""
    found = np.full((len(frames), 3, 3), np.nan)
    for i in range(len(frames)):
        camera = finder.find(frame_id(frames, i), frames.source_size)
        if camera is not None:
            found[i] = pinhole(camera)
    if np.isnan(found).all():
        raise InputError(
            f"none of the {len(frames)} frames has a camera in {finder.calibration.origin}",
            hint="the images there need the names of the frames (of a video: their numbers)",
        )
    return resize_intrinsics(found, frames.source_size, frames.size)


def frame_id(frames: Frames, i: int) -> FrameId:
    """What tells frame i from the other frames of the source."""
    name = frames.names[i] if frames.names else None
    return FrameId(int(frames.index[i]), float(frames.times[i]), name)


def _poses_of(frames: Frames, given: CamerasOfSource) -> np.ndarray:
    """(N, 4, 4) world_from_cam; nan where a frame has none.

    Raises:
        InputError: No frame, or only one of several, gets a pose.
    """
    assert given.poses is not None
    if isinstance(given.poses, TimedPoses):
        poses = _at_times(frames, given.poses)
    else:
        poses = _by_name(frames, given.poses, given.names)
    # One pose says nothing about a scale or a path: almost always the times or names are wrong.
    if len(frames) > 1 and np.isfinite(poses).all(axis=(1, 2)).sum() < 2:
        raise InputError(
            f"only one of {len(frames)} frames gets a pose from {given.poses.origin}, which holds "
            f"{len(given.poses.world_from_cam)}",
            hint="give two or more, with the times of the frames in seconds, or leave them out",
        )
    return poses


def _at_times(frames: Frames, given: TimedPoses) -> np.ndarray:
    times, poses = given.times, given.world_from_cam
    interval = float(np.median(np.diff(frames.times))) if len(frames) > 1 else 1 / 30
    right = np.searchsorted(times, frames.times).clip(1, max(len(times) - 1, 1))
    left = right - 1
    right = right.clip(max=len(times) - 1)
    nearest = np.where(
        np.abs(times[right] - frames.times) < np.abs(times[left] - frames.times), right, left
    )
    near = np.abs(times[nearest] - frames.times) <= interval / 2 + 1e-9
    if not near.any():
        raise InputError(
            f"none of the {len(times)} poses of {given.origin} is at the time of a frame: poses "
            f"span {times[0]:.3f} to {times[-1]:.3f} s, frames {frames.times[0]:.3f} to "
            f"{frames.times[-1]:.3f} s",
            hint="poses need the times of the frames, in seconds",
        )
    return np.where(near[:, None, None], poses[nearest], np.nan)


def _by_name(frames: Frames, given: NamedPoses, names: FrameNames | None) -> np.ndarray:
    assert names is not None
    poses = np.full((len(frames), 4, 4), np.nan)
    for i in range(len(frames)):
        name = names.find(frame_id(frames, i))
        if name is not None:
            poses[i] = given.world_from_cam[name]
    if np.isnan(poses).all():
        listed = sorted(given.world_from_cam)
        first = Path(frames.names[0]).name if frames.names else "0, 1, 2 ..."
        raise InputError(
            f"none of the {len(listed)} images of {given.origin} is one of the {len(frames)} "
            f"frames: its names are {listed[0]} to {listed[-1]}, matched by {names.by} with "
            f"{first}",
            hint="the images need the names of the frames; for a video, their numbers or times",
        )
    return poses
