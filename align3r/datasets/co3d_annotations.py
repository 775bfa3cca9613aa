"""What CO3Dv2 says about a category: its frames, the quality of its cameras, lists of frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from align3r.datasets import co3d_cameras
from align3r.datasets.files import reading
from align3r.io.files import check_regular, read_json
from align3r.io.gzips import read_json_gz

SEQUENCES = "sequence_annotations.jgz"
FRAMES = "frame_annotations.jgz"


@dataclass(frozen=True)
class Frame:
    """What is annotated about one frame; paths are relative to the root of the data set."""

    number: int
    time: float
    """Seconds."""
    image: str
    size: tuple[int, int]
    """(width, height)."""
    depth: str
    depth_mask: str
    depth_scale: float
    intrinsics: np.ndarray
    """(3, 3) pixels."""
    cam_from_world: np.ndarray
    """(4, 4), OpenCV axes."""


def read_scores(path: Path) -> dict[str, float]:
    """`viewpoint_quality_score` of each sequence of a category; -inf where it has none.

    Raises:
        InputError: The file is missing or damaged.
    """
    with reading(path):
        scores = {text(row["sequence_name"]): row["viewpoint_quality_score"] for row in _rows(path)}
        return {name: -np.inf if at is None else float(at) for name, at in scores.items()}


def read_set_list(folder: Path, name: str, split: str) -> dict[str, set[int]]:
    """Numbers of the frames of each sequence that a set list of a category names.

    Raises:
        InputError: The list is missing or damaged, or has no such split.
    """
    path = folder / "set_lists" / f"set_lists_{name}.json"
    frames: dict[str, set[int]] = defaultdict(set)
    with reading(path, hint="its splits are train, val and test; or download the lists again"):
        for sequence, number, _ in read_json(path)[split]:
            frames[text(sequence)].add(int(number))
    return frames


def read_frames(path: Path) -> Mapping[str, Mapping[int, Frame]]:
    """The frames of each sequence of a category, by number.

    One file annotates a category of many sequences; the last that was read is kept in memory.

    Raises:
        InputError: The file is missing or damaged.
    """
    check_regular(path)
    state = path.stat()
    with reading(path):
        return _parse(path, (state.st_mtime_ns, state.st_size))


def text(value: Any) -> str:
    """A name or a path in an annotation.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


@lru_cache(maxsize=1)
def _parse(path: Path, state: tuple[int, int]) -> dict[str, dict[int, Frame]]:
    """`state` tells a file from a newer one."""
    found: dict[str, dict[int, Frame]] = defaultdict(dict)
    for row in _rows(path):
        frame = _frame(row)
        found[text(row["sequence_name"])][frame.number] = frame
    return found


def _rows(path: Path) -> list[Mapping[str, Any]]:
    rows = read_json_gz(path)
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise ValueError("it is no list of annotations")
    return rows


def _frame(row: Mapping[str, Any]) -> Frame:
    image, depth, view = row["image"], row["depth"], row["viewpoint"]
    height, width = (int(side) for side in image["size"])
    time, scale = float(row["frame_timestamp"]), float(depth["scale_adjustment"])
    if not (np.isfinite([time, scale]).all() and scale > 0 and min(width, height) > 0):
        raise ValueError(f"a time of {time}, a scale of {scale}, {width}x{height} pixels")
    return Frame(
        number=int(row["frame_number"]),
        time=time,
        image=text(image["path"]),
        size=(width, height),
        depth=text(depth["path"]),
        depth_mask=text(depth["mask_path"]),
        depth_scale=scale,
        intrinsics=co3d_cameras.intrinsics(view, (width, height)),
        cam_from_world=co3d_cameras.cam_from_world(view),
    )
