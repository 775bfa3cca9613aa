"""compare.png: depth of two reconstructions of one video side by side, and their ratio."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.reconstruction import Reconstruction
from align3r.view.palette import (
    UNKNOWN_RGB,
    DepthRange,
    depth_picture,
    depth_range,
    spread,
    write_png,
)
from align3r.view.pictures import mask_overlay, panel_size

LABEL_WIDTH = 150
RATIO_SPAN = 0.2
"""Ratios from 1 / 1.2 to 1.2 span the colours of the last row."""


def relative_scale(first: Reconstruction, second: Reconstruction) -> float:
    """Factor on the depth of `second` that makes the median ratio to `first` one.

    Every reconstruction of a video has a free scale; without this their depths differ by it.
    """
    ratios = []
    for i in spread(len(first), 32):
        ratio = first.depth(int(i))[::4, ::4] / second.depth(int(i))[::4, ::4]
        ratios.append(ratio[np.isfinite(ratio)])
    flat = np.concatenate(ratios)
    return float(np.median(flat)) if flat.size else 1.0


def log_ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W) logarithm of the ratio of two depth maps; nan where either is unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(first / second))


def write_comparison(
    first: Reconstruction,
    second: Reconstruction,
    path: Path,
    *,
    names: tuple[str, str],
    columns: int = 5,
) -> None:
    """Draw image, both depths and their ratio for a few frames, one column a frame.

    Both depths are in one scale and share one colour range. In the last row white means equal,
    red that the first is farther, blue that it is nearer; full colour is 20 %.

    Raises:
        OSError: The picture cannot be written.
    """
    size = panel_size(first.size, 300)
    span, scale = depth_range(first), relative_scale(first, second)
    strips = [
        _column(first, second, int(i), size=size, span=span, scale=scale)
        for i in spread(len(first), columns)
    ]
    words = ["image", names[0], names[1], f"ratio ({RATIO_SPAN:.0%})"]
    labels = np.concatenate([_label(w, size[1]) for w in words])
    write_png(np.concatenate([labels, *strips], axis=1), path)


def _column(
    first: Reconstruction,
    second: Reconstruction,
    i: int,
    *,
    size: tuple[int, int],
    span: DepthRange,
    scale: float,
) -> np.ndarray:
    """The four pictures of one frame, above each other, with a thin gap."""
    one, two = first.depth(i), second.depth(i) * scale
    pictures = [
        mask_overlay(first, i),
        depth_picture(one, span),
        depth_picture(two, span),
        diverging(log_ratio(one, two) / np.log1p(RATIO_SPAN)),
    ]
    small = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
    text = f"frame {first.frame_index[i]}"
    cv2.putText(small[0], text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(small[0], text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 1, cv2.LINE_AA)
    framed = [
        cv2.copyMakeBorder(p, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for p in small
    ]
    return np.concatenate(framed)


def diverging(values: np.ndarray) -> np.ndarray:
    """Colours from blue (-1) over white (0) to red (1); nan is dark.

    Args:
        values: (H, W), clipped to [-1, 1].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    stops = np.array([[33, 80, 190], [255, 255, 255], [200, 35, 35]], float)
    level = np.clip(np.nan_to_num(values), -1, 1)
    rgb = np.stack([np.interp(level, [-1, 0, 1], stops[:, c]) for c in range(3)], axis=-1)
    picture = rgb.astype(np.uint8)
    picture[np.isnan(values)] = UNKNOWN_RGB
    return picture


def _label(words: str, height: int) -> np.ndarray:
    """A white box with words, as high as a row of the picture."""
    box = np.full((height + 4, LABEL_WIDTH, 3), 255, np.uint8)
    at = (10, height // 2 + 6)
    cv2.putText(box, words, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (45, 45, 52), 1, cv2.LINE_AA)
    return box
