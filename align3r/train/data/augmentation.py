"""Colours that change at random."""

from __future__ import annotations

import cv2
import numpy as np

Jitter = tuple[float, float, float, float]
"""Most by which brightness, contrast, saturation and hue change: three factors within 1 - x and
1 + x, and a part of the circle."""


def jitter_colours(image: np.ndarray, rng: np.random.Generator, strengths: Jitter) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of an image, in this order.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: Four numbers are drawn from it, whatever the strengths are.
        strengths: Of the four.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * strengths
    if not any(strengths):
        return image
    levels = np.minimum(image * np.float32((1 + brightness) / 255), 1)
    middle = np.float32(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY).mean())
    levels = _away_from(middle, levels, 1 + contrast)
    levels = _away_from(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)[..., None], levels, 1 + saturation)
    if hue:
        turned = cv2.cvtColor(levels, cv2.COLOR_RGB2HSV)
        turned[..., 0] = (turned[..., 0] + np.float32(360 * hue)) % 360
        levels = cv2.cvtColor(turned, cv2.COLOR_HSV2RGB)
    changed: np.ndarray = np.rint(255 * levels).astype(np.uint8)
    return changed


def _away_from(grey: np.ndarray | np.float32, levels: np.ndarray, factor: float) -> np.ndarray:
    """Levels whose difference from grey is `factor` times what it was."""
    changed = levels * np.float32(factor)
    changed += grey * np.float32(1 - factor)
    return np.clip(changed, 0, 1, out=changed)
