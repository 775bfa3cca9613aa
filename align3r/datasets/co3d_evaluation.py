"""CO3Dv2 as PoseDiffusion and VGGT evaluate poses: one small file of cameras a category.

The files `<category>_test.jgz` and `<category>_train.jgz` name the frames and their cameras; images
are those of CO3Dv2 itself. There is no depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from align3r.datasets import co3d_cameras
from align3r.datasets.co3d_annotations import text
from align3r.datasets.files import check_choice, check_sequence, image_size, reading, rigid
from align3r.datasets.listed import listed
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.io.gzips import read_json_gz

SPLITS = ("test", "train")
_FAR = 1e5
"""Sum of |x|, |y|, |z| of a camera's position from which on its sequence counts as mistaken."""

_Annotations = Mapping[str, list[Mapping[str, Any]]]


def names(
    root: Path, *, annotations: Path | None = None, split: str = "test", least: int = 1
) -> list[str]:
    """The sequences that are there and can be used: `apple/110_13051_23361`.

    Those with an absurd camera are left out, as others do.

    Args:
        root: Of CO3Dv2: with a folder for each category.
        annotations: Folder with the annotation files; the root when not given.
        split: `test` or `train`.
        least: Fewest frames of a sequence; VGGT takes those of at least 50.

    Raises:
        UsageError: There is no such split.
        InputError: A file cannot be read.
    """
    check_choice(split, SPLITS, "split")
    return [
        f"{category}/{name}"
        for path in sorted((annotations or root).glob(f"*_{split}.jgz"))
        for category in [path.name.removesuffix(f"_{split}.jgz")]
        for name in _usable(root / category, _read(path), path, least)
    ]


def read(
    root: Path,
    name: str,
    *,
    annotations: Path | None = None,
    split: str = "test",
    least: int = 1,
) -> Sequence:
    """A sequence in the order of its annotations; times are not known: a second a frame.

    Args:
        root: As for `names`.
        name: As `names` gives it.
        annotations: As for `names`.
        split: As for `names`.
        least: As for `names`.

    Raises:
        UsageError: There is no such split.
        InputError: The sequence is not there, or a file of it is missing or damaged.
    """
    check_choice(split, SPLITS, "split")
    category, _, sequence = name.partition("/")
    path = (annotations or root) / f"{category}_{split}.jgz"
    found = _read(path) if category and path.exists() else {}
    usable = _usable(root / category, found, path, least)
    check_sequence(name, [f"{category}/{one}" for one in usable], root)
    rows = found[sequence]
    with reading(path):
        files = [text(row["filepath"]) for row in rows]
    images = listed(root, files, f"images of {name}")
    size = image_size(images[0])
    with reading(path):
        k = np.stack([co3d_cameras.intrinsics(row, size) for row in rows])
        poses = rigid(np.stack([co3d_cameras.cam_from_world(row) for row in rows]), path)
    return Sequence(
        dataset="co3d-evaluation",
        name=name,
        frames=tuple(image.stem for image in images),
        truth=Truth(
            world_from_cam=rigid(np.linalg.inv(poses), path),
            intrinsics=pinholes(k, path),
            times=np.arange(len(rows), dtype=np.float64),
            size=size,
            depth=None,
            metric=False,
        ),
        images=images,
    )


def _read(path: Path) -> _Annotations:
    with reading(path):
        found = read_json_gz(path)
        if not isinstance(found, dict):
            raise ValueError("it is no table of sequences")
        for rows in found.values():
            if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
                raise ValueError("a sequence of it is no list of cameras")
    return found


def _usable(folder: Path, found: _Annotations, path: Path, least: int) -> list[str]:
    """Sequences of a category that are there, long enough and without absurd cameras, sorted."""
    if not folder.is_dir():
        return []
    present = {at.name for at in folder.iterdir() if at.is_dir()}
    with reading(path):
        return sorted(
            name
            for name in present & set(found)
            if len(found[name]) >= max(1, least)
            and all(
                np.abs(co3d_cameras.cam_from_world(row)[:3, 3]).sum() <= _FAR for row in found[name]
            )
        )
