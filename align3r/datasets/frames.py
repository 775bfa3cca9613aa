"""Which frames a sequence has: those that any of its folders knows, those with a pose."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from align3r.datasets.files import numbers
from align3r.errors import InputError, UsageError

Pinhole = tuple[float, float, float, float]
"""fx, fy, cx, cy in pixels; the centre of the top-left pixel is (0, 0)."""


def frames_of(root: Path, *patterns: str) -> list[str]:
    """Frames that any of the patterns has a file of, in order; see `files.numbers`.

    With all of them `files.files` tells what is missing, in whatever folder it is.

    Raises:
        InputError: There is none.
    """
    found = {frame for pattern in patterns for frame in numbers(root, pattern)}
    if not found:
        raise InputError(
            f"there is no file {patterns[0]} under {root}",
            hint="download or unpack that part of the data set again",
        )
    return sorted(found, key=lambda text: (int(text), text))


def check_unbroken(frames: Sequence[str], pattern: str) -> None:
    """Refuse frames whose numbers do not follow one another.

    Raises:
        InputError: Some are missing: how many, and the first.
    """
    there = [int(frame) for frame in frames]
    gaps = sorted(set(range(there[0], there[-1] + 1)) - set(there))
    if gaps:
        first = str(gaps[0]).zfill(len(frames[0]))
        raise InputError(
            f"{len(gaps)} of the {there[-1] - there[0] + 1} files {pattern} are missing, the "
            f"first is {pattern.replace('*', first)}",
            hint="download or unpack that part of the data set again",
        )


def with_pose(
    frames: Sequence[str], posed: Collection[float], origin: Path
) -> tuple[list[str], tuple[str, ...]]:
    """The frames whose number is among those `posed`, and what is to be said about the others.

    Raises:
        InputError: No frame has a pose.
    """
    kept = [frame for frame in frames if int(frame) in posed]
    if not kept:
        raise InputError(
            f"{origin} has no pose of any of the {len(frames)} frames",
            hint="images and poses are of different sequences, or one of them is not whole",
        )
    counts = (
        (len(frames) - len(kept), f"of {len(frames)} frames have no pose: they are left out"),
        (len(posed) - len(kept), f"of {len(posed)} poses have no image"),
    )
    return kept, tuple(f"{count} {words}" for count, words in counts if count)


def published_intrinsics(
    given: Pinhole | None, known: Mapping[tuple[int, int], Pinhole], *, size: tuple[int, int]
) -> np.ndarray:
    """(3, 3) intrinsics that a data set publishes in words, or that are given.

    Args:
        given: What the user says.
        known: What is published for this sequence, by (width, height) of the images.
        size: (width, height) of the images.

    Raises:
        UsageError: The camera is not known at this size, or what is given is no camera.
    """
    pinhole = given if given is not None else known.get(size)
    if pinhole is None:
        raise UsageError(
            f"the camera of images of {size[0]}x{size[1]} pixels is not known here",
            hint="give the setting intrinsics: fx, fy, cx, cy",
        )
    try:
        fx, fy, cx, cy = (float(number) for number in pinhole)
    except (TypeError, ValueError):
        fx = fy = cx = cy = np.nan
    if not (np.isfinite([cx, cy]).all() and 0 < fx < np.inf and 0 < fy < np.inf):
        raise UsageError(f"intrinsics {pinhole} are no camera", hint="give fx, fy, cx, cy")
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
