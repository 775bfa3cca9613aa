"""7-Scenes: rooms seen by a hand-held Kinect, whose depth is not registered to its colour.

Shotton et al., CVPR 2013.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_sequence,
    files,
    folders,
    image_size,
    read_numbers,
    read_rows,
    read_uint16,
    reading,
    rigid,
)
from align3r.datasets.frames import frames_of
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError

CAMERAS = ("colour", "depth")
SPLITS = ("train", "test")
FRAMES_A_SECOND = 30.0

_FOCAL = {"colour": 525.0, "depth": 585.0}
"""Pixels of an image 640 wide, whose principal point is (320, 240): nominal, for all scenes."""
_COLOUR_IN_DEPTH_M = np.array([0.024, 0.0, 0.0])
"""Where the colour camera is, as seen by the depth camera: 2.4 cm to the right."""
_NOTHING = (0, 65535)
_DRIFT = 0.01


def names(root: Path, *, camera: str = "colour", split: str | None = None) -> list[str]:
    """Sequences that are there, as `chess/seq-01`; those of a split only, if one is named."""
    check_choice(camera, CAMERAS, "the camera")
    found = folders(root, "*/seq-[0-9][0-9]")
    if split is None:
        return found
    check_choice(split, SPLITS, "the split")
    chosen: set[str] = set()
    for scene in sorted({name.split("/")[0] for name in found}):
        chosen |= _listed(root, scene, split)
    return [name for name in found if name in chosen]


def read(root: Path, name: str, *, camera: str = "colour", split: str | None = None) -> Sequence:
    """A sequence, as one of its two cameras.

    Args:
        root: With the scenes, and in them the sequences, unpacked.
        name: One of `names`.
        camera: `colour`: depth and poses, which are of the depth camera, are brought to the colour
            camera. `depth`: depth and poses as they are in the files; images fit them roughly.
        split: `train` or `test`, for `names`.

    Raises:
        InputError: Files are missing or cannot be read.
        UsageError: There is no such camera or split.
    """
    check_sequence(name, names(root, camera=camera, split=split), root)
    patterns = [f"{name}/frame-*.{kind}" for kind in ("color.png", "depth.png", "pose.txt")]
    frames = frames_of(root, *patterns)
    images, depths, poses = (files(root, pattern, frames) for pattern in patterns)
    size = image_size(images[0])
    world_from_cam = np.stack([_read_pose(path) for path in poses])
    if camera == "colour":
        world_from_cam[:, :3, 3] += world_from_cam[:, :3, :3] @ _COLOUR_IN_DEPTH_M
    return Sequence(
        dataset="7scenes",
        name=name,
        frames=tuple(f"frame-{frame}" for frame in frames),
        images=images,
        truth=Truth(
            world_from_cam=world_from_cam,
            intrinsics=np.tile(_intrinsics(camera, size), (len(frames), 1, 1)),
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(depths[i], size, camera=camera),
        ),
    )


def _listed(root: Path, scene: str, split: str) -> set[str]:
    path = root / scene / f"{split.capitalize()}Split.txt"
    words = [words[0] for words in read_rows(path)]
    found = [re.fullmatch(r"sequence([0-9]{1,4})", word) for word in words]
    if not all(found):
        raise InputError(f"{path} is no list of sequences", hint="wanted: lines as `sequence1`")
    return {f"{scene}/seq-{int(match[1]):02d}" for match in found if match}


def _read_pose(path: Path) -> np.ndarray:
    """(4, 4); tracking adds up rotations, which are no longer exact ones after many frames."""
    table = read_numbers(path, 4)
    if table.shape == (4, 4):
        with reading(path):
            left, _, right = np.linalg.svd(table[:3, :3])
        if np.abs(left @ right - table[:3, :3]).max() < _DRIFT:
            table[:3, :3] = left @ right
    pose: np.ndarray = rigid(table[None], path)[0]
    return pose


def _intrinsics(camera: str, size: tuple[int, int]) -> np.ndarray:
    scale = size[0] / 640
    focal = _FOCAL[camera]
    return np.array([[focal * scale, 0, 320 * scale], [0, focal * scale, 240 * scale], [0, 0, 1.0]])


def _read_depth(path: Path, size: tuple[int, int], *, camera: str) -> np.ndarray:
    levels = read_uint16(path, size)
    depth = np.where(np.isin(levels, _NOTHING), np.nan, levels / 1000).astype(np.float32)
    return depth if camera == "depth" else _seen_by_colour(depth)


def _seen_by_colour(depth: np.ndarray) -> np.ndarray:
    """Depth in the colour camera, which looks in the same direction: the nearest at each pixel.

    Its pixels are larger than those of the depth camera, so that surfaces have no holes.
    """
    height, width = depth.shape
    one, other = (_intrinsics(camera, (width, height)) for camera in ("depth", "colour"))
    v, u = np.nonzero(depth > 0)
    z = depth[v, u]
    x, y = (u - one[0, 2]) / one[0, 0], (v - one[1, 2]) / one[1, 1]
    shift = _COLOUR_IN_DEPTH_M / z[:, None]
    to_u = np.rint(other[0, 0] * (x - shift[:, 0]) + other[0, 2]).astype(np.int64)
    to_v = np.rint(other[1, 1] * (y - shift[:, 1]) + other[1, 2]).astype(np.int64)
    inside = (to_u >= 0) & (to_u < width) & (to_v >= 0) & (to_v < height)
    seen = np.full((height, width), np.inf, np.float32)
    np.minimum.at(seen, (to_v[inside], to_u[inside]), z[inside])
    return np.where(np.isfinite(seen), seen, np.float32(np.nan))
