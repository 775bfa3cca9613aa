"""SA-1B (Kirillov et al. 2023): photographs alone, shard after shard, for training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from align3r.datasets.files import check_sequence, numbers
from align3r.errors import InputError
from align3r.io.images import read_rgb
from align3r.io.tar_images import stream_tar_images

_IMAGE = re.compile(r"sa_[0-9]{1,18}\.jpg")
_SHARD = re.compile(r"sa_[0-9]{1,18}")


def names(root: Path) -> list[str]:
    """The shards under a root: `sa_000000`, packed in `sa_000000.tar` or unpacked to a folder."""
    packed = {at.stem for at in root.glob("sa_*.tar") if at.is_file()}
    unpacked = {at.name for at in root.glob("sa_*") if at.is_dir()}
    return sorted(name for name in packed | unpacked if _SHARD.fullmatch(name))


def read(root: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """The images of a shard, one after the other; those of the folder if it holds some.

    Yields:
        What the data set calls an image (`sa_223750`), and (H, W, 3) uint8 RGB. Images differ in
        size. Nothing else is known about them: no camera, no depth.

    Raises:
        InputError: There is no such shard, it holds no image, or one of them cannot be read; of an
            archive also, when it holds a link or a name that leads out of it.
    """
    check_sequence(name, names(root), root)
    archive = root / f"{name}.tar"
    found = numbers(root, f"{name}/sa_*.jpg")
    if not found and archive.is_file():
        return stream_tar_images(archive, _IMAGE)
    if not found:
        raise InputError(f"{root / name} holds no sa_<id>.jpg", hint="unpack the shard again")
    files = (root / name / f"sa_{number}.jpg" for number in found)
    return ((file.stem, read_rgb(file)) for file in files)
