"""ScanNet-1500: pairs of images from the test scenes of ScanNet, for relative pose.

The list is that of SuperGlue (Sarlin et al. 2020) and LoFTR (Sun et al. 2021): `test.npz` and
`intrinsics.npz`. Two conventions of intrinsics are in use, and numbers under one do not compare to
numbers under the other:

- `depth`: the intrinsics of the depth camera, for colour images resized to its 640x480 (LoFTR).
- `colour`: those of the colour camera, for images resized to a short side of 480 (RoMa, VGGT).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_sequence,
    files,
    image_size,
    read_numbers,
    reading,
    rigid,
)
from align3r.datasets.image_pair import ImagePair
from align3r.datasets.listed import listed
from align3r.datasets.pinholes import pinhole
from align3r.geometry.cameras import resize_intrinsics
from align3r.io.arrays import read_npz

CONVENTIONS = ("depth", "colour")
_FOLDERS = ("scannet_test_1500", "scans_test")
_LIST, _INTRINSICS = "test.npz", "intrinsics.npz"
_DEPTH_SIZE = (640, 480)
_SHORT_SIDE = 480


def names(root: Path, *, intrinsics: str = "depth") -> list[str]:
    """The scenes of the list, sorted; none where there is no list.

    Raises:
        UsageError: There is no such convention.
        InputError: The list is damaged.
    """
    check_choice(intrinsics, CONVENTIONS, "intrinsics")
    return sorted(set(_read_list(root / _LIST)[0])) if (root / _LIST).exists() else []


def read(root: Path, name: str, *, intrinsics: str = "depth") -> list[ImagePair]:
    """The pairs of one scene, in the order of the list.

    Raises:
        UsageError: There is no such convention.
        InputError: The scene is not in the list, or a file of it is missing or damaged.
    """
    check_sequence(name, names(root, intrinsics=intrinsics), root)
    return _read_pairs(root, {name}, intrinsics)


def read_pairs(root: Path, *, intrinsics: str = "depth") -> list[ImagePair]:
    """All pairs, in the order of the list.

    Raises:
        UsageError: There is no such convention.
        InputError: There is no list, or a file that it needs is missing or damaged.
    """
    return _read_pairs(root, set(names(root, intrinsics=intrinsics)), intrinsics)


@dataclass(frozen=True)
class _Scene:
    """What the pairs of a scene share."""

    name: str
    images: Mapping[str, Path]
    size: tuple[int, int]
    intrinsics: np.ndarray

    def pair(self, ids: tuple[str, str], b_from_a: np.ndarray) -> ImagePair:
        return ImagePair(
            scene=self.name,
            ids=ids,
            images=(self.images[ids[0]], self.images[ids[1]]),
            size=self.size,
            intrinsics=np.stack([self.intrinsics, self.intrinsics]),
            b_from_a=b_from_a,
        )


def _read_pairs(root: Path, wanted: set[str], intrinsics: str) -> list[ImagePair]:
    scenes, frames, b_from_a = _read_list(root / _LIST)
    folder = _folder(root, wanted)
    ids: dict[str, set[str]] = {scene: set() for scene in sorted(wanted)}
    chosen = [i for i, scene in enumerate(scenes) if scene in wanted]
    for i in chosen:
        ids[scenes[i]].update(frames[i])
    read = {scene: _read_scene(root, f"{folder}/{scene}", ids[scene], intrinsics) for scene in ids}
    return [read[scenes[i]].pair(frames[i], b_from_a[i]) for i in chosen]


def _read_scene(root: Path, scene: str, ids: set[str], intrinsics: str) -> _Scene:
    frames = sorted(ids, key=int)
    found = files(root, f"{scene}/color/*.jpg", frames)
    k, size = _CAMERAS[intrinsics](root, root / scene, frames[0])
    return _Scene((root / scene).name, dict(zip(frames, found, strict=True)), size, k)


def _read_list(path: Path) -> tuple[list[str], list[tuple[str, str]], np.ndarray]:
    """Scene, ids of a and b, and b_from_a of each pair."""
    with reading(path):
        data = read_npz(path, ("name", "rel_pose"))
        rows, motions = data["name"], data["rel_pose"]
        if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iu" or not len(rows):
            raise ValueError(f"its names are {rows.dtype} of {rows.shape}, not four whole numbers")
        if motions.shape != (len(rows), 12):
            raise ValueError(f"{len(rows)} names, and motions of shape {motions.shape}")
    scenes = [f"scene{scene:04d}_{scan:02d}" for scene, scan, _, _ in rows.tolist()]
    frames = [(str(a), str(b)) for _, _, a, b in rows.tolist()]
    return scenes, frames, rigid(motions.reshape(-1, 3, 4), path)


def _folder(root: Path, wanted: Iterable[str]) -> str:
    """Where the scenes are, from the root; all that are wanted are there."""
    folder = next((name for name in _FOLDERS if (root / name).is_dir()), _FOLDERS[0])
    listed(root, [f"{folder}/{scene}" for scene in sorted(wanted)], f"scenes of {_LIST}")
    return folder


def _depth_camera(root: Path, scene: Path, frame: str) -> tuple[np.ndarray, tuple[int, int]]:
    path = root / _INTRINSICS
    with reading(path):
        k = read_npz(path, (scene.name,))[scene.name]
    depth = scene / "depth" / f"{frame}.png"
    return pinhole(k, path), _size(depth) if depth.exists() else _DEPTH_SIZE


def _colour_camera(root: Path, scene: Path, frame: str) -> tuple[np.ndarray, tuple[int, int]]:
    path = scene / "intrinsic" / "intrinsic_color.txt"
    k = read_numbers(path, 4)
    with reading(path):
        if len(k) != 4:
            raise ValueError(f"{len(k)} lines of numbers instead of 4")
    width, height = _size(scene / "color" / f"{frame}.jpg")
    scale = _SHORT_SIDE / min(width, height)
    size = (round(width * scale), round(height * scale))
    return resize_intrinsics(pinhole(k[:3, :3], path), (width, height), size), size


def _size(path: Path) -> tuple[int, int]:
    size = image_size(path)
    with reading(path):
        if min(size) < 1:
            raise ValueError(f"{size[0]}x{size[1]} pixels")
    return size


_CAMERAS = {"depth": _depth_camera, "colour": _colour_camera}
