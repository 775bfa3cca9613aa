"""Truth of our own making and of our own layout: TUM folders with a camera.json, rendered clips."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.datasets.truth import Truth
from align3r.errors import InputError, TooLargeError
from align3r.geometry.association import nearest_within
from align3r.io.arrays import read_npz
from align3r.io.files import check_pixels, read_json, read_text
from align3r.io.png import read_depth_png, read_mask_png

NEAREST_S = 0.02
"""Colour, depth and pose belong together when their times differ by at most this."""

_NO_ROTATION = 1e-6
_RENDERED = ("size", "world_from_cam", "depth", "depth_stride", "moving", "K", "time")


def read_truth(path: Path) -> Truth:
    """A folder in TUM layout (`read_rgbd`) or a truth file of a rendered clip (`read_rendered`)."""
    return read_rgbd(path) if path.is_dir() else read_rendered(path)


def read_rgbd(folder: Path) -> Truth:
    """Read a sequence in TUM layout.

    Args:
        folder: With `rgb.txt` and `depth.txt` (time, file), `groundtruth.txt` (time, position,
            quaternion x y z w of world_from_cam), `camera.json` (fx fy cx cy, corner of the
            top-left pixel at (0, 0); depth_factor) and, if known, `dynamic_mask/` (white moves,
            named as the colour images).

    Raises:
        InputError: Something is missing or cannot be read.
    """
    try:
        camera = read_json(folder / "camera.json")
        times, images = read_list(folder / "rgb.txt")
        depth_times, depth_files = read_list(folder / "depth.txt")
        poses = np.loadtxt(io.StringIO(read_text(folder / "groundtruth.txt")), ndmin=2)
        size, per_metre, k = _read_camera(camera)
        if poses.shape[1:] != (8,) or not np.isfinite(poses).all():
            raise ValueError("groundtruth.txt is not lines of 8 numbers")
        if (np.linalg.norm(poses[:, 4:], axis=1) < _NO_ROTATION).any():
            raise ValueError("a quaternion of groundtruth.txt is zero")
        check_pixels(folder / "camera.json", size)
    except TooLargeError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, InputError) as error:
        raise InputError(
            f"{folder} is not a sequence in TUM layout: {error}",
            hint="it needs rgb.txt, depth.txt, groundtruth.txt and camera.json",
        ) from error
    pose_of = nearest_within(times, poses[:, 0], NEAREST_S)
    depth_of = nearest_within(times, depth_times, NEAREST_S)
    width, height = size

    def depth(i: int) -> np.ndarray:
        if depth_of[i] < 0:
            return np.full((height, width), np.nan, np.float32)
        return read_depth_png(folder / depth_files[depth_of[i]], per_unit=per_metre)

    return Truth(
        world_from_cam=_poses(poses[:, 1:], pose_of),
        intrinsics=np.repeat(k[None], len(times), axis=0),
        times=times,
        size=size,
        depth=depth,
        moving=_masks_beside(folder, images),
    )


def read_rendered(path: Path) -> Truth:
    """Read the truth beside a rendered clip, as `examples/render_clip.py` writes it.

    Raises:
        InputError: It cannot be read or is something else.
    """
    try:
        data = read_npz(path, _RENDERED)
        poses, depth = data["world_from_cam"], data["depth"]
        n, (width, height) = len(poses), (int(x) for x in data["size"])
        stride = int(data["depth_stride"])
        check_pixels(path, (width, height))
        if min(width, height, stride) < 1 or depth.ndim != 3 or depth.dtype.kind != "f":
            raise ValueError(f"{width}x{height} pixels, a depth of {depth.shape} every {stride}")
        if not (len(depth) == n and poses.shape == (n, 4, 4) and data["time"].shape == (n,)):
            raise ValueError("its arrays are of different lengths")
        if data["K"].shape != (n, 3, 3) or data["moving"].size * 8 < n * width * height:
            raise ValueError("its arrays are of different lengths")
        bits = np.unpackbits(data["moving"], count=n * height * width)
    except TooLargeError:
        raise
    except (ValueError, TypeError, InputError) as error:
        raise InputError(
            f"{path} is not the truth of a rendered clip: {error}",
            hint="write one with examples/render_clip.py",
        ) from error
    moving = bits.reshape(n, height, width).astype(bool)
    return Truth(
        world_from_cam=poses,
        intrinsics=data["K"],
        times=data["time"],
        size=(width, height),
        depth=lambda i: depth[i].astype(np.float32),
        depth_stride=stride,
        moving=lambda i: moving[i],
    )


def _read_camera(camera: Any) -> tuple[tuple[int, int], float, np.ndarray]:
    """Size, depth units a metre and intrinsics of a camera.json.

    Raises:
        ValueError: They are no camera; KeyError, TypeError or OverflowError: no numbers.
    """
    fx, fy, cx, cy, per_metre = (
        float(camera[key]) for key in ("fx", "fy", "cx", "cy", "depth_factor")
    )
    size = (int(camera["width"]), int(camera["height"]))
    if not (np.isfinite([fx, fy, cx, cy, per_metre]).all() and min(fx, fy, per_metre, *size) > 0):
        raise ValueError("camera.json is no camera")
    # The file has COLMAP's convention, where the centre of the top-left pixel is (0.5, 0.5).
    return size, per_metre, np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1.0]])


def _masks_beside(folder: Path, images: Sequence[str]) -> Callable[[int], np.ndarray] | None:
    """What reads the mask of an image; None where there are none."""
    masks = folder / "dynamic_mask"
    if not masks.is_dir():
        return None
    return lambda i: read_mask_png(masks / f"{Path(images[i]).stem}.png")


def read_list(path: Path) -> tuple[np.ndarray, list[str]]:
    """(N,) times and the file of each, of a list such as rgb.txt."""
    lines = [line.split() for line in read_text(path).splitlines()]
    rows = [row for row in lines if row and not row[0].startswith("#")]
    if not rows:
        raise ValueError(f"{path.name} names no file")
    return np.array([float(row[0]) for row in rows]), [row[1] for row in rows]


def _poses(rows: np.ndarray, pose_of: np.ndarray) -> np.ndarray:
    """(N, 4, 4) from rows of position and quaternion x y z w; nan where pose_of is -1."""
    out = np.full((len(pose_of), 4, 4), np.nan)
    found = pose_of >= 0
    chosen = rows[pose_of[found]]
    out[found] = np.eye(4)
    out[found, :3, :3] = Rotation.from_quat(chosen[:, 3:7]).as_matrix()
    out[found, :3, 3] = chosen[:, :3]
    return out
