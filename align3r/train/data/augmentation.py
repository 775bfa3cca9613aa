"""Colours that change at random."""

from __future__ import annotations

import cv2
import numpy as np

_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
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
    levels = image.astype(np.float32) / 255
    levels = np.clip(levels * np.float32(1 + brightness), 0, 1)
    middle = (levels @ _BRIGHTNESS).mean()
    levels = np.clip(middle + (levels - middle) * np.float32(1 + contrast), 0, 1)
    grey = (levels @ _BRIGHTNESS)[..., None]
    levels = np.clip(grey + (levels - grey) * np.float32(1 + saturation), 0, 1)
    if hue:
        turned = cv2.cvtColor(levels, cv2.COLOR_RGB2HSV)
        turned[..., 0] = (turned[..., 0] + np.float32(360 * hue)) % 360
        levels = cv2.cvtColor(turned, cv2.COLOR_HSV2RGB)
    changed: np.ndarray = np.rint(255 * np.clip(levels, 0, 1)).astype(np.uint8)
    return changed
