"""Folders in TUM layout with a camera.json: sequences of one's own, see `truth_files.read_rgbd`."""

from __future__ import annotations

from pathlib import Path

from align3r.datasets.files import check_sequence, check_there, inside
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth_files import read_list, read_rgbd

_NEEDED = ("camera.json", "rgb.txt", "groundtruth.txt", "depth.txt")


def names(root: Path) -> list[str]:
    """The folders below the root that hold such a sequence."""
    return sorted(
        folder.name
        for folder in root.iterdir()
        if all((folder / name).is_file() for name in _NEEDED)
    )


def read(root: Path, name: str) -> Sequence:
    """One sequence; frames without a pose or a depth stay, and say nothing.

    Raises:
        InputError: Something is missing or cannot be read.
    """
    check_sequence(name, names(root), root)
    folder = root / name
    truth = read_rgbd(folder)
    images = tuple(inside(folder, file) for file in read_list(folder / "rgb.txt")[1])
    check_there(images, root, what="images")
    frames = tuple(image.stem for image in images)
    return Sequence(dataset="rgbd", name=name, frames=frames, truth=truth, images=images)
