"""Sharpness of depth at occlusions: F1 of relative jumps, as MoGe measures it."""

from __future__ import annotations

import numpy as np

JUMPS = np.linspace(0.05, 0.25, 10)
"""Relative jumps of depth that make a boundary; each also weighs its own F1."""


def boundary_f1(
    gt: np.ndarray, pred: np.ndarray, *, mask: np.ndarray | None = None, radius: int = 1
) -> float:
    """F1 of "this neighbour is farther by more than t", averaged over `JUMPS` with weights t.

    Any pair of a pixel and a neighbour in a disc about it counts, if both are valid; the pixels
    are those whose whole square of that radius is in the image. The scale of the prediction does
    not matter.

    Args:
        gt: (H, W) true depth.
        pred: (H, W) predicted depth.
        mask: (H, W) bool, valid pixels; all if not given.
        radius: Of the disc, in pixels.

    Returns:
        nan if no pair counts.

    Raises:
        ValueError: The shapes differ.
    """
    valid = np.ones(gt.shape, bool) if mask is None else np.asarray(mask, dtype=bool)
    if not gt.shape == pred.shape == valid.shape:
        raise ValueError(f"true depth {gt.shape}, prediction {pred.shape}: shapes differ")
    # Beyond each threshold: in the truth, in the prediction, in both.
    counts, pairs = np.zeros((3, len(JUMPS))), 0
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy > radius * radius:
                continue
            both = _middle(valid, radius) & _middle(valid, radius, dy, dx)
            true, found = (_middle(d, radius, dy, dx)[both] for d in (gt, pred))
            true = true.astype(np.float64) / _middle(gt, radius)[both]
            found = found.astype(np.float64) / _middle(pred, radius)[both]
            pairs += len(true)
            counts += [_beyond(v) for v in (true, found, np.minimum(true, found))]
    if not pairs:
        return np.nan
    total = counts[0] + counts[1]
    f1 = 2 * counts[2] / np.maximum(total, 1)
    return float(f1 @ JUMPS / JUMPS.sum())


def _middle(image: np.ndarray, radius: int, dy: int = 0, dx: int = 0) -> np.ndarray:
    """The image without a border of that radius, moved."""
    height, width = image.shape
    return image[
        radius + dy : max(height - radius + dy, radius + dy),
        radius + dx : max(width - radius + dx, radius + dx),
    ]


def _beyond(ratios: np.ndarray) -> np.ndarray:
    """How many ratios exceed 1 + t for each threshold."""
    sorted_ratios = np.sort(ratios[ratios > 1 + JUMPS[0]])
    return len(sorted_ratios) - np.searchsorted(sorted_ratios, 1 + JUMPS, side="right")
