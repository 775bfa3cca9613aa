"""Colours for depth, confidence and time, and the one place where pictures become files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from align3r.reconstruction import Reconstruction

UNKNOWN_RGB = (24, 24, 28)
"""Colour of pixels without a depth."""
MOVING_RGB = (255, 60, 150)
"""Colour of outlines and tints of moving regions."""


class DepthRange(NamedTuple):
    """Inverse depths that get the two ends of the colour map."""

    far: float
    """Inverse depth of the coldest colour."""
    near: float
    """Inverse depth of the warmest colour."""


def turbo(values: np.ndarray) -> np.ndarray:
    """Colour map from 0 (dark blue) to 1 (dark red).

    Args:
        values: Any shape, in [0, 1]; values outside are clipped, nan becomes 0.

    Returns:
        Shape of `values` + (3,), uint8 RGB.
    """
    level = np.clip(np.nan_to_num(np.asarray(values, np.float32)), 0.0, 1.0)
    # The darkest ends of the map are hard to tell from each other and from UNKNOWN_RGB.
    level = 0.06 + 0.91 * level
    bytes_ = np.round(level * 255).astype(np.uint8).reshape(-1, 1)
    bgr = cv2.applyColorMap(bytes_, cv2.COLORMAP_TURBO)
    return np.asarray(bgr.reshape(-1, 3)[:, ::-1].reshape(*level.shape, 3))


def time_colour(fraction: float) -> tuple[int, int, int]:
    """RGB of a moment: blue at the start (0) over violet to orange at the end (1)."""
    stops = np.array([[38, 110, 235], [150, 70, 205], [250, 130, 20]], float)
    where = np.clip(fraction, 0.0, 1.0) * 2
    rgb = [np.interp(where, [0, 1, 2], stops[:, c]) for c in range(3)]
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def depth_range(scene: Reconstruction, *, frames: int = 48) -> DepthRange:
    """One range of inverse depth for the whole sequence, so that a colour keeps its meaning.

    The range spans the 2nd to the 96th percentile of the known inverse depths of what stands
    still in at most `frames` frames spread over the sequence.
    """
    samples, moving = [], []
    for i in spread(len(scene), frames):
        depth = scene.depth(i)[::4, ::4]
        known = np.isfinite(depth) & (depth > 0)
        moves = scene.moving(i)[::4, ::4]
        samples.append(1.0 / depth[known & ~moves])
        moving.append(1.0 / depth[known & moves])
    # The depth of moving things is the least certain; it must not push all others into one colour.
    samples = samples if any(map(len, samples)) else moving
    inverse = np.concatenate(samples)
    if not inverse.size:
        return DepthRange(0.0, 1.0)
    far, near = (float(v) for v in np.percentile(inverse, [2, 96]))
    # A flat wall has no range of its own; 10 % around it keeps the division defined.
    if near - far < 0.1 * near:
        far, near = 0.95 * far, 1.05 * near
    return DepthRange(far, near)


def depth_picture(depth: np.ndarray, span: DepthRange) -> np.ndarray:
    """Colour a depth map: near is warm, far is cold, unknown is dark.

    Args:
        depth: (H, W) z-depth in scene units, nan where unknown.
        span: Range of inverse depth, the same for all frames of a sequence.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    known = np.isfinite(depth) & (depth > 0)
    inverse = 1.0 / np.where(known, depth, 1.0)
    picture = turbo((inverse - span.far) / (span.near - span.far))
    picture[~known] = UNKNOWN_RGB
    return picture


def spread(n: int, at_most: int) -> np.ndarray:
    """(M,) int64 numbers of at most `at_most` of n frames, evenly spread, ends included."""
    return np.unique(np.linspace(0, n - 1, min(n, at_most)).round().astype(np.int64))


def write_png(rgb: np.ndarray, path: Path) -> None:
    """Write an (H, W, 3) uint8 RGB picture.

    Raises:
        OSError: The file cannot be written.
    """
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    assert done, "PNG encoding of a uint8 picture cannot fail"
    path.write_bytes(data.tobytes())
