"""compare.png: depth of several reconstructions of one video, and their ratios to the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

LABEL_WIDTH = 190
RATIO_SPAN = 0.2
"""Ratios from 1 / 1.2 to 1.2 span the colours of a ratio."""
PANEL = 300
SMALL_PANEL = 220
"""Long side of a panel, and where there are more than `FEW` runs."""
FEW = 3


def relative_depth(base: Reconstruction, other: Reconstruction) -> tuple[float, float]:
    """How the depth of one reconstruction differs from that of another.

    Every reconstruction of a video has a free scale; without it their depths differ by that alone.

    Returns:
        The factor on the depth of `other` that makes the median ratio to `base` one, and the
        median of the absolute logarithm of the ratios that remain: 0.01 is a gap of one percent.
    """
    ratios = []
    for i in spread(len(base), 32):
        ratio = base.depth(int(i))[::4, ::4] / other.depth(int(i))[::4, ::4]
        ratios.append(ratio[np.isfinite(ratio)])
    flat = np.concatenate(ratios)
    if not flat.size:
        return 1.0, 0.0
    scale = float(np.median(flat))
    return scale, float(np.median(np.abs(np.log(flat / scale))))


def log_ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W) logarithm of the ratio of two depth maps; nan where either is unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(first / second))


def write_comparison(scenes: Mapping[str, Reconstruction], path: Path, *, columns: int = 5) -> None:
    """Draw a few frames, one column a frame: image, depth of the first, depth and ratio of others.

    All depths are in the scale of the first and share its colour range. In a ratio white means
    equal, red farther than the first, blue nearer; full colour is 20 %.

    Args:
        scenes: By name, the one that the others are compared with first.
        path: File to write.
        columns: At most so many frames.

    Raises:
        OSError: The picture cannot be written.
    """
    names, (base, *others) = list(scenes), list(scenes.values())
    size = panel_size(base.size, PANEL if len(scenes) <= FEW else SMALL_PANEL)
    scales = [relative_depth(base, scene)[0] for scene in others]
    words = [["image"], [names[0]]]
    for name in names[1:]:
        words += [
            [name],
            [f"{name} : {names[0]}", f"blue -{RATIO_SPAN:.0%}", f"red +{RATIO_SPAN:.0%}"],
        ]
    labels = np.concatenate([_label(lines, size[1]) for lines in words])
    span = depth_range(base)
    strips = [
        _column(base, others, scales, int(i), size=size, span=span)
        for i in spread(len(base), columns)
    ]
    write_png(np.concatenate([labels, *strips], axis=1), path)


def _column(
    base: Reconstruction,
    others: Sequence[Reconstruction],
    scales: Sequence[float],
    i: int,
    *,
    size: tuple[int, int],
    span: DepthRange,
) -> np.ndarray:
    """The pictures of one frame, above each other, with a thin gap."""
    own = base.depth(i)
    image = cv2.resize(mask_overlay(base, i), size, interpolation=cv2.INTER_AREA)
    pictures = [_numbered(image, int(base.frame_index[i])), depth_picture(own, span)]
    for scene, scale in zip(others, scales, strict=True):
        depth = scene.depth(i) * scale
        ratio = diverging(log_ratio(depth, own) / np.log1p(RATIO_SPAN))
        pictures += [depth_picture(depth, span), ratio]
    small = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
    return np.concatenate([_framed(picture) for picture in small])


def _framed(picture: np.ndarray) -> np.ndarray:
    """The picture with a thin grey line, which shows where a white one ends, and a white gap."""
    for grey in (190, 255):
        picture = cv2.copyMakeBorder(
            picture, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(grey, grey, grey)
        )
    return picture


def _numbered(picture: np.ndarray, frame: int) -> np.ndarray:
    """The picture with the number of its frame."""
    for colour, thick in ((0, 3), (255, 1)):
        cv2.putText(
            picture,
            f"frame {frame}",
            (8, 20),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (colour,) * 3,
            thick,
            cv2.LINE_AA,
        )
    return picture


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


def _label(lines: Sequence[str], height: int) -> np.ndarray:
    """A white box with a few words, as high as a row of the picture."""
    box = np.full((height + 4, LABEL_WIDTH, 3), 255, np.uint8)
    font, step = cv2.FONT_HERSHEY_SIMPLEX, 20
    for k, words in enumerate(lines):
        wide = cv2.getTextSize(words, font, 0.5, 1)[0][0]
        size = 0.5 * min(1.0, (LABEL_WIDTH - 20) / wide)
        at = (10, height // 2 + 6 + step * k - step * (len(lines) - 1) // 2)
        cv2.putText(box, words, at, font, size, (45, 45, 52), 1, cv2.LINE_AA)
    return box
