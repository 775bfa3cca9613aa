"""Trajectories that are given: poses with times, or with the names of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.errors import InputError
from align3r.io.arrays import read_npz
from align3r.io.axes import CV_FROM_GL
from align3r.io.calibration_json import read_json
from align3r.io.files import read_text

_SQUARE = 1e-3


@dataclass(frozen=True)
class TimedPoses:
    """Poses at times."""

    origin: str
    """For people."""
    times: np.ndarray
    """(M,) float64 seconds, in order."""
    world_from_cam: np.ndarray
    """(M, 4, 4) float64."""


@dataclass(frozen=True)
class NamedPoses:
    """Poses of images."""

    origin: str
    """For people."""
    world_from_cam: dict[str, np.ndarray]
    """(4, 4) float64 by the name of the image."""


def read_trajectory(path: Path) -> TimedPoses | NamedPoses:
    """Read a TUM trajectory, a cameras.npz, or a transforms.json of nerfstudio.

    Raises:
        InputError: The file cannot be read, or holds no poses.
    """
    if path.suffix.lower() == ".json":
        return NamedPoses(str(path), _read_nerfstudio(path))
    times, poses = _read_npz(path) if path.suffix.lower() == ".npz" else _read_tum(path)
    order = np.argsort(times, kind="stable")
    return TimedPoses(str(path), times[order], poses[order])


def _read_tum(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (M,) and world_from_cam (M, 4, 4) from lines `t tx ty tz qx qy qz qw`."""
    try:
        lines = read_text(path).splitlines()
        rows = [line.replace(",", " ").split() for line in lines if line.partition("#")[0].strip()]
        table = np.array([[float(word) for word in row] for row in rows], np.float64)
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
        arrays = read_npz(path, ("time", "world_from_cam"))
    except ValueError as error:
        raise _not_poses(path, "arrays time (N,) and world_from_cam (N, 4, 4)") from error
    times = np.asarray(arrays["time"], np.float64)
    poses = np.asarray(arrays["world_from_cam"], np.float64)
    if times.ndim != 1 or poses.shape != (len(times), 4, 4):
        raise _not_poses(path, "arrays time (N,) and world_from_cam (N, 4, 4)")
    known = np.isfinite(times) & np.isfinite(poses).all(axis=(1, 2))
    if not known.any():
        raise _not_poses(path, "finite poses")
    return times[known], poses[known]


def _read_nerfstudio(path: Path) -> dict[str, np.ndarray]:
    """world_from_cam (4, 4) by file_path; nerfstudio's cameras look along -z."""
    wanted = "frames with file_path and a transform_matrix of 4x4"
    found = {}
    try:
        for frame in read_json(path)["frames"]:
            pose = np.array(frame["transform_matrix"], np.float64)
            pose = np.concatenate([pose, np.eye(4)[3:]]) if pose.shape == (3, 4) else pose
            if pose.shape != (4, 4) or not isinstance(frame["file_path"], str):
                raise ValueError
            found[frame["file_path"]] = pose @ CV_FROM_GL
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise _not_poses(path, wanted) from error
    if not found or not all(_is_rigid(pose) for pose in found.values()):
        raise _not_poses(path, wanted)
    return found


def _is_rigid(pose: np.ndarray) -> bool:
    if not np.isfinite(pose).all():
        return False
    turn = pose[:3, :3]
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() < _SQUARE and np.linalg.det(turn) > 0)


def _not_poses(path: Path, wanted: str) -> InputError:
    return InputError(f"{path} holds no camera poses", hint=f"wanted: {wanted}")
