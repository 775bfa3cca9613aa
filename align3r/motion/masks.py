"""Moving-object masks from how badly a static scene explains the flow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from align3r.flow.warp import backward_warp
from align3r.geometry.smoothing import edge_aware_smooth
from align3r.motion.evidence import NOISE_FLOOR_PX, Evidence
from align3r.parallel import in_threads
from align3r.types import PairFlows

_LEAST_AREA = 0.0007
_HALF = 0.5
_LARGEST_SCORE = 30.0
_UNKNOWN_WEIGHT = 0.02


Neighbours = Sequence[np.ndarray | None] | np.ndarray
"""(h, w, 2) flow of each frame; None where there is none."""


def masks_of(
    found: Evidence, flows: PairFlows, *, threshold: float, images: np.ndarray | None = None
) -> np.ndarray:
    """(N, h, w) bool: the masks that evidence and the flows of its pairs lead to."""
    to_next, to_previous = _neighbour_flows(flows, len(found.error))
    return motion_masks(
        found.error,
        threshold=threshold,
        noise=found.noise,
        weight=found.weight,
        images=images,
        to_next=to_next,
        to_previous=to_previous,
    )


def _neighbour_flows(
    flows: PairFlows, n_frames: int
) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
    """Flows of each frame to the next and to the previous one; None where that pair is not."""
    to_next: list[np.ndarray | None] = [None] * n_frames
    to_previous: list[np.ndarray | None] = [None] * n_frames
    for row, (i, j) in enumerate(flows.edges.tolist()):
        there, back = flows.forward[row], flows.backward[row]
        if j == i + 1:
            to_next[i], to_previous[j] = there, back
        elif j == i - 1:
            to_previous[i], to_next[j] = there, back
    return to_next, to_previous


def motion_masks(
    disagreement: np.ndarray,
    *,
    threshold: float,
    noise: float | None = None,
    weight: np.ndarray | None = None,
    images: np.ndarray | None = None,
    to_next: Neighbours | None = None,
    to_previous: Neighbours | None = None,
) -> np.ndarray:
    """Moving regions, cleaned in time and space.

    Args:
        disagreement: (N, h, w) pixels between the flow that is seen and the one a static scene
            would show, a robust average over the pairs of a frame; nan where no pair is valid.
        threshold: In robust standard deviations of the whole video (median, not mean: a few
            bad pixels do not move it).
        noise: Such a deviation, in pixels; found from the disagreement if not given.
        weight: (N, h, w) how many pairs have a say in each pixel; equal if not given.
        images: (N, h, w, 3) uint8 RGB; with them a mask ends where the image has an edge.
        to_next: Flow from each frame to the next, to look at neighbours in time; a frame without
            one of its flows is left as it is.
        to_previous: Flow from each frame to the one before.

    Returns:
        (N, h, w) bool, True = moving.
    """
    known = disagreement[np.isfinite(disagreement)]
    if not len(known):
        return np.zeros(disagreement.shape, bool)
    if noise is None:
        noise = 1.4826 * float(np.median(known))
    score = np.nan_to_num(disagreement / max(noise, NOISE_FLOOR_PX), nan=0.0).astype(np.float32)
    if to_next is not None and to_previous is not None:
        score = _median_in_time(score, to_next, to_previous)
    if images is not None:
        say = np.isfinite(disagreement).astype(np.float32)
        if weight is not None:
            say *= weight / (1 + weight)
        score = _along_image(score, say, images)
    return np.stack([_with_hysteresis(frame, threshold) for frame in score])


def _median_in_time(score: np.ndarray, to_next: Neighbours, to_previous: Neighbours) -> np.ndarray:
    """Each pixel takes the median of itself and its matches one frame before and after."""
    smoothed = score.copy()
    for k in range(1, len(score) - 1):
        ahead, behind = to_next[k], to_previous[k]
        if ahead is None or behind is None:
            continue
        after = backward_warp(score[k + 1], ahead.astype(np.float32))
        before = backward_warp(score[k - 1], behind.astype(np.float32))
        smoothed[k] = np.median(np.stack([before, score[k], after]), 0)
    return smoothed


def _along_image(score: np.ndarray, say: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Scores spread inside the regions of the image; pixels with no say take those around them.

    In logarithms: how far beyond the threshold one pixel is must not decide for its region.
    """

    def one(k: int) -> np.ndarray:
        weight = np.maximum(say[k], _UNKNOWN_WEIGHT)
        maps = np.stack([weight * np.log1p(np.minimum(score[k], _LARGEST_SCORE)), weight], -1)
        spread = edge_aware_smooth(images[k], maps, strength=200.0, edge=0.02)
        return np.asarray(np.expm1(spread[..., 0] / spread[..., 1]))

    return np.stack(list(in_threads(one, range(len(score)))))


def _with_hysteresis(score: np.ndarray, threshold: float) -> np.ndarray:
    """Regions above half the threshold that hold something above the whole of it.

    A thing whose motion a static scene half explains (against the camera's, say) is sure in
    parts only; the rest of it is still less certain than the static scene.
    """
    sure = _clean(score > threshold)
    likely = _clean(score > _HALF * threshold)
    _, labels = cv2.connectedComponents(likely.astype(np.uint8))
    held = np.unique(labels[sure & likely])
    return np.asarray(sure | np.isin(labels, held[held > 0]))


def _clean(mask: np.ndarray) -> np.ndarray:
    """Drop specks, close gaps, fill holes; sizes follow the image."""
    unit = max(mask.shape) / 512
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(2 * unit))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _disc(5 * unit))
    return _fill_holes(_large_parts(closed > 0))


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def _large_parts(mask: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = stats[:count, cv2.CC_STAT_AREA] >= _LEAST_AREA * mask.size
    large[0] = False
    return np.asarray(large[labels])


def _fill_holes(mask: np.ndarray) -> np.ndarray:
    """Holes smaller than a tenth of what surrounds them belong to it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8))
    small = stats[:count, cv2.CC_STAT_AREA] < min(0.1 * mask.sum(), 0.01 * mask.size)
    small[0] = False
    return np.asarray(mask | small[labels])
