"""Predicted depth at the size of the truth, as the protocols resize it."""

from __future__ import annotations

import cv2
import numpy as np

from align3r.errors import UsageError

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


def resize_depth(
    depth: np.ndarray, shape: tuple[int, int], interpolation: str = "cubic"
) -> np.ndarray:
    """Depth of another size, float32.

    Cubic interpolation, which MonST3R and CUT3R take, can give depth below zero at edges.

    Args:
        depth: (H, W).
        shape: (height, width) wanted.
        interpolation: A name in `INTERPOLATIONS`.

    Raises:
        UsageError: An interpolation that does not exist.
    """
    if interpolation not in INTERPOLATIONS:
        raise UsageError(
            f"interpolation {interpolation!r} does not exist",
            hint=f"one of {', '.join(INTERPOLATIONS)}",
        )
    depth = np.ascontiguousarray(depth, dtype=np.float32)
    if depth.shape == shape:
        return depth
    return np.asarray(
        cv2.resize(depth, (shape[1], shape[0]), interpolation=INTERPOLATIONS[interpolation])
    )
