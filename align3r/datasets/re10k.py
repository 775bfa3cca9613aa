"""RealEstate10K (Zhou et al. 2018): cameras of house tours; users extract the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_sequence,
    image_size,
    numbers,
    read_numbers,
    reading,
    rigid,
)
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError

SPLITS = ("train", "test")
_SUFFIXES = (".png", ".jpg")
_COLUMNS = 19


def names(root: Path) -> list[str]:
    """The sequences of which there are cameras and a folder of frames: `test/0000cc6d8b108390`."""
    found = []
    for split in SPLITS:
        frames = root / "frames" / split
        extracted = {at.name for at in frames.iterdir()} if frames.is_dir() else set()
        found += [
            f"{split}/{at.stem}" for at in (root / split).glob("*.txt") if at.stem in extracted
        ]
    return sorted(found)


def read(root: Path, name: str) -> Sequence:
    """A sequence, with those of its frames that are there.

    The published intrinsics are fractions of the size of a frame; here they are in pixels of the
    frames that are there, the principal point as the plain product, which is how others evaluate.
    Lengths are in a unit of each sequence.

    Raises:
        InputError: The sequence is not there, its text is damaged, none of its frames is there,
            or frames differ in size.
    """
    check_sequence(name, names(root), root)
    text = root / f"{name}.txt"
    rows = read_numbers(text, _COLUMNS, skip=1)
    with reading(text):
        if (rows[:, 0] < 0).any() or (rows[:, 0] != np.rint(rows[:, 0])).any():
            raise ValueError("a time is no whole number of microseconds")
        stamps = [str(int(time)) for time in rows[:, 0]]
    extracted = _extracted(root, name)
    there = [i for i, stamp in enumerate(stamps) if stamp in extracted]
    if not there:
        raise InputError(
            f"none of the {len(stamps)} frames of {name} is under {root}, the first is "
            f"frames/{name}/{stamps[0]}.jpg",
            hint="extract the frames of its video at the times in its text",
        )
    images = tuple(extracted[stamps[i]] for i in there)
    return Sequence(
        dataset="re10k",
        name=name,
        frames=tuple(stamps[i] for i in there),
        truth=_truth(rows[there], _size(images), text),
        images=images,
        remarks=_remarks(len(stamps) - len(there), len(stamps)),
    )


def _extracted(root: Path, name: str) -> dict[str, Path]:
    folder = root / "frames" / name
    return {
        stamp: folder / f"{stamp}{suffix}"
        for suffix in _SUFFIXES
        for stamp in numbers(root, f"frames/{name}/*{suffix}")
    }


def _size(images: tuple[Path, ...]) -> tuple[int, int]:
    """(width, height) of all images; intrinsics in pixels are of one size."""
    size = image_size(images[0])
    for path in images[1:]:
        if (other := image_size(path)) != size:
            raise InputError(
                f"{path} is {other[0]}x{other[1]} pixels, the first frame {size[0]}x{size[1]}",
                hint="extract all frames of a video at one size",
            )
    return size


def _truth(rows: np.ndarray, size: tuple[int, int], text: Path) -> Truth:
    k = np.zeros((len(rows), 3, 3))
    k[:, 0, 0], k[:, 1, 1] = rows[:, 1] * size[0], rows[:, 2] * size[1]
    k[:, 0, 2], k[:, 1, 2] = rows[:, 3] * size[0], rows[:, 4] * size[1]
    k[:, 2, 2] = 1
    cam_from_world = rigid(rows[:, 7:].reshape(-1, 3, 4), text)
    return Truth(
        world_from_cam=rigid(np.linalg.inv(cam_from_world), text),
        intrinsics=pinholes(k, text),
        times=rows[:, 0] * 1e-6,
        size=size,
        depth=None,
        metric=False,
    )


def _remarks(missing: int, total: int) -> tuple[str, ...]:
    return (f"{missing} of {total} frames are not among the images",) if missing else ()
