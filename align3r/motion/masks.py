"""Moving-object masks from how badly a static scene explains the flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

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
_REMEMBERED = 0.7
"""Say of the memory of a neighbour in time."""
_REACH = 6
"""Neighbours on either side that are remembered."""


class Match(NamedTuple):
    """Where the pixels of a frame are in one of its two neighbours."""

    flow: np.ndarray
    """(h, w, 2) pixels."""
    valid: np.ndarray
    """(h, w) bool: the way back leads home."""


Neighbours = Sequence[Match | None]
"""One match a frame; None where there is none."""
Score = Callable[[int], np.ndarray]
"""Frame number -> (h, w) float32."""


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
) -> tuple[list[Match | None], list[Match | None]]:
    """Flows of each frame to the next and to the previous one; None where that pair is not."""
    to_next: list[Match | None] = [None] * n_frames
    to_previous: list[Match | None] = [None] * n_frames
    for row, (i, j) in enumerate(flows.edges.tolist()):
        there = Match(flows.forward[row], flows.forward_valid[row])
        back = Match(flows.backward[row], flows.backward_valid[row])
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
    remembers: bool = False,
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
        to_next: From each frame to the next, to look at neighbours in time; a frame without one of
            its matches is left as it is.
        to_previous: From each frame to the one before.
        remembers: Look at more neighbours than the next: for a disagreement with a depth that was
            made of the same flows, which explains what moves along an epipolar line in some
            frames, and not in those around them.

    Returns:
        (N, h, w) bool, True = moving.
    """
    noise = _noise_of(disagreement) if noise is None else noise
    if np.isnan(noise):
        return np.zeros(disagreement.shape, bool)
    score = partial(_in_units, disagreement, max(noise, NOISE_FLOOR_PX))
    say = partial(_say_of, disagreement, weight)

    # Frames come one after the other, so the neighbours of one are those of the next.
    @lru_cache(maxsize=4 * _REACH)
    def steady(k: int) -> np.ndarray:
        if to_next is None or to_previous is None:
            return score(k)
        return _median_in_time(k, score, to_next=to_next, to_previous=to_previous)

    def one(k: int) -> np.ndarray:
        found = steady(k)
        if remembers and to_next is not None and to_previous is not None:
            found = _remembered(k, steady, say, to_next=to_next, to_previous=to_previous)
        if images is not None:
            found = _along_image(found, say(k), images[k])
        return _with_hysteresis(found, threshold)

    masks = np.empty(disagreement.shape, bool)
    for k, mask in enumerate(in_threads(one, range(len(masks)))):
        masks[k] = mask
    return masks


def _noise_of(disagreement: np.ndarray) -> float:
    """Robust standard deviation of the whole video; nan where nothing is known."""
    known = disagreement[np.isfinite(disagreement)]
    return 1.4826 * float(np.median(known)) if len(known) else np.nan


def _in_units(disagreement: np.ndarray, unit: float, k: int) -> np.ndarray:
    """(h, w) float32 of frame k; 0 where nothing is known."""
    known = disagreement[k].astype(np.float32) / np.float32(unit)
    return np.asarray(np.nan_to_num(known, nan=0.0))


def _say_of(disagreement: np.ndarray, weight: np.ndarray | None, k: int) -> np.ndarray:
    """(h, w) float32 of frame k, from 0 to 1: how much its pixels are to be believed."""
    known = np.isfinite(disagreement[k]).astype(np.float32)
    return known if weight is None else np.asarray(known * weight[k] / (1 + weight[k]))


def _median_in_time(
    k: int, score: Score, *, to_next: Neighbours, to_previous: Neighbours
) -> np.ndarray:
    """Each pixel takes the median of itself and its matches one frame before and after."""
    own, there, back = score(k), to_next[k], to_previous[k]
    if there is None or back is None or not 0 < k < len(to_next) - 1:
        return own
    beside = (score(k - 1), back.flow), (score(k + 1), there.flow)
    warped = [backward_warp(other, flow.astype(np.float32)) for other, flow in beside]
    return np.asarray(np.median(np.stack([own, *warped]), 0))


def _remembered(
    k: int, score: Score, say: Score, *, to_next: Neighbours, to_previous: Neighbours
) -> np.ndarray:
    """Each pixel takes the mean of itself and what its matches remember.

    The mean of the cubed logarithms: logarithms, so that no single score decides; cubes, so that
    frames in which a thing is seen to move count more than those in which a static scene happens
    to explain it.
    """

    def cubes(i: int) -> np.ndarray:
        weight = np.maximum(say(i), _UNKNOWN_WEIGHT)
        return np.stack([weight * np.log1p(np.minimum(score(i), _LARGEST_SCORE)) ** 3, weight], -1)

    total = cubes(k)
    for step, matches in ((1, to_next), (-1, to_previous)):
        carried = np.zeros_like(total)
        # From the farthest one inwards, each handing on what it has from behind it.
        for near in range(k + step * (_REACH - 1), k - step, -step):
            inside = 0 <= min(near, near + step) and max(near, near + step) < len(matches)
            match = matches[near] if inside else None
            if match is None:
                carried = np.zeros_like(total)
                continue
            beyond = carried + cubes(near + step)
            moved = backward_warp(beyond, match.flow.astype(np.float32))
            carried = _REMEMBERED * match.valid[..., None] * moved
        total = total + carried
    return np.asarray(np.expm1(np.cbrt(total[..., 0] / total[..., 1])))


def _along_image(score: np.ndarray, say: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Scores spread inside the regions of the image; pixels with no say take those around them.

    In logarithms: how far beyond the threshold one pixel is must not decide for its region.
    """
    weight = np.maximum(say, _UNKNOWN_WEIGHT)
    maps = np.stack([weight * np.log1p(np.minimum(score, _LARGEST_SCORE)), weight], -1)
    spread = edge_aware_smooth(image, maps, strength=200.0, edge=0.02)
    return np.asarray(np.expm1(spread[..., 0] / spread[..., 1]))


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
