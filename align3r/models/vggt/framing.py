"""How an image of any size becomes one that the network was trained on, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from align3r.errors import InputError
from align3r.geometry.cameras import resize_intrinsics

SIDE = 518
"""Longest side, in pixels, of the images that the network was trained on."""

PATCH = 14
"""Sides are multiples of this."""

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class Framing:
    """An image is resized and put into a frame, which it may stick out of or not fill."""

    source: Size
    """(width, height) of the image."""
    resized: Size
    """(width, height) after it was resized."""
    size: Size
    """(width, height) of the frame, which is what the network sees."""
    offset: tuple[int, int]
    """Column and row of the frame where the resized image begins; below 0 where it is cut."""

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the source size to that of the frame; what is not filled is white.

        Antialiased bicubic, as in training.
        """
        resized = Image.fromarray(image).resize(self.resized, Image.Resampling.BICUBIC)
        frame = Image.new("RGB", self.size, (255, 255, 255))
        frame.paste(resized, self.offset)
        return np.asarray(frame)

    def source_intrinsics(self, k: np.ndarray) -> np.ndarray:
        """(..., 3, 3) intrinsics in pixels of the source image, from those of the frame."""
        shifted = np.array(k, np.float64)
        shifted[..., :2, 2] -= self.offset
        return resize_intrinsics(shifted, self.resized, self.source)


def cropped(source: Size) -> Framing:
    """Full width at 518 pixels; of what is higher than wide, the central square.

    Raises:
        InputError: The image is too flat.
    """
    width, height = SIDE, _whole_patches(source[1] * SIDE / source[0], source)
    shown = min(height, SIDE)
    return Framing(source, (width, height), (width, shown), (0, -((height - shown) // 2)))


def padded(source: Size) -> Framing:
    """The whole image with its long side at 518 pixels, in a square of that side.

    Raises:
        InputError: The image is too flat, or too narrow.
    """
    width, height = source
    if width >= height:
        resized = SIDE, _whole_patches(height * SIDE / width, source)
    else:
        resized = _whole_patches(width * SIDE / height, source), SIDE
    left, top = ((SIDE - side) // 2 for side in resized)
    return Framing(source, resized, (SIDE, SIDE), (left, top))


def _whole_patches(side: float, source: Size) -> int:
    """The multiple of the patch size that is nearest to a side.

    Raises:
        InputError: It is 0.
    """
    patches = round(side / PATCH)
    if not patches:
        raise InputError(
            f"an image of {source[0]}x{source[1]} pixels would be less than {PATCH // 2} pixels "
            f"wide or high beside {SIDE}",
            hint="crop it to the part that matters",
        )
    return patches * PATCH
