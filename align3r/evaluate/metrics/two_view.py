"""Two-view pose from point maps: reciprocal matches and the essential matrix."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial import cKDTree

_FAR = 1e9
_NEEDED = 5


class TwoViewPose(NamedTuple):
    """second_from_first; the length of the translation is 1."""

    rotation: np.ndarray
    """(3, 3)."""
    translation: np.ndarray
    """(3,)."""
    inliers: int


def reciprocal_matches(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of two clouds in one frame that are each other's nearest.

    Args:
        one: (N, 3); those that are not finite have no match.
        two: (M, 3), likewise.

    Returns:
        (K,) indices into `one` and (K,) into `two`, in the order of `two`.
    """
    i, j = (np.flatnonzero(np.isfinite(points).all(axis=1)) for points in (one, two))
    if not len(i) or not len(j):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    nearest_two, nearest_one = _tree(two[j]).query(one[i])[1], _tree(one[i]).query(two[j])[1]
    kept = np.flatnonzero(nearest_two[nearest_one] == np.arange(len(j)))
    return i[nearest_one[kept]], j[kept]


def _tree(points: np.ndarray) -> cKDTree:
    """Split in the middle of space: of clouds far apart, median splits are several times slower."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def pose_from_matches(
    pixels: tuple[np.ndarray, np.ndarray],
    intrinsics: tuple[np.ndarray, np.ndarray],
    *,
    threshold_px: float = 0.5,
    confidence: float = 0.99999,
) -> TwoViewPose | None:
    """Relative pose from matches by the essential matrix, as LoFTR and SuperGlue do for ScanNet.

    Args:
        pixels: Of the first and of the second view, (N, 2) each.
        intrinsics: Of the two, (3, 3) each.
        threshold_px: Of RANSAC, divided by the mean of the four focal lengths.
        confidence: Of RANSAC.

    Returns:
        None where there are fewer than five matches or nothing fits them.
    """
    k0, k1 = (np.asarray(k, dtype=np.float64) for k in intrinsics)
    if len(pixels[0]) < _NEEDED:
        return None
    first, second = (
        (np.asarray(p, dtype=np.float64) - k[[0, 1], [2, 2]]) / k[[0, 1], [0, 1]]
        for p, k in zip(pixels, (k0, k1), strict=True)
    )
    focal = np.mean([k0[0, 0], k0[1, 1], k1[0, 0], k1[1, 1]])
    essential, mask = cv2.findEssentialMat(
        first, second, np.eye(3), threshold=threshold_px / focal, prob=confidence, method=cv2.RANSAC
    )
    if essential is None:
        return None
    best = None
    # Several solutions come as one tall matrix.
    for matrix in np.split(essential, len(essential) // 3):
        # Every call marks its own inliers in the mask it is given.
        found = cv2.recoverPose(matrix, first, second, np.eye(3), _FAR, mask=mask.copy())
        if found[0] > (best.inliers if best else 0):
            best = TwoViewPose(found[1], found[2][:, 0], int(found[0]))
    return best
