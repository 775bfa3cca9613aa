"""A value for every pixel: what is not triangulated follows what is, guided by the image."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.linalg import solveh_banded


def edge_aware_smooth(
    image: np.ndarray, maps: np.ndarray, *, strength: float = 2000.0, edge: float = 0.015
) -> np.ndarray:
    """Smooth maps without crossing the edges of an image.

    Fast global smoothing (Min et al., IEEE TIP 2014): weighted least squares split into rows
    and columns, each one tridiagonal system.

    Args:
        image: (h, w, 3) uint8 RGB guide.
        maps: (h, w, k) to be smoothed.
        strength: The larger, the farther a value spreads.
        edge: Colour difference, of 1, across which little spreads.

    Returns:
        (h, w, k) float32.
    """
    guide = image.astype(np.float32) / 255
    link_u = np.exp(-np.linalg.norm(np.diff(guide, axis=1), axis=-1) / edge)
    link_v = np.exp(-np.linalg.norm(np.diff(guide, axis=0), axis=-1) / edge)
    rounds = 3
    smooth = np.ascontiguousarray(maps, np.float64)
    for k in range(rounds):
        pull = 1.5 * strength * 4 ** (rounds - k - 1) / (4**rounds - 1)
        smooth = _smooth_rows(smooth, pull * link_u)
        smooth = _smooth_rows(smooth.swapaxes(0, 1), pull * link_v.T).swapaxes(0, 1)
    return smooth.astype(np.float32)


def _smooth_rows(maps: np.ndarray, link: np.ndarray) -> np.ndarray:
    """Solve (1 + L) x = maps along each row; all rows are one long tridiagonal system."""
    n_rows, n_cols, k = maps.shape
    upper = np.zeros((n_rows, n_cols))
    upper[:, 1:] = -link
    diagonal = np.ones((n_rows, n_cols))
    diagonal[:, 1:] += link
    diagonal[:, :-1] += link
    bands = np.stack([upper.ravel(), diagonal.ravel()])
    solved = solveh_banded(bands, maps.reshape(-1, k), overwrite_ab=True, check_finite=False)
    return np.asarray(solved).reshape(n_rows, n_cols, k)


def complete(image: np.ndarray, inverse_depth: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Inverse depth for every pixel: itself where trusted, spread along the image elsewhere.

    Args:
        image: (h, w, 3) uint8 RGB.
        inverse_depth: (h, w), > 0.
        trust: (h, w) from 0 (unknown) to 1.

    Returns:
        (h, w) float32, > 0.
    """
    trust = np.maximum(trust, 1e-6)
    spread = edge_aware_smooth(image, np.stack([trust * inverse_depth, trust], -1))
    smooth = spread[..., 0] / np.maximum(spread[..., 1], 1e-12)
    leaning = 0.1
    filled = (trust * inverse_depth + leaning * smooth) / (trust + leaning)
    return np.maximum(filled, 1e-6).astype(np.float32)


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
