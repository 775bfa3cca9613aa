"""Agreement of masks."""

from __future__ import annotations

import numpy as np


def mask_iou(gt: np.ndarray, pred: np.ndarray) -> float:
    """Intersection over union of two bool arrays, pooled over all their pixels.

    1 if both are empty.

    Raises:
        ValueError: The shapes differ.
    """
    if gt.shape != pred.shape:
        raise ValueError(f"true mask {gt.shape}, predicted mask {pred.shape}: shapes differ")
    union = int((gt | pred).sum())
    return float((gt & pred).sum() / union) if union else 1.0
