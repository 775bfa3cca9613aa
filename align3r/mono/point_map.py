"""The point map that Align3R's network is fed: a value map swept along the viewing rays."""

from __future__ import annotations

import cv2
import numpy as np

from align3r.io.fitting import NetworkPlan


def point_map(values: np.ndarray) -> np.ndarray:
    """Sweep values along the rays of a pinhole camera; each axis normalised to [0, 1].

    The focal length, and any scale of the values, cancels in the normalisation. The values are
    what the network was trained with: raw disparity, not inverted, or depth in metres. (The paper
    says [-1, 1]; the network was trained with [0, 1].)

    Args:
        values: (H, W), finite.

    Returns:
        (H, W, 3) float32; 0 on an axis without extent.
    """
    values = np.asarray(values, np.float32)
    height, width = values.shape
    # Float32 throughout, and W / 2 instead of the pixel grid's centre, as the network learnt it.
    u = np.arange(width, dtype=np.float32) - width / 2
    v = np.arange(height, dtype=np.float32)[:, None] - height / 2
    points = np.empty((height, width, 3), np.float32)
    for axis, coordinate in enumerate((u * values, v * values, values)):
        low, high = coordinate.min(), coordinate.max()
        points[..., axis] = (coordinate - low) / (high - low) if high > low else 0
    return points


def fit_point_map(points: np.ndarray, plan: NetworkPlan, *, crop: bool = False) -> np.ndarray:
    """Take a point map to the network's size by the steps that its image takes.

    The filters overshoot, so values leave [0, 1] a little beside edges.

    Args:
        points: (H, W, 3) float32 of the source size that the plan was made for.
        plan: Sizes of the two steps.
        crop: Crop in the second step; False stretches.
    """
    shrinks = plan.shrinks((points.shape[1], points.shape[0]))
    first = cv2.INTER_LANCZOS4 if shrinks else cv2.INTER_CUBIC
    resized: np.ndarray = cv2.resize(points, plan.resized, interpolation=first)
    if crop:
        left, top, right, bottom = plan.box
        return resized[top:bottom, left:right]
    return np.asarray(cv2.resize(resized, plan.size, interpolation=cv2.INTER_CUBIC))
