"""What two frames alone say: epipolar geometry, focal length, rotation, parallax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import roma
import torch

FOCAL_RANGE = (0.4, 4.0)
"""Focal lengths that are considered, relative to the long side of the image."""
_USUAL_SPREAD = 0.35
"""Standard deviation of the natural logarithm of focal lengths of cameras that take videos."""
_UNUSUAL = 0.01


@dataclass(frozen=True)
class TwoView:
    """Relation of two frames from their matches."""

    i: int
    j: int
    source: np.ndarray
    """(m, 2) pixels in i."""
    target: np.ndarray
    """(m, 2) pixels in j."""
    fundamental: np.ndarray | None
    """(3, 3), unit norm, for pixels relative to the principal point; None if there is none."""
    inlier: np.ndarray
    """(m,) bool of the fundamental matrix."""
    planar: float
    """Share of the inliers that one homography explains: near 1, no parallax or a plane."""


def or_nothing(estimate: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, Any]:
    """Model and mask that a robust estimator of OpenCV finds; (None, None) where it gives up.

    When no sample gives a model, some end in an assertion of their own instead of an empty model.
    """
    try:
        model, mask = estimate(*args, **options)
    except cv2.error:
        return None, None
    return model, mask


def two_view(i: int, j: int, source: np.ndarray, target: np.ndarray, *, noise_px: float) -> TwoView:
    """Robust two-view relation (MAGSAC++, Barath et al., CVPR 2020) of (m, 2) centred pixels."""
    nothing = TwoView(i, j, source, target, None, np.zeros(len(source), bool), 1.0)
    if len(source) < 30:
        return nothing
    f, mask = or_nothing(
        cv2.findFundamentalMat, source, target, cv2.USAC_MAGSAC, noise_px, 0.999, 2000
    )
    if f is None or f.shape != (3, 3) or mask is None or mask.sum() < 20:
        return nothing
    inlier = mask.ravel() > 0
    _, by_plane = or_nothing(
        cv2.findHomography, source, target, cv2.USAC_MAGSAC, noise_px, None, 2000, 0.999
    )
    planar = 1.0 if by_plane is None else float((by_plane.ravel() > 0)[inlier].mean())
    return TwoView(i, j, source, target, f / np.linalg.norm(f), inlier, planar)


def focal_from_fundamentals(
    views: list[TwoView], long_side: float, *, usual: float
) -> tuple[float, float] | None:
    """Focal length that makes the fundamental matrices essential, by vote of all pairs.

    An essential matrix has two equal singular values; the relative difference of those of
    K^T F K is summed over the pairs, robustly (Mendonca and Cipolla, CVPR 1999). Focal lengths
    far from the usual one pay a little: pairs with hardly any parallax vote at random.

    Args:
        views: Pairs; those without parallax are left out.
        long_side: Long side of the image, pixels.
        usual: Focal length that is taken when nothing speaks against it, pixels.

    Returns:
        Focal length and the sharpness of its minimum (0 = flat, the vote says nothing), or
        None if no pair has a vote.
    """
    voters = [v for v in views if v.fundamental is not None and v.planar < 0.8]
    if not voters:
        return None
    candidates = long_side * np.geomspace(*FOCAL_RANGE, 120)
    scale = np.stack([np.stack([candidates, candidates, np.ones_like(candidates)], -1)])
    matrices = np.stack([v.fundamental for v in voters if v.fundamental is not None])
    essential = matrices[:, None] * scale[..., :, None] * scale[..., None, :]
    values = np.linalg.svd(essential, compute_uv=False)
    unequal = 1 - values[..., 1] / values[..., 0]
    weight = np.array([v.inlier.sum() * (1 - v.planar) for v in voters], float)
    vote = (weight[:, None] * unequal / (unequal + 0.1)).sum(0) / weight.sum()
    unusual = _UNUSUAL * (np.log(candidates / usual) / _USUAL_SPREAD) ** 2
    best = int((vote + unusual).argmin())
    sharpness = float(np.median(vote) - vote[best])
    return float(candidates[best]), sharpness


def rotation_between(source: np.ndarray, target: np.ndarray, focal: float) -> np.ndarray:
    """(3, 3) rotation target_from_source that explains most of the (m, 2) centred matches."""
    a, b = _unit_rays(source, focal), _unit_rays(target, focal)
    weight = np.ones(len(a))
    rotation = np.eye(3)
    for _ in range(12):
        rotation = _procrustes(a, b, weight)
        residual = focal * np.linalg.norm(b - a @ rotation.T, axis=-1)
        spread = max(1.4826 * float(np.median(residual)), 0.3)
        weight = 1.0 / (1.0 + (residual / spread) ** 2) ** 2
    return rotation


def rotation_residual(
    source: np.ndarray, target: np.ndarray, focal: float, rotation: np.ndarray
) -> np.ndarray:
    """(m,) pixels that remain when only the rotation is undone: the parallax."""
    turned = _unit_rays(source, focal) @ rotation.T
    z = np.maximum(turned[:, 2:], 1e-6)
    return np.asarray(np.linalg.norm(focal * turned[:, :2] / z - target, axis=-1))


def _unit_rays(pixels: np.ndarray, focal: float) -> np.ndarray:
    rays = np.concatenate([pixels / focal, np.ones((len(pixels), 1))], 1)
    return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def _procrustes(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    cross = np.einsum("m,ma,mb->ab", weight, b, a)
    return np.asarray(roma.special_procrustes(torch.from_numpy(cross)).numpy())
