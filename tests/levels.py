"""Images that tell their number by their grey."""

from __future__ import annotations

import numpy as np


def level_images(n: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """RGB images of one grey each, 16 + 8 i, so that a decoded frame tells its number."""
    return [np.full((size[1], size[0], 3), 16 + 8 * i, np.uint8) for i in range(n)]


def level_numbers(images: np.ndarray) -> list[int]:
    """The numbers of frames made by `level_images`, after any codec."""
    return [round((float(image.mean()) - 16) / 8) for image in images]
