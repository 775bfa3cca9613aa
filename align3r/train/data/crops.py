"""From a frame as read to a view of the training size; intrinsics follow exactly.

As DUSt3R: the principal point becomes the centre, the size wanted is covered, what is over is cut
off, nothing is stretched. One window of the source, whose borders may lie within pixels, is
resampled once, so no rounding of sizes comes in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from align3r.errors import InputError
from align3r.mono.point_map import point_map
from align3r.train.data.augmentation import Jitter, jitter_colours
from align3r.train.data.values import SourceView, View

Size = tuple[int, int]
"""(width, height)."""

_LEAST_BORDER = 0.2
"""Least distance of the principal point from the borders, in widths or heights of the image."""
_LEAST_PART = 0.6
"""Least part of a window that each of several crops of it sees: any two overlap."""


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """What is random in a crop."""

    offset: int = 16
    """Most pixels of the training size by which the image is larger than the crop; the crop is
    moved at random by up to half of them."""
    zoom: float = 1.0
    """Most by which the image is enlarged besides."""
    jitter: Jitter = (0.5, 0.5, 0.5, 0.1)
    """Of the colours, see `jitter_colours`."""


NOTHING_RANDOM = CropSettings(offset=0, zoom=1.0, jitter=(0.0, 0.0, 0.0, 0.0))
"""For validation: the largest window about the principal point."""


@dataclass(frozen=True)
class Window:
    """The part of a source image that a view shows."""

    left: float
    """Border in source pixels, where the corner of the image (not a pixel's centre) is 0."""
    top: float
    scale: float
    """Pixels of the view a source pixel."""
    size: Size
    """Of the view."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom)."""
        width, height = (side / self.scale for side in self.size)
        return self.left, self.top, self.left + width, self.top + height


def check_croppable(view: SourceView) -> None:
    """Refuse an image whose principal point is too near its border to become a centre.

    Raises:
        InputError: It is nearer than a fifth of the width or height, or outside.
    """
    for centre, side in zip(_centre(view), view.image.shape[1::-1], strict=True):
        if not _LEAST_BORDER <= centre / side <= 1 - _LEAST_BORDER:
            raise InputError(
                f"{view.name} has its principal point {centre:.0f} pixels from the border of an "
                f"image of {side}",
                hint="leave this frame out, or check its intrinsics",
            )


def crop(view: SourceView, size: Size, rng: np.random.Generator, settings: CropSettings) -> View:
    """A view of (width, height) pixels, cut at random about the principal point.

    Args:
        view: That `check_croppable` does not refuse.
        size: Of the view.
        rng: What is random is drawn from it.
        settings: What is random.
    """
    window = _random_window(view, size, rng, settings)
    return _cut(view, window, jitter_colours(_resampled(view.image, window), rng, settings.jitter))


def overlapping_crops(
    view: SourceView, size: Size, rng: np.random.Generator, settings: CropSettings, *, count: int
) -> tuple[View, ...]:
    """So many parts of what `crop` would show, any two of which overlap."""
    whole = _random_window(view, size, rng, settings)
    views = []
    for _ in range(count):
        part = rng.uniform(_LEAST_PART, 1)
        place = rng.uniform(0, 1 - part, 2)
        left, top, right, bottom = whole.box
        window = Window(
            left + place[0] * (right - left),
            top + place[1] * (bottom - top),
            whole.scale / part,
            size,
        )
        image = jitter_colours(_resampled(view.image, window), rng, settings.jitter)
        views.append(_cut(view, window, image))
    return tuple(views)


def _centre(view: SourceView) -> tuple[float, float]:
    """The principal point, from the corner of the image; its middle where it is not known."""
    height, width = view.image.shape[:2]
    if view.intrinsics is None:
        return width / 2, height / 2
    return float(view.intrinsics[0, 2]) + 0.5, float(view.intrinsics[1, 2]) + 0.5


def _random_window(
    view: SourceView, size: Size, rng: np.random.Generator, settings: CropSettings
) -> Window:
    centre, sides = np.array(_centre(view)), np.array(view.image.shape[1::-1])
    reach = np.minimum(centre, sides - centre)
    room = rng.integers(0, settings.offset + 1, 2)
    scale = float(((np.array(size) + room) / (2 * reach)).max())
    shift = rng.uniform(-0.5, 0.5, 2) * room / scale
    scale *= settings.zoom ** rng.uniform()
    left, top = centre + shift - np.array(size) / (2 * scale)
    return Window(float(left), float(top), scale, size)


def _cut(view: SourceView, window: Window, image: np.ndarray) -> View:
    unknown = np.full(image.shape[:2], np.nan, np.float32)
    pose = np.full((4, 4), np.nan) if view.world_from_cam is None else view.world_from_cam
    return View(
        name=view.name,
        image=image,
        depth=unknown if view.depth is None else _nearest(view.depth, window),
        intrinsics=_intrinsics(view.intrinsics, window),
        world_from_cam=pose,
        label=unknown if view.label is None else _nearest(view.label, window),
        point_map=None if view.prior is None else _point_map(view.prior, window),
    )


def _intrinsics(k: np.ndarray | None, window: Window) -> np.ndarray:
    if k is None:
        return np.full((3, 3), np.nan)
    seen = np.array(k, np.float64)
    seen[:2] *= window.scale
    corner = np.array([window.left, window.top])
    seen[:2, 2] = (k[:2, 2] + 0.5 - corner) * window.scale - 0.5
    return seen


def _resampled(image: np.ndarray, window: Window) -> np.ndarray:
    height, width = image.shape[:2]
    left, top, right, bottom = window.box
    inside = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    kind = Image.Resampling.LANCZOS if window.scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(window.size, kind, box=inside))


def _nearest(values: np.ndarray, window: Window) -> np.ndarray:
    """The source pixel that each pixel's centre falls into: no depth is invented at an edge."""
    starts, ends = (window.left, window.top), values.shape[1::-1]
    columns, rows = (
        np.clip(np.floor((np.arange(side) + 0.5) / window.scale + start).astype(int), 0, end - 1)
        for side, start, end in zip(window.size, starts, ends, strict=True)
    )
    return values[np.ix_(rows, columns)].astype(np.float32)


def _point_map(values: np.ndarray, window: Window) -> np.ndarray:
    """Swept and normalised over the whole image, as Align3R was trained, then resampled."""
    step = 1 / window.scale
    source_from_view = np.array(
        [
            [step, 0, step / 2 + window.left - 0.5],
            [0, step, step / 2 + window.top - 0.5],
        ]
    )
    # The filters of mono/point_map.py, here with a window that needs no whole pixels.
    kind = cv2.INTER_LANCZOS4 if window.scale < 1 else cv2.INTER_CUBIC
    resampled: np.ndarray = cv2.warpAffine(
        point_map(values),
        source_from_view,
        window.size,
        flags=kind | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return resampled
