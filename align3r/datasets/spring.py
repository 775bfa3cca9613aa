"""Spring: an animated film in full HD, with disparity at twice the resolution, and cameras.

Mehl et al., CVPR 2023.
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
    rigid,
)
from align3r.datasets.frames import frames_of
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.io.hdf5 import read_hdf5

BASELINE_M = 0.065
FRAMES_A_SECOND = 24.0


def names(root: Path) -> list[str]:
    """Sequences with truth that are there, as `0001`."""
    return [at.removeprefix("train/") for at in folders(root, "train/[0-9][0-9][0-9][0-9]")]


def read(root: Path, name: str) -> Sequence:
    """A sequence of the left camera. Depth is unknown where the disparity is nan or not positive,
    as in the sky; elsewhere it is as far as the film's scenery goes, some 10 km.

    Raises:
        InputError: Files are missing or cannot be read.
    """
    check_sequence(name, names(root), root)
    at = f"train/{name}"
    patterns = [f"{at}/frame_left/frame_left_*.png", f"{at}/disp1_left/disp1_left_*.dsp5"]
    frames = frames_of(root, *patterns)
    images, disparities = (files(root, pattern, frames) for pattern in patterns)
    intrinsics = _intrinsics(root / at / "cam_data" / "intrinsics.txt", len(frames))
    path = root / at / "cam_data" / "extrinsics.txt"
    cam_from_world = rigid(_table(path, 16, count=len(frames)).reshape(-1, 4, 4), path)
    size = image_size(images[0])
    return Sequence(
        dataset="spring",
        name=name,
        frames=tuple(frames),
        images=images,
        truth=Truth(
            world_from_cam=np.linalg.inv(cam_from_world),
            intrinsics=intrinsics,
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(disparities[i], size, focal=float(intrinsics[i, 0, 0])),
        ),
    )


def _intrinsics(path: Path, count: int) -> np.ndarray:
    intrinsics = np.tile(np.eye(3), (count, 1, 1))
    intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]] = _table(path, 4, count=count)
    return pinholes(intrinsics, path)


def _table(path: Path, columns: int, *, count: int) -> np.ndarray:
    table = read_numbers(path, columns)
    if len(table) != count:
        raise InputError(
            f"{path} has {len(table)} lines, but there are {count} images",
            hint="unpack the images of this sequence again",
        )
    return table


def _read_depth(path: Path, size: tuple[int, int], *, focal: float) -> np.ndarray:
    """Every second disparity belongs to a pixel; all of them are in pixels of the image."""
    width, height = size
    disparity = read_hdf5(path, "disparity", shape=(2 * height, 2 * width))[::2, ::2]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        depth = (focal * BASELINE_M / disparity.astype(np.float64)).astype(np.float32)
        return np.where((depth > 0) & np.isfinite(depth), depth, np.float32(np.nan))
