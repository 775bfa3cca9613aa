"""ScanNet: rooms seen by a depth sensor on a tablet, as its sensor reader unpacks them.

Dai et al., CVPR 2017.
"""

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
from align3r.datasets.frames import frames_of
from align3r.datasets.pinholes import pinhole
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError

FRAMES_A_SECOND = 30.0

_FOLDERS = ("", "scans/", "scans_test/", "scannet_test_1500/")
"""Below a root, where scenes are looked for."""


def names(root: Path) -> list[str]:
    """Scenes that are there, as `scene0707_00`."""
    return sorted(_scenes(root))


def read(root: Path, name: str) -> Sequence:
    """A scene, as its colour camera; every frame, in the order of their numbers.

    Depth is looked up at each colour pixel in the depth image, whose camera the data set takes to
    be in the same place. Frames that the data set could not locate have a pose of nan.

    Args:
        root: With the scenes, or with `scans/` or `scans_test/` that hold them; in each `color/`,
            `depth/`, `pose/` and `intrinsic/`.
        name: One of `names`.

    Raises:
        InputError: Files are missing or cannot be read.
    """
    scenes = _scenes(root)
    check_sequence(name, sorted(scenes), root)
    at = scenes[name]
    patterns = [f"{at}/{kind}" for kind in ("color/*.jpg", "depth/*.png", "pose/*.txt")]
    frames = frames_of(root, *patterns)
    images, depths, poses = (files(root, pattern, frames) for pattern in patterns)
    size, depth_size = image_size(images[0]), image_size(depths[0])
    k, depth_k = (
        _intrinsics(root / at / "intrinsic" / f"intrinsic_{kind}.txt")
        for kind in ("color", "depth")
    )
    columns, rows = (_looked_up(axis, k, depth_k, sizes=(size, depth_size)) for axis in (0, 1))
    world_from_cam = np.stack([_read_pose(path) for path in poses])
    lost = int(np.isnan(world_from_cam[:, 0, 0]).sum())
    return Sequence(
        dataset="scannet",
        name=name,
        frames=tuple(frames),
        images=images,
        remarks=(f"{lost} of {len(frames)} frames have no pose",) if lost else (),
        truth=Truth(
            world_from_cam=world_from_cam,
            intrinsics=np.tile(k, (len(frames), 1, 1)),
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(depths[i], depth_size, rows=rows, columns=columns),
        ),
    )


def _scenes(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for at in folders(root, f"{folder}scene[0-9][0-9][0-9][0-9]_[0-9][0-9]"):
            found.setdefault(at.rpartition("/")[2], at)
    return found


def _intrinsics(path: Path) -> np.ndarray:
    table = read_numbers(path, 4)
    if table.shape != (4, 4) or table[0, 1]:
        raise InputError(f"{path} is no camera", hint="wanted: a matrix of 4x4 without skew")
    return pinhole(table[:3, :3], path)


def _read_pose(path: Path) -> np.ndarray:
    table = read_numbers(path, 4, finite=False)
    if table.shape == (4, 4) and not np.isfinite(table).all():
        return np.full((4, 4), np.nan)
    pose: np.ndarray = rigid(table[None], path)[0]
    return pose


def _looked_up(
    axis: int, k: np.ndarray, depth_k: np.ndarray, *, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> np.ndarray:
    """The nearest column (axis 0) or row (1) of the depth image for each of the colour image; -1
    outside of it."""
    count, depth_count = (size[axis] for size in sizes)
    ray = (np.arange(count) - k[axis, 2]) / k[axis, axis]
    with np.errstate(over="ignore", invalid="ignore"):
        there = np.rint(ray * depth_k[axis, axis] + depth_k[axis, 2])
        outside = ~((there >= 0) & (there < depth_count))
    return np.where(outside, -1, there).astype(np.int64)


def _read_depth(
    path: Path, size: tuple[int, int], *, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    levels = read_uint16(path, size)
    depth = np.where(levels == 0, np.nan, levels / 1000).astype(np.float32)
    depth = np.pad(depth, ((0, 1), (0, 1)), constant_values=np.nan)  # which -1 looks up
    seen: np.ndarray = depth[np.ix_(rows, columns)]
    return seen
