"""One image with depth: what monocular depth is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class DepthSample:
    """An image, and what is true about it."""

    name: str
    """As the data set calls it; parts of a path with `/` between them."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    depth: np.ndarray
    """(H, W) float32 z-depth; nan where not known, inf where infinitely far (sky)."""
    intrinsics: np.ndarray
    """(3, 3) float64, pixels of the image; the centre of the top-left pixel is (0, 0)."""
    segmentation: np.ndarray | None = None
    """(H, W) int32 number of what each pixel shows; None if nobody marked it."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Number in `segmentation` of each thing that has a name."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        return self.image.shape[1], self.image.shape[0]
