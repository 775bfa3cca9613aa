"""Virtual KITTI 2: five drives of KITTI, rendered in ten variants (Cabon et al., 2020)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_sequence,
    files,
    folders,
    image_size,
    read_numbers,
    read_uint16,
    rigid,
)
from align3r.datasets.frames import frames_of, with_pose
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth

FRAMES_A_SECOND = 10.0
_LEVELS_A_METRE = 100.0
_SKY = 65535
_RGB, _DEPTH, _TEXT = (f"vkitti_2.0.3_{part}" for part in ("rgb", "depth", "textgt"))


def names(root: Path) -> list[str]:
    """Sequences of which there are images, the two cameras apart, as `Scene01/clone/Camera_0`."""
    found = folders(root, f"{_RGB}/Scene*/*/frames/rgb/Camera_[01]")
    return [at.removeprefix(f"{_RGB}/").replace("/frames/rgb/", "/") for at in found]


def read(root: Path, name: str) -> Sequence:
    """A sequence of one of the two cameras. Depth is infinite in the sky and beyond 655 m.

    Args:
        root: With `vkitti_2.0.3_rgb`, `vkitti_2.0.3_depth` and `vkitti_2.0.3_textgt`.
        name: As `Scene01/clone/Camera_0`.

    Raises:
        InputError: Files are missing or cannot be read.
    """
    check_sequence(name, names(root), root)
    scene, _, camera = name.rpartition("/")
    patterns = (
        f"{_RGB}/{scene}/frames/rgb/{camera}/rgb_*.jpg",
        f"{_DEPTH}/{scene}/frames/depth/{camera}/depth_*.png",
    )
    folder = root / _TEXT / scene
    poses = _read_poses(folder / "extrinsic.txt", int(camera[-1]))
    cameras = _read_intrinsics(folder / "intrinsic.txt", int(camera[-1]))
    every = frames_of(root, *patterns)
    frames, remarks = with_pose(every, poses.keys() & cameras.keys(), folder)
    images, depth_files = (files(root, pattern, frames) for pattern in patterns)
    size = image_size(images[0])
    return Sequence(
        dataset="vkitti2",
        name=name,
        frames=tuple(frames),
        images=images,
        remarks=remarks,
        truth=Truth(
            world_from_cam=np.stack([poses[int(frame)] for frame in frames]),
            intrinsics=np.stack([cameras[int(frame)] for frame in frames]),
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(depth_files[i], size),
        ),
    )


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 metres; infinite at the largest level."""
    levels = read_uint16(path, size)
    return np.where(levels == _SKY, np.inf, levels / _LEVELS_A_METRE).astype(np.float32)


def _read_poses(path: Path, camera: int) -> dict[float, np.ndarray]:
    """world_from_cam (4, 4) by the number of the frame."""
    rows = read_numbers(path, 18, skip=1)
    rows = rows[rows[:, 1] == camera]
    poses = np.linalg.inv(rigid(rows[:, 2:].reshape(-1, 4, 4), path))
    return dict(zip(rows[:, 0].tolist(), poses, strict=True))


def _read_intrinsics(path: Path, camera: int) -> dict[float, np.ndarray]:
    """(3, 3) intrinsics by the number of the frame."""
    rows = read_numbers(path, 6, skip=1)
    rows = rows[rows[:, 1] == camera]
    k = np.tile(np.eye(3), (len(rows), 1, 1))
    k[:, [0, 1, 0, 1], [0, 1, 2, 2]] = rows[:, 2:]
    return dict(zip(rows[:, 0].tolist(), pinholes(k, path), strict=True))
