"""Cameras that the user knows: focal length, intrinsics, a trajectory with times."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.config import CameraOptions
from align3r.errors import InputError, UsageError
from align3r.io.images import cannot_read
from align3r.types import Frames, KnownCameras


def read_known_cameras(options: CameraOptions, frames: Frames) -> KnownCameras:
    """What the options say about the cameras of these frames.

    A focal length alone puts the principal point at the image centre. A pose belongs to the frame
    nearest in time, within half the time between two frames.

    Returns:
        Intrinsics in working pixels and `world_from_cam`, each None when not given; rows of nan
        where a frame has no pose.

    Raises:
        UsageError: Focal length and intrinsics are both given, not finite or not positive; or
            standard deviations without poses, or that are not positive numbers.
        InputError: The poses cannot be read, or fewer than two frames of a video get one.
    """
    sigma = _pose_sigma(options)
    return KnownCameras(
        intrinsics=_known_intrinsics(options, frames),
        world_from_cam=None if options.poses is None else _known_poses(options.poses, frames),
        pose_sigma=None if sigma is None else np.tile(sigma, (len(frames), 1)),
    )


def _pose_sigma(options: CameraOptions) -> tuple[float, float] | None:
    """Degrees and length, both checked."""
    if options.pose_sigma is None:
        return None
    if options.poses is None:
        raise UsageError(
            "--camera.pose-sigma is given, but no poses", hint="give them with --poses"
        )
    degrees, length = options.pose_sigma
    if not (0 < degrees < np.inf and 0 < length < np.inf):
        raise UsageError(
            f"standard deviations of {degrees:g} degrees and {length:g} of the known poses",
            hint="both are positive; leave out --camera.pose-sigma where the poses are exact",
        )
    return options.pose_sigma


def _known_intrinsics(options: CameraOptions, frames: Frames) -> np.ndarray | None:
    width, height = frames.source_size
    if options.focal is not None and options.intrinsics is not None:
        raise UsageError("both --focal and --intrinsics are given", hint="give one of them")
    if options.focal is not None:
        values = (options.focal, options.focal, (width - 1) / 2, (height - 1) / 2)
    elif options.intrinsics is not None:
        values = options.intrinsics
    else:
        return None
    fx, fy, cx, cy = values
    if not np.isfinite(values).all():
        words = ", ".join(f"{value:g}" for value in (fx, fy, cx, cy))
        raise UsageError(f"intrinsics {words} are not finite", hint="unit: pixels")
    if fx <= 0 or fy <= 0:
        raise UsageError(f"focal lengths {fx:g}, {fy:g} are not positive", hint="unit: pixels")
    sx, sy = frames.size[0] / width, frames.size[1] / height
    k = np.array(
        [
            [fx * sx, 0.0, (cx + 0.5) * sx - 0.5],
            [0.0, fy * sy, (cy + 0.5) * sy - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    return np.repeat(k[None], len(frames), axis=0)


def _known_poses(source: str, frames: Frames) -> np.ndarray:
    path = Path(source)
    times, poses = _read_npz(path) if path.suffix.lower() == ".npz" else _read_tum(path)
    order = np.argsort(times, kind="stable")
    times, poses = times[order], poses[order]
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
            f"none of the {len(times)} poses of {path} is at the time of a frame: poses span "
            f"{times[0]:.3f} to {times[-1]:.3f} s, frames {frames.times[0]:.3f} to "
            f"{frames.times[-1]:.3f} s",
            hint="poses need the times of the frames, in seconds",
        )
    # One pose says nothing about a scale or a path: almost always the times are wrong.
    if len(frames) > 1 and near.sum() < 2:
        raise InputError(
            f"only one of {len(frames)} frames gets a pose from {path}, which holds {len(times)}",
            hint="give two or more, with the times of the frames in seconds, or leave out --poses",
        )
    return np.where(near[:, None, None], poses[nearest], np.nan)


def _read_tum(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (M,) and world_from_cam (M, 4, 4) from lines `t tx ty tz qx qy qz qw`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.replace(",", " ").split() for line in lines if line.partition("#")[0].strip()]
        table = np.array([[float(word) for word in row] for row in rows], np.float64)
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise _not_poses(path, "lines of 8 numbers: t tx ty tz qx qy qz qw") from error
    if table.ndim != 2 or table.shape[1] != 8 or not np.isfinite(table).all():
        raise _not_poses(path, "lines of 8 numbers: t tx ty tz qx qy qz qw")
    quat_xyzw = table[:, 4:]
    if (np.linalg.norm(quat_xyzw, axis=1) < 1e-6).any():
        raise InputError(f"a quaternion of {path} is zero", hint="the order is qx qy qz qw")
    poses = np.repeat(np.eye(4)[None], len(table), axis=0)
    poses[:, :3, :3] = Rotation.from_quat(quat_xyzw).as_matrix()
    poses[:, :3, 3] = table[:, 1:4]
    return table[:, 0], poses


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (M,) and world_from_cam (M, 4, 4) from a cameras.npz; poses of nan are left out."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            times = np.asarray(arrays["time"], np.float64)
            poses = np.asarray(arrays["world_from_cam"], np.float64)
    except OSError as error:
        raise cannot_read(path, error) from error
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _not_poses(path, "arrays time (N,) and world_from_cam (N, 4, 4)") from error
    if times.ndim != 1 or poses.shape != (len(times), 4, 4):
        raise _not_poses(path, "arrays time (N,) and world_from_cam (N, 4, 4)")
    known = np.isfinite(times) & np.isfinite(poses).all(axis=(1, 2))
    if not known.any():
        raise _not_poses(path, "finite poses")
    return times[known], poses[known]


def _not_poses(path: Path, wanted: str) -> InputError:
    return InputError(f"{path} holds no camera poses", hint=f"wanted: {wanted}")
