"""SA-1B (Kirillov et al. 2023): photographs alone, shard after shard, for training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from align3r.datasets.files import check_sequence, numbers
from align3r.io.images import read_rgb
from align3r.io.tar_images import stream_tar_images

_IMAGE = re.compile(r"sa_[0-9]{1,18}\.jpg")
_SHARD = re.compile(r"sa_[0-9]{1,18}")


def names(root: Path) -> list[str]:
    """The shards under a root: `sa_000000` for `sa_000000.tar`, or for a folder it is unpacked to.

    Unpacked shards hold images; an empty folder is none.
    """
    packed = {at.stem for at in root.glob("sa_*.tar") if at.is_file()}
    unpacked = {at.name for at in root.glob("sa_*") if at.is_dir() and _unpacked(at)}
    return sorted(name for name in packed | unpacked if _SHARD.fullmatch(name))


def read(root: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """The images of a shard, one after the other; the folder is read where there are both.

    Yields:
        What the data set calls an image (`sa_223750`), and (H, W, 3) uint8 RGB. Images differ in
        size. Nothing else is known about them: no camera, no depth.

    Raises:
        InputError: There is no such shard, or one of its images cannot be read; of an archive
            also, when it holds a link or a name that leads out of it.
    """
    check_sequence(name, names(root), root)
    if not _unpacked(root / name):
        return stream_tar_images(root / f"{name}.tar", _IMAGE)
    files = (root / name / f"sa_{number}.jpg" for number in _unpacked(root / name))
    return ((file.stem, read_rgb(file)) for file in files)


def _unpacked(folder: Path) -> list[str]:
    return numbers(folder, "sa_*.jpg")
