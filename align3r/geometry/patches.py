"""Patches: small squares of images, cut out where a point is, and registered to each other.

All patches of a frame lie side by side in one picture, so that one call of Lucas-Kanade registers
all of them and the work grows with the points, not with the size of the images.
"""

from __future__ import annotations

import cv2
import numpy as np

WINDOW = 15
"""Side of the square that is compared."""
LEAST_CORRELATION = 0.8
"""Patches that are less alike are not the same point."""
_COLUMNS = 64
"""Patches in a row of the picture."""


def cut_patches(
    image: np.ndarray, centres: np.ndarray, *, side: int, warps: np.ndarray | None = None
) -> np.ndarray:
    """Cut (M, side, side) uint8 out of an image, bilinear, its border repeated.

    Args:
        image: (H, W) uint8.
        centres: (M, 2) pixels (u, v) that the middles of the patches are at.
        side: An odd number of pixels.
        warps: (M, 2, 2) pixels of the image for a step of one pixel in the patch; no warp if None.
    """
    reach = np.arange(side) - side // 2
    steps = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2).astype(np.float64)
    patches = np.empty((len(centres), side, side), np.uint8)
    # remap counts rows in 16 bits, so a row holds one patch and there are not too many.
    for start in range(0, len(centres), 20_000):
        part = slice(start, start + 20_000)
        moved = steps[None] if warps is None else np.einsum("mij,nj->mni", warps[part], steps)
        u, v = np.moveaxis((centres[part, None] + moved).astype(np.float32), 2, 0)
        cut = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        patches[part] = cut.reshape(-1, side, side)
    return patches


def register(templates: np.ndarray, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the middle of each template is from the middle of its patch, by Lucas-Kanade.

    Args:
        templates: (M, side, side) uint8.
        patches: (M, side, side) uint8.

    Returns:
        (M, 2) float64 pixels to go in the patch, and (M,) bool: it is found, and looks the same.
    """
    if not len(templates):
        return np.zeros((0, 2)), np.zeros(0, bool)
    side = templates.shape[1]
    number = np.arange(len(templates))
    middles = np.stack([number % _COLUMNS, number // _COLUMNS], axis=1) * side + side // 2
    start = middles.astype(np.float32)[:, None]
    sheet = _side_by_side(patches)
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        _side_by_side(templates),
        sheet,
        start,
        start.copy(),
        winSize=(WINDOW, WINDOW),
        maxLevel=1,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.005),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    step = found[:, 0].astype(np.float64) - middles
    good = (status[:, 0] == 1) & (np.abs(step) <= side // 2 - WINDOW // 2).all(axis=1)
    if good.any():
        edge = slice((side - WINDOW) // 2, (side + WINDOW) // 2)
        moved = cut_patches(sheet, (middles + step)[good], side=WINDOW)
        alike = _correlation(templates[good, edge, edge], moved) >= LEAST_CORRELATION
        good[good] = alike
    return step, good


def _side_by_side(patches: np.ndarray) -> np.ndarray:
    """One picture of (M, side, side) patches, row by row."""
    side, rows = patches.shape[1], -(-len(patches) // _COLUMNS)
    sheet = np.zeros((rows * _COLUMNS, side, side), np.uint8)
    sheet[: len(patches)] = patches
    grid = sheet.reshape(rows, _COLUMNS, side, side).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid).reshape(rows * side, _COLUMNS * side)


def _correlation(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(M,) normalised correlation of patches (M, n, n)."""
    one, two = (p.reshape(len(p), one[0].size).astype(np.float32) for p in (one, two))
    one -= one.mean(axis=1, keepdims=True)
    two -= two.mean(axis=1, keepdims=True)
    norm = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return np.asarray((one * two).sum(axis=1) / np.maximum(norm, 1e-6))
