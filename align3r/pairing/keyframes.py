"""Keyframes: the frame of each group that stands for it in the pairs that leave the group."""

from __future__ import annotations

import cv2
import numpy as np

_LEAST_CONTRAST = 6.0
"""Grey levels between the brightest and the darkest parts of a frame that shows something."""
_BLUR_PX = 2.0


def choose_keyframes(images: np.ndarray, group: int) -> np.ndarray:
    """(K,) int64: the first frame of every run of `group` frames that shows something.

    A fade would else hang a whole group on a frame that nothing can be matched with. A run that
    shows nothing is stood for by its first frame.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        group: Frames in a run; the last one may be shorter.
    """
    keys = keyframe_indices(len(images), group)
    for run, first in enumerate(keys):
        shown = (k for k, image in enumerate(images[first : first + group]) if not _blank(image))
        keys[run] += next(shown, 0)
    return keys


def keyframe_indices(n: int, group: int) -> np.ndarray:
    """(K,) int64: the first frame of every run of `group` frames (the last run may be shorter)."""
    return np.arange(0, n, group, dtype=np.int64)


def blank_frames(images: np.ndarray) -> np.ndarray:
    """(N,) bool: frames of (N, h, w, 3) uint8 in one colour, but for noise."""
    return np.array([_blank(image) for image in images], bool)


def _blank(image: np.ndarray) -> bool:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Noise is averaged away; a fade to black keeps a little of the scene for a while.
    dark, bright = np.percentile(cv2.GaussianBlur(grey, (0, 0), _BLUR_PX), (0.5, 99.5))
    return bool(bright - dark < _LEAST_CONTRAST)
