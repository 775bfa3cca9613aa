"""Warping by flow and the forward-backward test."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

# None, for both maps are in one; the stubs of OpenCV ask for an array, and with an empty one
# some versions read beyond it.
_NO_SECOND_MAP: Any = None


@lru_cache(maxsize=4)
def pixel_grid(height: int, width: int) -> np.ndarray:
    """(h, w, 2) float32 pixels (u, v), read-only; the top-left pixel centre is (0, 0)."""
    v, u = np.mgrid[:height, :width].astype(np.float32)
    grid = np.stack([u, v], -1)
    grid.flags.writeable = False
    return grid


def backward_warp(target: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Values of `target` where the flow points, bilinear; the border repeats outside.

    Args:
        target: (h, w) or (h, w, c).
        flow: (h, w, 2) float32 from the source to the target.
    """
    place = pixel_grid(*flow.shape[:2]) + flow
    warped = cv2.remap(
        target, place, _NO_SECOND_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped)


def forward_backward_error(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """(h, w) float32 pixels between a pixel and where going there and back ends; inf outside."""
    height, width = forward.shape[:2]
    round_trip = forward + backward_warp(backward, forward)
    error = np.hypot(round_trip[..., 0], round_trip[..., 1])
    place = pixel_grid(height, width) + forward
    u, v = place[..., 0], place[..., 1]
    inside = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    return np.where(inside, error, np.inf).astype(np.float32)


def consistent(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """(h, w) bool: the match is inside the image and comes back to its pixel.

    The tolerance grows with the displacement, as in Sundaram et al. (ECCV 2010), eq. 5.
    """
    length = np.hypot(forward[..., 0], forward[..., 1])
    return np.asarray(forward_backward_error(forward, backward) < 1.0 + 0.02 * length)
