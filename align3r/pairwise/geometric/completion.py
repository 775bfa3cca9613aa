"""A value for every pixel: what is not triangulated follows what is, guided by the image."""

from __future__ import annotations

import cv2
import numpy as np

from align3r.geometry.smoothing import edge_aware_smooth

_BEYOND = 2.0


def complete(image: np.ndarray, inverse_depth: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Inverse depth for every pixel: itself where trusted, spread along the image elsewhere.

    Args:
        image: (h, w, 3) uint8 RGB.
        inverse_depth: (h, w), > 0.
        trust: (h, w) from 0 (unknown) to 1.

    Returns:
        (h, w) float32, > 0.
    """
    inverse_depth = np.clip(inverse_depth, *_credible_range(inverse_depth, trust))
    trust = np.maximum(trust, 1e-6)
    spread = edge_aware_smooth(image, np.stack([trust * inverse_depth, trust], -1))
    smooth = spread[..., 0] / np.maximum(spread[..., 1], 1e-12)
    leaning = 0.1
    filled = (trust * inverse_depth + leaning * smooth) / (trust + leaning)
    return np.asarray(np.maximum(filled, 1e-6), np.float32)


def _credible_range(inverse_depth: np.ndarray, trust: np.ndarray) -> tuple[float, float]:
    """What is not trusted may lie beyond what is, but not far: a wild value would spread."""
    believed = inverse_depth[trust >= min(0.5, float(np.quantile(trust, 0.9)))]
    low, high = np.quantile(believed, (0.01, 0.99))
    return float(low / _BEYOND), float(high * _BEYOND)


def place_objects(
    inverse_depth: np.ndarray, moving: np.ndarray, *, quantile: float = 0.95, ring_px: int = 12
) -> np.ndarray:
    """Put moving objects where they can be: in front of what they hide.

    A moving thing cannot be triangulated with the static scene. Things stand on something and
    hide what is behind them, so each connected region takes one inverse depth, a high quantile
    of the static scene along its border (usually where it touches the ground).

    Args:
        inverse_depth: (h, w) of the static scene.
        moving: (h, w) bool.
        quantile: Of the inverse depths along the border.
        ring_px: Width of the border.
    """
    placed: np.ndarray = inverse_depth.copy()
    count, labels = cv2.connectedComponents(moving.astype(np.uint8))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * ring_px + 1, 2 * ring_px + 1))
    for k in range(1, count):
        region = labels == k
        ring = (cv2.dilate(region.astype(np.uint8), kernel) > 0) & ~moving
        if ring.any():
            placed[region] = np.quantile(inverse_depth[ring], quantile)
    return placed
