"""KITTI depth: drives with sparse depth from accumulated laser scans, images in the raw drives.

Uhrig et al., 3DV 2017; Geiger et al., IJRR 2013.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_sequence,
    files,
    folders,
    image_size,
    numbers,
    read_rows,
    read_uint16,
    reading,
)
from align3r.datasets.frames import frames_of
from align3r.datasets.pinholes import pinhole
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth

SPLITS = ("val", "train")
CAMERAS = ("02", "03")
"""Left and right colour camera."""
FRAMES_A_SECOND = 10.0

_LEVELS_A_METRE = 256.0


def names(root: Path, *, split: str = "val", camera: str = "02") -> list[str]:
    """Drives with depth that are there, as `2011_09_26_drive_0002_sync`."""
    check_choice(split, SPLITS, "the split")
    check_choice(camera, CAMERAS, "the camera")
    found = folders(root, f"{split}/*_drive_*_sync/proj_depth/groundtruth/image_{camera}")
    return [at.split("/")[1] for at in found]


def read(root: Path, name: str, *, split: str = "val", camera: str = "02") -> Sequence:
    """The frames of a drive that have depth, which the first and the last five have not.

    Poses are not known. Intrinsics are where the calibration of the raw data lies beside the
    drives, `<date>/calib_cam_to_cam.txt`. Times are of 10 frames a second.

    Args:
        root: With `val/` (and `train/`) of the depth data, and the raw drives in `<date>/`.
        name: One of `names`.
        split: `val` or `train`.
        camera: `02`, left, or `03`, right.

    Raises:
        InputError: Files are missing or cannot be read.
        UsageError: There is no such split or camera.
    """
    check_sequence(name, names(root, split=split, camera=camera), root)
    date = name.split("_drive_")[0]
    truth = f"{split}/{name}/proj_depth/groundtruth/image_{camera}/*.png"
    raw = f"{date}/{name}/image_{camera}/data/*.png"
    frames = frames_of(root, truth)
    depths, images = files(root, truth, frames), files(root, raw, frames)
    without = len(numbers(root, raw)) - len(frames)
    size = image_size(images[0])
    return Sequence(
        dataset="kitti",
        name=name,
        frames=tuple(frames),
        images=images,
        remarks=(f"{without} images without depth are left out",) if without else (),
        truth=Truth(
            world_from_cam=np.full((len(frames), 4, 4), np.nan),
            intrinsics=np.tile(
                _intrinsics(root / date / "calib_cam_to_cam.txt", camera), (len(frames), 1, 1)
            ),
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(depths[i], size),
        ),
    )


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    levels = read_uint16(path, size)
    return np.where(levels == 0, np.nan, levels / _LEVELS_A_METRE).astype(np.float32)


def _intrinsics(path: Path, camera: str) -> np.ndarray:
    """(3, 3) of the rectified camera, nan if there is no such file."""
    if not path.exists():
        return np.full((3, 3), np.nan)
    rows = {words[0]: words[1:] for words in read_rows(path)}
    with reading(path):
        projection = np.array(rows[f"P_rect_{camera}:"], np.float64).reshape(3, 4)
    return pinhole(projection[:, :3], path)
