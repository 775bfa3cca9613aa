"""How a source image becomes a working image: one table of fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from align3r.errors import InputError
from align3r.io.images import shrink
from align3r.io.picking import MIN_SIDE

FitName = Literal["area", "network", "vggt", "glance"]

_BLOCK = 8
_TOKEN = 16
"""Side, in pixels, of the patches that the pair networks look at."""
_VGGT_TOKEN = 14
"""Side, in pixels, of the patches that VGGT looks at."""


@dataclass(frozen=True)
class Fit:
    """How source images of one size become working images."""

    size: tuple[int, int]
    """(width, height) of the working images."""
    apply: Callable[[np.ndarray], np.ndarray]
    """Takes (H, W, 3) uint8 RGB to (height, width, 3)."""


@dataclass(frozen=True)
class NetworkPlan:
    """The two steps by which an image gets a size that the pair networks take.

    First it is resized with its aspect kept; then it is cropped about its centre, or stretched,
    to multiples of 16.
    """

    resized: tuple[int, int]
    """(width, height) after the first step."""
    size: tuple[int, int]
    """(width, height) after the second."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the crop."""
        (width, height), (w, h) = self.resized, self.size
        left, top = width // 2 - w // 2, height // 2 - h // 2
        return left, top, left + w, top + h

    def shrinks(self, source_size: tuple[int, int]) -> bool:
        """Whether the first step makes the long side shorter; that decides its filter."""
        return max(source_size) > max(self.resized)


def working_size(source_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The (width, height) to work at: long side at most `long_side`, sides multiples of 8.

    Never larger than the source; the aspect is kept as near as multiples of 8 allow.

    Raises:
        InputError: A side, of the source or of the result, would be under 32 pixels.
    """
    _check_large_enough(source_size)
    width, height = source_size
    long, short = max(source_size), min(source_size)
    work_long = min(long, long_side) // _BLOCK * _BLOCK
    ideal_short = short * work_long / long
    work_short = min(max(round(ideal_short / _BLOCK), 1), short // _BLOCK) * _BLOCK
    size = (work_long, work_short) if width >= height else (work_short, work_long)
    _check_not_too_flat(source_size, size, block=_BLOCK)
    return size


def resized_size(source_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height) with that long side, larger or smaller, the aspect kept to a pixel."""
    long = max(source_size)
    width, height = (round(side * long_side / long) for side in source_size)
    return width, height


def network_plan(
    source_size: tuple[int, int], long_side: int, *, square_ok: bool = True
) -> NetworkPlan:
    """How an image gets to a long side of `long_side` and sides that are multiples of 16.

    Args:
        source_size: (width, height) of the image.
        long_side: Of the result, up to 15 pixels less where it is no multiple of 16.
        square_ok: Keep squares; False makes them 4:3, as DUSt3R was trained.
    """
    resized = resized_size(source_size, long_side)
    width, height = (side // _TOKEN * _TOKEN for side in resized)
    if resized[0] == resized[1] and not square_ok:
        height = 3 * width // (4 * _TOKEN) * _TOKEN
    return NetworkPlan(resized, (width, height))


def centre_square_plan(source_size: tuple[int, int], side: int) -> NetworkPlan:
    """How an image becomes its centre square of `side` pixels (networks trained at 224)."""
    width, height = source_size
    resized = resized_size(source_size, round(side * max(width / height, height / width)))
    side = min(resized) // 2 * 2
    return NetworkPlan(resized, (side, side))


def fit_image(image: np.ndarray, plan: NetworkPlan, *, crop: bool) -> np.ndarray:
    """Take (H, W, 3) uint8 RGB to the size that the plan says, as the pair networks expect it.

    Args:
        image: Of the source size that the plan was made for.
        plan: Sizes of the two steps.
        crop: Crop in the second step; False keeps the whole frame, stretched by a few percent.
    """
    shrinks = plan.shrinks((image.shape[1], image.shape[0]))
    first = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    resized = Image.fromarray(image).resize(plan.resized, first)
    if crop:
        return np.asarray(resized.crop(plan.box))
    return np.asarray(resized.resize(plan.size, Image.Resampling.LANCZOS))


def _area(source_size: tuple[int, int], long_side: int) -> Fit:
    size = working_size(source_size, long_side)
    return Fit(size, lambda image: shrink(image, size))


def _network(source_size: tuple[int, int], long_side: int) -> Fit:
    _check_large_enough(source_size)
    plan = network_plan(source_size, long_side)
    _check_not_too_flat(source_size, plan.size, block=_TOKEN)
    return Fit(plan.size, lambda image: fit_image(image, plan, crop=False))


def _vggt(source_size: tuple[int, int], long_side: int) -> Fit:
    _check_large_enough(source_size)
    long = max(_nearest_tokens(long_side), 1)
    width, height = (_nearest_tokens(side * long / max(source_size)) for side in source_size)
    # Half way between two and three patches is two.
    _check_not_too_flat(source_size, (width, height), block=_VGGT_TOKEN, least=36)
    size = (width, height)
    return Fit(
        size,
        lambda image: np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)),
    )


def _nearest_tokens(side: float) -> int:
    """The multiple of VGGT's patch size that is nearest to a side."""
    return round(side / _VGGT_TOKEN) * _VGGT_TOKEN


def _glance(source_size: tuple[int, int], long_side: int) -> Fit:
    _check_large_enough(source_size)
    nothing = np.zeros((1, 1, 3), np.uint8)
    return Fit((1, 1), lambda image: nothing)


FITS: dict[FitName, Callable[[tuple[int, int], int], Fit]] = {
    "area": _area,
    "network": _network,
    "vggt": _vggt,
    "glance": _glance,
}
"""From the source size and the long side asked for; each raises InputError for sides under 32.

area: averaged, never enlarged, multiples of 8; for predictors that measure.
network: the whole frame as DUSt3R's family is fed, enlarged if need be, multiples of 16.
vggt: the whole frame in one bicubic step, enlarged if need be, multiples of 14: 512 means 518.
glance: one black pixel; for those who want only to know which frames there are.
"""


def _check_large_enough(source_size: tuple[int, int]) -> None:
    width, height = source_size
    if min(source_size) < MIN_SIDE:
        raise InputError(
            f"the frames are {width}x{height} pixels; at least {MIN_SIDE} a side are needed",
            hint="use a larger version of the video",
        )


def _check_not_too_flat(
    source_size: tuple[int, int], size: tuple[int, int], *, block: int, least: int = MIN_SIDE
) -> None:
    """Refuse a size with a side that is too short; `least` is what the short side has to be asked
    for so that it is not."""
    if min(size) >= MIN_SIDE:
        return
    width, height = source_size
    aspect = max(source_size) / min(source_size)
    raise InputError(
        f"frames of {width}x{height} would be worked on at {max(size)}x{min(size)} pixels; "
        f"at least {MIN_SIDE} a side are needed",
        hint=f"use --size {math.ceil(least * aspect / block) * block} or more",
    )
