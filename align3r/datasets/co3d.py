"""CO3Dv2 (Reizenstein et al. 2021) by its own annotations: turns around single objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from align3r.datasets.co3d_annotations import (
    FRAMES,
    SEQUENCES,
    Frame,
    read_frames,
    read_scores,
    read_set_list,
)
from align3r.datasets.files import check_sequence, check_size, read_uint16, rigid
from align3r.datasets.listed import listed
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.io.png import read_mask_png


def names(
    root: Path,
    *,
    set_list: str | None = "fewview_dev",
    split: str = "test",
    quality: float | None = 0.5,
) -> list[str]:
    """The sequences that are there: `apple/110_13051_23361`.

    Args:
        root: With a folder for each category.
        set_list: Only sequences of `set_lists/set_lists_<this>.json`; None: of all annotations.
        split: Of that list: `train`, `val` or `test`.
        quality: Only sequences whose cameras are better than this (`viewpoint_quality_score`);
            None: all.

    Raises:
        InputError: An annotation cannot be read, or there is no such list or split.
    """
    return [
        f"{at.parent.name}/{name}"
        for at in sorted(root.glob(f"*/{SEQUENCES}"))
        for name in _sequences(at.parent, set_list, split, quality)
    ]


def read(
    root: Path,
    name: str,
    *,
    set_list: str | None = "fewview_dev",
    split: str = "test",
    quality: float | None = 0.5,
) -> Sequence:
    """A sequence; of a set list those of its frames that are listed.

    Lengths are in a unit of each sequence. Depth is that of the structure from motion, where its
    mask says that it can be trusted; nan elsewhere.

    Args:
        root: As for `names`.
        name: As `names` gives it.
        set_list: As for `names`.
        split: As for `names`.
        quality: As for `names`.

    Raises:
        InputError: The sequence is not there, or a file of it is missing or damaged.
    """
    category, _, sequence = name.partition("/")
    folder = root / category
    there = _sequences(folder, set_list, split, quality) if (folder / SEQUENCES).exists() else []
    check_sequence(name, [f"{category}/{one}" for one in there], root)
    frames = read_frames(folder / FRAMES).get(sequence, {})
    if set_list is not None:
        wanted = read_set_list(folder, set_list, split)[sequence]
        frames = _only(frames, wanted, folder / FRAMES)
    if not frames:
        raise InputError(
            f"{folder / FRAMES} has no frame of {sequence}", hint="download the category again"
        )
    return _sequence(root, name, [frames[number] for number in sorted(frames)])


def _sequences(folder: Path, set_list: str | None, split: str, quality: float | None) -> list[str]:
    """Sequences of a category, sorted."""
    scores = read_scores(folder / SEQUENCES)
    wanted: Collection[str] = scores if set_list is None else read_set_list(folder, set_list, split)
    present = {at.name for at in folder.iterdir() if at.is_dir()}
    return sorted(
        name
        for name in present & set(wanted)
        if quality is None or scores.get(name, -np.inf) > quality
    )


def _only(frames: Mapping[int, Frame], wanted: Collection[int], path: Path) -> Mapping[int, Frame]:
    missing = sorted(set(wanted) - set(frames))
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the {len(wanted)} frames of a set list, the first is "
            f"number {missing[0]}",
            hint="take set lists and annotations of the same release",
        )
    return {number: frames[number] for number in wanted}


def _sequence(root: Path, name: str, annotated: list[Frame]) -> Sequence:
    path = root / name.partition("/")[0] / FRAMES
    size = Counter(frame.size for frame in annotated).most_common(1)[0][0]
    frames = [frame for frame in annotated if frame.size == size]
    dropped = len(annotated) - len(frames)
    images = listed(root, [frame.image for frame in frames], f"images of {name}")
    poses = rigid(np.stack([frame.cam_from_world for frame in frames]), path)
    return Sequence(
        dataset="co3d",
        name=name,
        frames=tuple(image.stem for image in images),
        truth=Truth(
            world_from_cam=rigid(np.linalg.inv(poses), path),
            intrinsics=pinholes(np.stack([frame.intrinsics for frame in frames]), path),
            times=np.array([frame.time for frame in frames]),
            size=size,
            depth=_depth_reader(root, name, frames),
            metric=False,
        ),
        images=images,
        remarks=(f"{dropped} of {len(annotated)} frames are of another size",) if dropped else (),
    )


def _depth_reader(root: Path, name: str, frames: list[Frame]) -> Callable[[int], np.ndarray]:
    files = listed(root, [frame.depth for frame in frames], f"depth maps of {name}")
    masks = listed(root, [frame.depth_mask for frame in frames], f"masks of depth of {name}")

    def read_depth(i: int) -> np.ndarray:
        frame = frames[i]
        # The 16 bits of a pixel are those of a half precision number.
        levels = np.ascontiguousarray(read_uint16(files[i], frame.size))
        depth = levels.view(np.float16).astype(np.float32) * np.float32(frame.depth_scale)
        trusted = check_size(read_mask_png(masks[i]), frame.size, masks[i])
        known: np.ndarray = trusted & np.isfinite(depth) & (depth > 0)
        return np.where(known, depth, np.float32(np.nan))

    return read_depth
