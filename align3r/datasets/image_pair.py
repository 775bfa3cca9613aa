"""Two images of one scene, and the motion between their cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class ImagePair:
    """Images a and b of a scene; their files are read by those who need them."""

    scene: str
    ids: tuple[str, str]
    """What the data set calls the two images."""
    images: tuple[Path, Path]
    size: tuple[int, int]
    """(width, height) for which the intrinsics hold: that of the images once they are resized, as
    the convention of the intrinsics wants it; the files may be larger."""
    intrinsics: np.ndarray
    """(2, 3, 3) float64 of a and b, pixels of `size`; the centre of the top-left pixel is
    (0, 0)."""
    b_from_a: np.ndarray
    """(4, 4) float64, OpenCV axes, metres."""
