"""Recordings in the layout of TUM RGB-D: colour, depth and poses with stamps of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_there,
    folders,
    image_size,
    inside,
    read_numbers,
    read_rows,
    read_uint16,
    reading,
    rigid_from_quaternions,
)
from align3r.datasets.frames import Pinhole, published_intrinsics
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.geometry.association import associate, nearest_within

LEVELS_A_METRE = 5000.0

Partner = Literal["greedy", "nearest", "rows"]
Need = Literal["both", "pose", "none"]


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How colour finds its depth and its pose; the fields are settings of the reader."""

    association: Partner = "greedy"
    """`greedy`: the closest pairs first and each stamp once, as the benchmark's own tools.
    `nearest`: to each image the nearest. `rows`: the n-th of each, whatever the stamps say, as
    Align3R's released evaluation: poses come three times as often as images, so they are wrong."""
    within: float = 0.02
    """Seconds between what belongs together, at most."""
    need: Need = "both"
    """What an image has to have to be a frame: depth and a pose, a pose, or nothing."""

    def __post_init__(self) -> None:
        check_choice(self.association, ("greedy", "nearest", "rows"), "association")
        check_choice(self.need, ("both", "pose", "none"), "need")

    def partners(self, stamps: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(N,) index of what belongs to each stamp; -1 where nothing does."""
        found = np.full(len(stamps), -1)
        if self.association == "nearest":
            return nearest_within(stamps, others, self.within)
        if self.association == "rows":
            count = min(len(stamps), len(others))
            found[:count] = np.arange(count)
            return found
        order = np.argsort(others, kind="stable")
        mine, theirs = associate(stamps, others[order], within=self.within, rule="greedy")
        found[mine] = order[theirs]
        return found


def recordings(root: Path, pattern: str) -> list[str]:
    """Folders under a root that have the three lists, sorted."""
    lists = ("rgb.txt", "depth.txt", "groundtruth.txt")
    found = folders(root, pattern)
    return [at for at in found if all((root / at / name).is_file() for name in lists)]


def read_stamped(
    folder: Path,
    title: tuple[str, str],
    *,
    pairing: Pairing,
    intrinsics: tuple[Pinhole | None, Mapping[tuple[int, int], Pinhole]],
    camera_of: Callable[[np.ndarray], np.ndarray] = lambda poses: poses,
) -> Sequence:
    """A recording in the layout of TUM RGB-D.

    Args:
        folder: With its lists.
        title: Names of the data set and of the sequence.
        pairing: How colour finds its depth and its pose.
        intrinsics: What the user gives, and what is known at which size of images; at another
            size they are nan.
        camera_of: world_from_cam (N, 4, 4) from the poses in the file.

    Raises:
        InputError: Files are missing or cannot be read, or no image has what is needed.
        UsageError: What is given is no camera.
    """
    stamps, images = _list(folder, "rgb.txt")
    depth_stamps, depth_files = _list(folder, "depth.txt")
    path = folder / "groundtruth.txt"
    rows = read_numbers(path, 8)
    pose_of = pairing.partners(stamps, rows[:, 0])
    depth_of = pairing.partners(stamps, depth_stamps)
    kept, remarks = _kept(pose_of, depth_of, pairing.need, folder)
    if pairing.association == "rows":
        remarks += ("depth and poses are paired with the images by row, whatever their times",)
    pose_of, depth_of = pose_of[kept], depth_of[kept]
    chosen = [images[i] for i in kept]
    depths = [depth_files[i] if i >= 0 else None for i in depth_of]
    check_there([*chosen, *(file for file in depths if file is not None)], folder)
    size = image_size(chosen[0])
    k, unknown = _intrinsics(*intrinsics, size=size)
    poses = np.full((len(kept), 4, 4), np.nan)
    poses[pose_of >= 0] = camera_of(rigid_from_quaternions(rows[pose_of[pose_of >= 0], 1:], path))
    return Sequence(
        dataset=title[0],
        name=title[1],
        frames=tuple(image.stem for image in chosen),
        truth=Truth(
            world_from_cam=poses,
            intrinsics=np.repeat(k[None], len(kept), axis=0),
            times=stamps[kept],
            size=size,
            depth=lambda i: _read_depth(depths[i], size),
        ),
        images=tuple(chosen),
        remarks=remarks + unknown,
    )


def _kept(
    pose_of: np.ndarray, depth_of: np.ndarray, need: Need, folder: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of the images that have what is needed, and what is to be said about the others."""
    partners = {"pose": pose_of, "depth": depth_of}
    needed = {"both": ("pose", "depth"), "pose": ("pose",), "none": ()}[need]
    lacks = {what: partners[what] < 0 for what in needed}
    good = ~np.any([np.zeros(len(pose_of), bool), *lacks.values()], axis=0)
    if not good.any():
        raise InputError(
            f"none of the {len(good)} images of {folder} has {' and '.join(needed)}",
            hint="the lists are of different recordings, or `within` is too small",
        )
    remarks = tuple(
        f"{int(lack.sum())} of {len(good)} images have no {what}: they are left out"
        for what, lack in lacks.items()
        if lack.any()
    )
    return np.flatnonzero(good), remarks


def _intrinsics(
    given: Pinhole | None, known: Mapping[tuple[int, int], Pinhole], *, size: tuple[int, int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(3, 3) of images of this size, nan where they are not known, and what is to be said then."""
    if given is None and size not in known:
        unknown = f"the camera of images of {size[0]}x{size[1]} pixels is not known"
        return np.full((3, 3), np.nan), (unknown,)
    return published_intrinsics(given, known, size=size), ()


def _list(folder: Path, name: str) -> tuple[np.ndarray, list[Path]]:
    """Stamps and files of a list, in order of time."""
    rows = read_rows(folder / name)
    with reading(folder / name):
        if not rows:
            raise ValueError("it names no file")
        if any(len(row) != 2 for row in rows):
            raise ValueError("its lines are not a time and a file")
        stamps = np.array([float(row[0]) for row in rows])
        if not np.isfinite(stamps).all():
            raise ValueError("a time is not finite")
    order = np.argsort(stamps, kind="stable")
    return stamps[order], [inside(folder, rows[i][1]) for i in order]


def _read_depth(path: Path | None, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 metres; nan where there is none."""
    if path is None:
        return np.full(size[::-1], np.nan, np.float32)
    levels = read_uint16(path, size)
    return np.where(levels == 0, np.nan, levels / LEVELS_A_METRE).astype(np.float32)
