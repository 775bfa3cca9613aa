"""SceneFlow: FlyingThings3D, Driving and Monkaa, rendered in stereo (Mayer et al., CVPR 2016).

The two cameras are one unit apart, which is the unit of everything here.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_sequence,
    check_size,
    files,
    folders,
    image_size,
    numbers,
    read_rows,
    reading,
    rigid,
)
from align3r.datasets.frames import Pinhole, frames_of, published_intrinsics, with_pose
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.io.pfm import read_pfm

RENDERINGS = ("clean", "final")
SIZE = (960, 540)
CAMERA: Pinhole = (1050.0, 1050.0, 479.5, 269.5)
CAMERA_15MM: Pinhole = (450.0, 450.0, 479.5, 269.5)
"""Of the half of Driving whose folders say so."""

_OPENCV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
# FlyingThings3D: split/letter/number. Driving: focal/scene/speed. Monkaa: scene.
_LEAVES = ("*/*/*", "*")
_LEAF = re.compile(r"(\w+/|\w+/\w+/\w+/)(left|right)")
_SIDES = {"left": "L", "right": "R"}


def names(root: Path, *, rendering: str = "final", intrinsics: Pinhole | None = None) -> list[str]:
    """Sequences of which there are images, left and right apart; settings as of `read`."""
    check_choice(rendering, RENDERINGS, "rendering")
    top = _images_at(root, rendering)
    found = [
        at for leaf in _LEAVES for side in _SIDES for at in folders(root, f"{top}/{leaf}/{side}")
    ]
    return sorted(at.removeprefix(f"{top}/") for at in found)


def read(
    root: Path, name: str, *, rendering: str = "final", intrinsics: Pinhole | None = None
) -> Sequence:
    """A sequence of one of the two cameras; where it stands in time is counted in frames.

    Args:
        root: With `frames_finalpass` or `frames_cleanpass` (png or webp), `disparity` and
            `camera_data` of one of the three data sets.
        name: As `TEST/A/0000/left`, `15mm_focallength/scene_backwards/fast/left` or
            `treeflight_x2/right`.
        rendering: The pass: `clean`, or `final` with blur of motion and of the lens.
        intrinsics: Of images at another size than the published one.

    Raises:
        InputError: Files are missing or cannot be read.
        UsageError: There is no such rendering, or the camera is not known.
    """
    check_choice(rendering, RENDERINGS, "rendering")
    at = f"{_images_at(root, rendering)}/{name}"
    if not (_LEAF.fullmatch(name) and (root / at).is_dir()):  # listing thousands takes a while
        check_sequence(name, names(root, rendering=rendering), root)
    scene, _, side = name.rpartition("/")
    suffix = "png" if numbers(root, f"{at}/*.png") else "webp"
    patterns = (f"{at}/*.{suffix}", f"disparity/{name}/*.pfm")
    path = root / "camera_data" / scene / "camera_data.txt"
    poses = _read_poses(path, _SIDES[side])
    frames, remarks = with_pose(frames_of(root, *patterns), poses, path)
    images, disparities = (files(root, pattern, frames) for pattern in patterns)
    size = image_size(images[0])
    camera = CAMERA_15MM if scene.startswith("15mm") else CAMERA
    k = published_intrinsics(intrinsics, {SIZE: camera}, size=size)
    return Sequence(
        dataset="sceneflow",
        name=name,
        frames=tuple(frames),
        images=images,
        remarks=remarks,
        truth=Truth(
            world_from_cam=np.stack([poses[int(frame)] for frame in frames]),
            intrinsics=np.repeat(k[None], len(frames), axis=0),
            times=np.array(frames, np.float64),
            size=size,
            depth=lambda i: _read_depth(disparities[i], size, focal=k[0, 0]),
            metric=False,
        ),
    )


def _images_at(root: Path, rendering: str) -> str:
    """The folder of a pass; that of the archives of webp images may say so."""
    top = f"frames_{rendering}pass"
    return f"{top}_webp" if not (root / top).is_dir() and (root / f"{top}_webp").is_dir() else top


def _read_depth(path: Path, size: tuple[int, int], *, focal: float) -> np.ndarray:
    """(H, W) float32; nan where the disparity is not positive."""
    disparity = read_pfm(path)
    with reading(path):
        if disparity.ndim != 2:
            raise ValueError("it has three channels, a disparity has one")
    check_size(disparity, size, path)
    known = disparity > 0
    with np.errstate(over="ignore"):
        depth = (focal / np.where(known, disparity, 1.0)).astype(np.float32)
    return np.where(known, depth, np.float32(np.nan))


def _read_poses(path: Path, camera: str) -> dict[int, np.ndarray]:
    """world_from_cam (4, 4) of one of the cameras, `L` or `R`, by the number of the frame."""
    poses: dict[int, list[str]] = {}
    frame = None
    with reading(path):
        for words in read_rows(path):
            if words[0] == "Frame":
                frame = int(words[1])
            elif words[0] == camera and frame is not None:
                poses[frame] = words[1:]
            elif words[0] not in _SIDES.values():
                raise ValueError(f"a line starts with {words[0][:20]!r}, not with Frame, L or R")
        wrong = [frame for frame, words in poses.items() if len(words) != 16]
        if wrong or not poses:
            raise ValueError(
                f"the pose of frame {wrong[0]} is not 16 numbers" if wrong else "it holds no poses"
            )
        rows = np.array(list(poses.values()), np.float64)
    matrices = rigid(rows.reshape(-1, 4, 4), path) @ _OPENCV_FROM_BLENDER
    return dict(zip(poses, matrices, strict=True))
