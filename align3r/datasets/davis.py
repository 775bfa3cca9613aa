"""DAVIS: videos of things that move, with a mask of each annotated object.

Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017.
"""

from __future__ import annotations

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
)
from align3r.datasets.frames import frames_of
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.io.label_png import read_labels

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
FRAMES_A_SECOND = 24.0


def names(root: Path, *, resolution: str = "480p", image_set: str | None = None) -> list[str]:
    """Videos that are there, as `bear`; those of a list only, if one is named: `2017/val`."""
    check_choice(resolution, RESOLUTIONS, "the resolution")
    found = [at.split("/")[2] for at in folders(root, f"JPEGImages/{resolution}/*")]
    if image_set is None:
        return found
    lists = [at.relative_to(root / "ImageSets") for at in root.glob("ImageSets/*/*.txt")]
    check_choice(image_set, sorted(at.with_suffix("").as_posix() for at in lists), "the list")
    listed = {words[0] for words in read_rows(root / "ImageSets" / f"{image_set}.txt")}
    return [name for name in found if name in listed]


def read(
    root: Path, name: str, *, resolution: str = "480p", image_set: str | None = None
) -> Sequence:
    """A video. What is annotated counts as moving; cameras and depth are not known.

    Args:
        root: With `JPEGImages/` and, where objects are annotated, `Annotations/`.
        name: One of `names`.
        resolution: `480p`, or the folder of another one.
        image_set: A list below `ImageSets`, without `.txt`, for `names`.

    Raises:
        InputError: Files are missing or cannot be read.
        UsageError: There is no such resolution or list.
    """
    check_sequence(name, names(root, resolution=resolution, image_set=image_set), root)
    masks = f"Annotations/{resolution}/{name}/*.png"
    pattern = f"JPEGImages/{resolution}/{name}/*.jpg"
    frames, labelled = frames_of(root, pattern, masks), set(numbers(root, masks))
    images = files(root, pattern, frames)
    without = sum(frame not in labelled for frame in frames)
    labels = () if without else files(root, masks, frames)
    size = image_size(images[0])
    remark = f"{without} of {len(frames)} frames have no annotation: what moves is not known"
    return Sequence(
        dataset="davis",
        name=name,
        frames=tuple(frames),
        images=images,
        remarks=(remark,) if without else (),
        truth=Truth(
            world_from_cam=np.full((len(frames), 4, 4), np.nan),
            intrinsics=np.full((len(frames), 3, 3), np.nan),
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=None,
            moving=None if without else lambda i: read_objects(labels[i], size) > 0,
            metric=False,
        ),
    )


def read_objects(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 numbers of the objects of an annotation of (width, height); 0 is background.

    Raises:
        InputError: It cannot be read or is of another size.
    """
    return check_size(read_labels(path), size, path)
