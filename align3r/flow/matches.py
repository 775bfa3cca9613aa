"""Sparse matches over any displacement, and the dense start flow they give."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

_RATIO = 0.85
_CELL = 16


@dataclass(frozen=True)
class Features:
    """Key points of one image."""

    points: np.ndarray
    """(k, 2) float32 pixels."""
    sift: np.ndarray
    """(k, 128) uint8, which OpenCV's descriptors are rounded to: a quarter of the memory."""

    @property
    def descriptors(self) -> np.ndarray:
        """(k, 128) float32, root-SIFT (Arandjelovic and Zisserman, CVPR 2012)."""
        values = self.sift.astype(np.float32)
        share = values / np.maximum(values.sum(1, keepdims=True), np.float32(1e-9))
        return np.asarray(np.sqrt(share))


def detect(image: np.ndarray, *, count: int = 2000) -> Features:
    """SIFT key points of an (h, w, 3) uint8 RGB image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT.create(nfeatures=count, contrastThreshold=0.015)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    points = np.array([k.pt for k in keypoints], np.float32)
    return Features(points, descriptors.astype(np.uint8))


def match(a: Features, b: Features) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours that pass the ratio test and agree with their surroundings.

    Returns:
        Index into a and into b, (m,) each.
    """
    if min(len(a.points), len(b.points)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    likeness = a.descriptors @ b.descriptors.T
    best = likeness.argmax(1)
    rows = np.arange(len(best))
    first = likeness[rows, best]
    back = likeness.argmax(0)
    likeness[rows, best] = -1.0
    second = likeness.max(1)
    # Squared distances of unit vectors are 2 - 2 cos.
    distinct = (1.0 - first) < _RATIO**2 * (1.0 - second)
    keep = distinct & (back[best] == rows)
    index_a, index_b = rows[keep], best[keep]
    kept = _agree_with_neighbours(a.points[index_a], b.points[index_b])
    return index_a[kept], index_b[kept]


def _agree_with_neighbours(
    source: np.ndarray, target: np.ndarray, *, around: int = 8
) -> np.ndarray:
    """Matches whose displacement is near the median of the displacements around them."""
    if len(source) < around:
        return np.zeros(len(source), bool)
    move = target - source
    _, near = cKDTree(source).query(source, k=around)
    deviation = np.linalg.norm(move[near] - move[:, None], axis=-1)
    tolerance = 8.0 + 0.15 * np.linalg.norm(move, axis=-1)
    return np.asarray((deviation < tolerance[:, None]).sum(1) > around // 2)


def start_flow(source: np.ndarray, target: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """Dense first guess from matches: a homography for the whole, the matches near it for the rest.

    Args:
        source: (m, 2) pixels.
        target: (m, 2) pixels.
        shape: (h, w) of the flow.

    Returns:
        (h, w, 2) float32, or None if there are too few matches to say anything.
    """
    if len(source) < 12:
        return None
    homography, _ = cv2.findHomography(source, target, cv2.RANSAC, 8.0)
    if homography is None:
        return None
    height, width = shape
    v, u = np.mgrid[0 : height + _CELL : _CELL, 0 : width + _CELL : _CELL].astype(np.float64)
    cells = np.stack([u, v], -1).reshape(-1, 2)
    base = _apply(homography, cells) - cells
    rest = (target - source) - (_apply(homography, source) - source)
    distance, near = cKDTree(source).query(cells, k=min(6, len(source)))
    weight = np.exp(-((distance / (2.5 * _CELL)) ** 2)) + 1e-12
    # Far from every match the homography alone decides.
    trust = np.exp(-((distance[:, :1] / (8 * _CELL)) ** 2))
    local = (weight[..., None] * rest[near]).sum(1) / weight.sum(1, keepdims=True)
    move = (base + trust * local).reshape(*u.shape, 2)
    grown = cv2.warpAffine(
        move,
        np.array([[_CELL, 0, 0], [0, _CELL, 0]], np.float64),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.clip(grown, -2 * max(shape), 2 * max(shape)).astype(np.float32)


def _apply(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(moved[:, :2] / np.where(np.abs(moved[:, 2:]) < 1e-6, 1e-6, moved[:, 2:]))
