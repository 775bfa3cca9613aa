"""Sequences with ground truth: readers, and the score of a reconstruction against them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.errors import InputError
from align3r.io.png import read_depth_png, read_mask_png

NEAREST_S = 0.02
"""Colour, depth and pose belong together when their times differ by at most this."""


@dataclass(frozen=True)
class Truth:
    """What is true about every frame of a sequence; lengths in metres."""

    world_from_cam: np.ndarray
    """(N, 4, 4) float64; nan where the pose of a frame is not known."""
    intrinsics: np.ndarray
    """(N, 3, 3) float64, source pixels; the centre of the top-left pixel is (0, 0)."""
    times: np.ndarray
    """(N,) float64 seconds."""
    size: tuple[int, int]
    """(width, height) of the frames."""
    depth: Callable[[int], np.ndarray]
    """Frame number -> float32 z-depth at every `depth_stride`-th pixel from pixel 0 on; nan where
    not known."""
    depth_stride: int = 1
    """Pixels from one true depth to the next, in both directions."""
    moving: Callable[[int], np.ndarray] | None = None
    """Frame number -> (H, W) bool; None if nobody marked what moves."""

    def __len__(self) -> int:
        return len(self.times)


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
        camera = json.loads((folder / "camera.json").read_text(encoding="utf-8"))
        times, images = _read_list(folder / "rgb.txt")
        depth_times, depth_files = _read_list(folder / "depth.txt")
        poses = np.loadtxt(folder / "groundtruth.txt", ndmin=2)
        fx, fy, cx, cy = (float(camera[key]) for key in ("fx", "fy", "cx", "cy"))
        size, per_metre = (int(camera["width"]), int(camera["height"])), camera["depth_factor"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder} is not a sequence in TUM layout: {error}",
            hint="it needs rgb.txt, depth.txt, groundtruth.txt and camera.json",
        ) from error
    # The file has COLMAP's convention, where the centre of the top-left pixel is (0.5, 0.5).
    k = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1.0]])
    pose_of, depth_of = _nearest(poses[:, 0], times), _nearest(depth_times, times)
    width, height = size

    def depth(i: int) -> np.ndarray:
        if depth_of[i] < 0:
            return np.full((height, width), np.nan, np.float32)
        return read_depth_png(folder / depth_files[depth_of[i]], per_unit=per_metre)

    masks = folder / "dynamic_mask"
    return Truth(
        world_from_cam=_poses(poses[:, 1:], pose_of),
        intrinsics=np.repeat(k[None], len(times), axis=0),
        times=times,
        size=size,
        depth=depth,
        moving=(
            (lambda i: read_mask_png(masks / f"{Path(images[i]).stem}.png"))
            if masks.is_dir()
            else None
        ),
    )


def read_rendered(path: Path) -> Truth:
    """Read the truth beside a rendered clip, as `examples/render_clip.py` writes it.

    Raises:
        InputError: It cannot be read or is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            width, height = (int(x) for x in data["size"])
            poses, depth = data["world_from_cam"], data["depth"]
            bits = np.unpackbits(data["moving"], count=len(poses) * height * width)
            moving = bits.reshape(len(poses), height, width).astype(bool)
            return Truth(
                world_from_cam=poses,
                intrinsics=data["K"],
                times=data["time"],
                size=(width, height),
                depth=lambda i: depth[i].astype(np.float32),
                depth_stride=int(data["depth_stride"]),
                moving=lambda i: moving[i],
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is not the truth of a rendered clip: {error}",
            hint="write one with examples/render_clip.py",
        ) from error


def _read_list(path: Path) -> tuple[np.ndarray, list[str]]:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in lines if row and not row[0].startswith("#")]
    return np.array([float(row[0]) for row in rows]), [row[1] for row in rows]


def _nearest(stamps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,) index of the stamp nearest to each wanted time; -1 where none is near enough."""
    if not len(stamps):
        return np.full(len(wanted), -1)
    gap = np.abs(stamps[None] - wanted[:, None])
    best = gap.argmin(axis=1)
    return np.where(gap[np.arange(len(wanted)), best] <= NEAREST_S, best, -1)


def _poses(rows: np.ndarray, pose_of: np.ndarray) -> np.ndarray:
    """(N, 4, 4) from rows of position and quaternion x y z w; nan where pose_of is -1."""
    out = np.full((len(pose_of), 4, 4), np.nan)
    found = pose_of >= 0
    chosen = rows[pose_of[found]]
    out[found] = np.eye(4)
    out[found, :3, :3] = Rotation.from_quat(chosen[:, 3:7]).as_matrix()
    out[found, :3, 3] = chosen[:, :3]
    return out
