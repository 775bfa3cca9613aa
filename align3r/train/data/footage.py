"""Frames that belong together, of whatever kind of data set: a video, a shard, one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from align3r.datasets.dataset import Dataset
from align3r.errors import InputError
from align3r.train.data.shards import open_shard
from align3r.train.data.values import SourceView


@dataclass(frozen=True)
class Footage:
    """Frames, each read when it is asked for. It holds functions: processes open their own."""

    length: int
    view: Callable[[int], SourceView]


def open_footage(
    dataset: Dataset, root: Path, name: str, *, farthest: float | None = None
) -> Footage:
    """What has one of the names of a data set.

    Args:
        dataset: Row of `datasets.table`, of videos, samples or images.
        root: Where it is.
        name: Of a sequence, a shard or a sample.
        farthest: Depth beyond is unknown.

    Raises:
        InputError: It is not there or not whole.
    """
    footage = _OPENERS[dataset.kind](dataset, root, name)
    if farthest is None:
        return footage
    return Footage(footage.length, lambda i: _within(footage.view(i), farthest))


def _open_video(dataset: Dataset, root: Path, name: str) -> Footage:
    sequence = dataset.read(root, name)
    truth = sequence.truth

    def view(i: int) -> SourceView:
        return SourceView(
            name=f"{dataset.name}/{name}/{sequence.frames[i]}",
            image=sequence.image(i),
            depth=None if truth.depth is None else truth.depth(i),
            intrinsics=_known(truth.intrinsics[i]),
            world_from_cam=_known(truth.world_from_cam[i]),
        )

    return Footage(len(sequence), lambda i: _checked(view(i)))


def _open_sample(dataset: Dataset, root: Path, name: str) -> Footage:
    def view(_i: int) -> SourceView:
        sample = dataset.read_sample(root, name)
        return SourceView(
            name=f"{dataset.name}/{name}",
            image=sample.image,
            depth=sample.depth,
            intrinsics=sample.intrinsics,
            world_from_cam=None,
        )

    return Footage(1, lambda i: _checked(view(i)))


def _open_images(dataset: Dataset, root: Path, name: str) -> Footage:
    shard = open_shard(root, name)

    def view(i: int) -> SourceView:
        frame, image = shard.read(i)
        return SourceView(f"{dataset.name}/{name}/{frame}", image, None, None, None)

    return Footage(shard.length, view)


_OPENERS: dict[str, Callable[[Dataset, Path, str], Footage]] = {
    "video": _open_video,
    "samples": _open_sample,
    "images": _open_images,
}


def _known(matrix: np.ndarray) -> np.ndarray | None:
    return matrix if np.isfinite(matrix).all() else None


def _checked(view: SourceView) -> SourceView:
    """With unknown depth as nan alone.

    Raises:
        InputError: Depth is of another size than the image.
    """
    if view.depth is None:
        return view
    if view.depth.shape != view.image.shape[:2]:
        raise InputError(
            f"the depth of {view.name} is {view.depth.shape[1]}x{view.depth.shape[0]}, its image "
            f"{view.image.shape[1]}x{view.image.shape[0]}",
            hint="train on depth that is as large as the images",
        )
    return _within(view, np.inf)


def _within(view: SourceView, farthest: float) -> SourceView:
    """With depth that is positive, finite and not beyond."""
    if view.depth is None:
        return view
    with np.errstate(invalid="ignore"):
        known = (view.depth > 0) & (view.depth <= farthest) & np.isfinite(view.depth)
    return replace(view, depth=np.where(known, view.depth, np.float32(np.nan)))
