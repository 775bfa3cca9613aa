"""Where the per-frame maps of a result come from: arrays in memory, or a result folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.io.exr import read_exr
from align3r.io.files import read_bytes
from align3r.io.images import read_rgb
from align3r.io.png import read_mask_png

_SAME_SURFACE = 1.08
"""Neighbouring depths within this ratio are taken as one surface and interpolated."""


class ArrayMaps:
    """Maps at the working size, enlarged to the source size when asked for."""

    def __init__(
        self,
        *,
        depth: np.ndarray,
        confidence: np.ndarray,
        moving: np.ndarray,
        images: np.ndarray,
        source_size: tuple[int, int],
    ) -> None:
        """Hold the maps of N frames.

        Args:
            depth: (N, h, w) float32; nan where unknown.
            confidence: (N, h, w) float32.
            moving: (N, h, w) bool.
            images: (N, h, w, 3) uint8 RGB.
            source_size: (width, height) that depth, confidence and moving come out at.
        """
        if not depth.shape == confidence.shape == moving.shape == images.shape[:3]:
            raise ValueError(
                f"shapes differ: depth {depth.shape}, confidence {confidence.shape}, "
                f"moving {moving.shape}, images {images.shape}"
            )
        self._depth, self._confidence = depth, confidence
        self._moving, self._images = moving, images
        self._size = source_size

    def depth(self, i: int) -> np.ndarray:
        """(H, W) float32 z-depth, never mixed across a depth edge; nan where unknown."""
        return upsample_depth(self._depth[i].astype(np.float32, copy=False), self._size)

    def working_depth(self, i: int) -> np.ndarray:
        """(h, w) float32 z-depth at the working size; nan where unknown."""
        return np.asarray(self._depth[i], np.float32)

    def confidence(self, i: int) -> np.ndarray:
        """(H, W) float32."""
        return _resize(self._confidence[i].astype(np.float32, copy=False), self._size)

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool."""
        share = _resize(self._moving[i].astype(np.float32), self._size)
        return np.asarray(share > 0.5, bool)

    def image(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB at the working size."""
        return np.asarray(self._images[i])


class FolderMaps:
    """Maps of a result folder, read when asked for; the last frame read is kept."""

    def __init__(self, folder: Path, *, size: tuple[int, int]) -> None:
        """Look into `folder`, whose maps are `size` = (width, height)."""
        self._folder = folder
        self._size = size
        self._has_moving = (folder / "moving").is_dir()
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None
        self._image_size: tuple[int, ...] | None = None

    def depth(self, i: int) -> np.ndarray:
        """(H, W) float32 z-depth; nan where unknown."""
        return self._exr(i)[0].copy()

    def confidence(self, i: int) -> np.ndarray:
        """(H, W) float32."""
        return self._exr(i)[1].copy()

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool; all False in a result without masks."""
        if not self._has_moving:
            return np.zeros(self._size[::-1], bool)
        path = self._folder / "moving" / f"{i:06d}.png"
        mask = read_mask_png(path)
        self._check_size(mask, path)
        return mask

    def image(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB at the working size."""
        path = self._image_path(i)
        image = read_rgb(path)
        size = image.shape[1::-1]
        self._image_size = self._image_size or size
        if size != self._image_size:
            raise InputError(
                f"{path} is {size[0]}x{size[1]} pixels, other images of the result are "
                f"{self._image_size[0]}x{self._image_size[1]}",
                hint="the result is damaged: reconstruct again",
            )
        return image

    def stored_image(self, i: int) -> bytes:
        """The file behind `image(i)`, which has been looked at: to write it again as it is."""
        self.image(i)
        return read_bytes(self._image_path(i))

    def _image_path(self, i: int) -> Path:
        return self._folder / "images" / f"{i:06d}.jpg"

    def _exr(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        last = self._last
        if last is None or last[0] != i:
            path = self._folder / "depth" / f"{i:06d}.exr"
            last = (i, *read_exr(path))
            self._check_size(last[1], path)
            self._last = last
        return last[1], last[2]

    def _check_size(self, array: np.ndarray, path: Path) -> None:
        if array.shape[::-1] != self._size:
            raise InputError(
                f"{path} is {array.shape[1]}x{array.shape[0]} pixels, the result says "
                f"{self._size[0]}x{self._size[1]}",
                hint="the result is damaged: reconstruct again",
            )


def upsample_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge (h, w) float32 z-depth to (width, height) without mixing surfaces.

    Bilinear in inverse depth, which is exact for planes, where the four neighbours are known and
    within 8 % of each other; elsewhere the nearest neighbour, unknown or not.
    """
    if depth.shape[::-1] == size:
        return depth
    y0, y1, fy = _neighbours(depth.shape[0], size[1])
    x0, x1, fx = _neighbours(depth.shape[1], size[0])
    rows, columns = np.where(fy < 0.5, y0, y1), np.where(fx < 0.5, x0, x1)
    nearest = depth[np.ix_(rows, columns)]
    corners = [depth[np.ix_(y, x)] for y in (y0, y1) for x in (x0, x1)]
    # nan fails every comparison, and so do infinite and non-positive depths here.
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    with np.errstate(invalid="ignore", divide="ignore"):
        one_surface = (low > 0) & (high < np.inf) & (high <= _SAME_SURFACE * low)
        inverse = [1 / corner for corner in corners]
        top = inverse[0] + (inverse[1] - inverse[0]) * fx
        bottom = inverse[2] + (inverse[3] - inverse[2]) * fx
        mixed = 1 / (top + (bottom - top) * fy[:, None])
    return np.asarray(np.where(one_surface, mixed, nearest), np.float32)


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every new pixel centre the old pixels before and after it, and how far between."""
    position = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    before = np.floor(position).astype(int)
    fraction = (position - before).astype(np.float32)
    return before, np.minimum(before + 1, old - 1), fraction


def _resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if values.shape[::-1] == size:
        return values
    resized: np.ndarray = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    return resized
