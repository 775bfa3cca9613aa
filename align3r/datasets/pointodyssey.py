"""PointOdyssey: rendered people and animals in motion (Zheng et al., ICCV 2023)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_sequence,
    files,
    folders,
    image_size,
    read_uint16,
    reading,
    rigid,
)
from align3r.datasets.frames import frames_of, with_pose
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.io.arrays import read_npz

FRAMES_A_SECOND = 30.0
_METRES_A_LEVEL = 1000.0 / 65535


def names(root: Path) -> list[str]:
    """Sequences of which there are images, as `train/ani`."""
    found = folders(root, "*/*/rgbs")
    return [at.removesuffix("/rgbs") for at in found]


def read(root: Path, name: str) -> Sequence:
    """A sequence. Depth has steps of 1.5 cm and ends at 1000 m.

    Args:
        root: With `train`, `val`, `test` or `sample`, which hold folders with `rgbs`, `depths` and
            `anno.npz`.
        name: As `train/ani`.

    Raises:
        InputError: Files are missing or cannot be read.
    """
    check_sequence(name, names(root), root)
    patterns = (f"{name}/rgbs/rgb_*.jpg", f"{name}/depths/depth_*.png")
    path = root / name / "anno.npz"
    intrinsics, world_from_cam = _read_cameras(path)
    every = frames_of(root, *patterns)
    frames, remarks = with_pose(every, range(len(world_from_cam)), path)
    images, depth_files = (files(root, pattern, frames) for pattern in patterns)
    size = image_size(images[0])
    chosen = np.array(frames, np.int64)
    return Sequence(
        dataset="pointodyssey",
        name=name,
        frames=tuple(frames),
        images=images,
        remarks=remarks,
        truth=Truth(
            world_from_cam=world_from_cam[chosen],
            intrinsics=intrinsics[chosen],
            times=chosen / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(depth_files[i], size),
        ),
    )


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 metres; nan where the level is 0."""
    levels = read_uint16(path, size)
    return np.where(levels == 0, np.nan, levels * _METRES_A_LEVEL).astype(np.float32)


def _read_cameras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3, 3) intrinsics and (T, 4, 4) world_from_cam; the tracks beside them are not read."""
    with reading(path):
        data = read_npz(path, ("intrinsics", "extrinsics"))
        k, cam_from_world = data["intrinsics"], data["extrinsics"]
        if len(k) != len(cam_from_world):
            raise ValueError(f"{len(k)} intrinsics and {len(cam_from_world)} extrinsics")
    return pinholes(k, path), np.linalg.inv(rigid(cam_from_world, path))
