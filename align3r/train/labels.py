"""Labels of a teacher, made once: they are kept in float16, and found again by their image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from align3r.device import exact_convolutions
from align3r.train.asking import Asked
from align3r.train.data.values import SourceView
from align3r.train.frame_cache import FrameCache
from align3r.train.options import TeacherOptions
from align3r.train.teacher import Label, Teacher, make_teacher, teacher_id

log = logging.getLogger(__name__)

LONGEST = 1024
"""Long side of a label, at most: twice that of the largest training image. SA-1B's are 2250."""


def true_labels(view: SourceView) -> SourceView:
    """The frame with its true depth as the label."""
    return replace(view, label=view.depth)


@dataclass(frozen=True)
class LaterTeacher:
    """A teacher that is loaded when it is called for, in whatever process."""

    options: TeacherOptions
    device: torch.device

    def __call__(self) -> Teacher:
        """Load it; see `make_teacher`."""
        return make_teacher(self.options, device=self.device)


class Labels(Asked[Teacher]):
    """Gives frames the labels of a teacher, who is only asked about frames that are new."""

    what = "label"

    def __call__(self, view: SourceView) -> SourceView:
        """The frame with its label; and with the teacher's camera, if it has none of its own.

        Raises:
            InputError: The cache cannot be read or written; or the label is missing, and this is a
                process that cannot make it.
            Align3rError: What the teacher raises.
        """
        label = self._kept(view)
        if label is None:
            teacher = self._loaded(view)
            with exact_convolutions(self._device):
                kept = packed(teacher(view.image))
            self._cache.put(view.name, view.image, kept)
            label = unpacked(kept)
        height, width = view.image.shape[:2]
        known = view.intrinsics if view.intrinsics is not None else label.intrinsics
        return replace(view, label=picked(label.depth, (height, width)), intrinsics=known)

    def _kept(self, view: SourceView) -> Label | None:
        arrays = self._cache.get(view.name, view.image)
        if arrays is None:
            return None
        try:
            return unpacked(arrays)
        except (KeyError, ValueError) as error:
            log.warning("the label of %s is damaged (%s): made again", view.name, error)
            return None


def make_labels(
    options: TeacherOptions, folder: Path, *, device: torch.device
) -> Callable[[SourceView], SourceView]:
    """What gives frames their labels.

    Args:
        options: The teacher.
        folder: Where labels are kept, of any number of teachers; not looked at for `truth`.
        device: Where the teacher computes.

    Raises:
        WeightsError: Its weights are not to be had.
    """
    if options.model == "truth":
        return true_labels
    cache = FrameCache(folder, teacher_id(options, device=device))
    return Labels(cache, LaterTeacher(options, device), device=device)


def packed(label: Label) -> dict[str, np.ndarray]:
    """A label as arrays of a file.

    Depth is divided by its median and rounded to float16, which errs by 2^-11 of it at most: from
    1/16,384 of the median to 65,504 times it, beyond which nothing is known.
    """
    height, width = label.depth.shape
    longest = max(height, width)
    size = (height, width)
    if longest > LONGEST:
        size = max(height * LONGEST // longest, 1), max(width * LONGEST // longest, 1)
    depth = picked(label.depth, size).astype(np.float64)
    known = depth[np.isfinite(depth) & (depth > 0)]
    scale = float(np.median(known)) if known.size else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        relative = (depth / scale).astype(np.float16)
        relative[~(np.isfinite(relative) & (relative > 0))] = np.nan
    arrays = {"depth": relative, "scale": np.array(scale)}
    if label.intrinsics is not None:
        arrays["intrinsics"] = np.asarray(label.intrinsics, np.float64)
    return arrays


def unpacked(arrays: Mapping[str, np.ndarray]) -> Label:
    """The label that `packed` made arrays of.

    Raises:
        KeyError, ValueError: They are others.
    """
    depth, scale, intrinsics = arrays["depth"], arrays["scale"], arrays.get("intrinsics")
    if depth.ndim != 2 or depth.dtype != np.float16 or not depth.size or scale.size != 1:
        raise ValueError(f"it holds {depth.dtype} of shape {depth.shape}")
    if intrinsics is not None and intrinsics.shape != (3, 3):
        raise ValueError(f"its intrinsics have the shape {intrinsics.shape}")
    return Label(depth.astype(np.float32) * np.float32(scale.item()), intrinsics)


def picked(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) depth at another (height, width): the value under each pixel's centre, never a mix."""
    if depth.shape == size:
        return depth
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for old, new in zip(depth.shape, size, strict=True)
    )
    return np.asarray(depth[np.ix_(rows, columns)])
