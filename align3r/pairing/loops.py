"""Loop pairs: frames far apart in time that see the same place, found by their image features.

Keyframes are described by one vector each (VLAD: Jegou et al., CVPR 2010, with words of the video's
own), the most alike ones are matched, and only pairs whose matches obey one epipolar geometry over
much of both images are kept: two places that look alike share things, not their surroundings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from align3r.config import PairOptions
from align3r.flow.matches import Features, detect, match
from align3r.pairing.graphs import KEYFRAME_REACH, WINDOW_OFFSETS
from align3r.pairing.keyframes import choose_keyframes
from align3r.parallel import in_threads

LEAST_FRAMES = 30
"""Shorter videos have no loop pairs, and frames that are no farther apart are none."""
_KEYPOINTS = 1000
_WORDS = 32
_LEARNED_FROM = 20_000
_ROUNDS = 10
_SHORTLIST = 4
_MOST = 3
"""Loop pairs of one keyframe with earlier ones."""
_LEAST_INLIERS = 30
_LEAST_SHARE = 0.6
_CELLS = (6, 4)
_LEAST_COVER = 0.4
"""Of the cells of an image that hold a match, so that one thing alone makes no loop."""
_EPIPOLAR_PX = 1.5


def find_loops(
    images: np.ndarray,
    options: PairOptions,
    *,
    keyframes: np.ndarray | None = None,
    on_pair: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Keyframes that see the same place although they are far apart in time.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        options: The graph that the pairs are to be added to.
        keyframes: (K,) one of each run of `options.group` frames; chosen here if not given.
        on_pair: Called with (done, total) pairs that are looked at.

    Returns:
        (L, 2) int64 pairs i < j of frames, sorted; at most three with the same j.
    """
    keys = choose_keyframes(images, options.group) if keyframes is None else keyframes
    least = _least_gap(options)
    if not options.loops or least is None or keys[-1] < least:
        return np.zeros((0, 2), np.int64)
    features = list(in_threads(partial(detect, count=_KEYPOINTS), images[keys]))
    wanted = _shortlist(global_descriptors(features), keys, least)
    shape = (images.shape[1], images.shape[2])
    inliers = in_threads(
        lambda pair: same_place(features[pair[0]], features[pair[1]], shape), wanted
    )
    found: dict[int, list[tuple[int, int]]] = {}
    for done, ((a, b), count) in enumerate(zip(wanted, inliers, strict=True)):
        if count:
            found.setdefault(b, []).append((-count, a))
        if on_pair is not None:
            on_pair(done + 1, len(wanted))
    kept = [(keys[a], keys[b]) for b, those in found.items() for _, a in sorted(those)[:_MOST]]
    return np.array(sorted(kept), np.int64).reshape(-1, 2)


def _least_gap(options: PairOptions) -> int | None:
    """Frames between the two of a loop pair, at least; None for graphs that have none."""
    if options.graph == "keyframes":
        return max(LEAST_FRAMES, KEYFRAME_REACH * options.group + 1)
    if options.graph in WINDOW_OFFSETS:
        return max(LEAST_FRAMES, *WINDOW_OFFSETS[options.graph](options.window)) + 1
    return None


def _shortlist(descriptors: np.ndarray, keys: np.ndarray, least: int) -> list[tuple[int, int]]:
    """Numbers (a, b), a < b, of the keyframes to look at: for each b, the most alike ones."""
    pairs = []
    for b in range(len(keys)):
        far = np.flatnonzero(keys[b] - keys >= least)
        order = np.argsort(-(descriptors[far] @ descriptors[b]), kind="stable")
        pairs += [(int(a), b) for a in far[order[:_SHORTLIST]]]
    return pairs


def global_descriptors(features: list[Features]) -> np.ndarray:
    """(K, words * 128) float32, of length 1: what each image consists of.

    The residuals of its descriptors from the nearest words, summed by word.
    """
    everything = np.concatenate([f.descriptors for f in features])
    if not len(everything):
        return np.zeros((len(features), 1), np.float32)
    words = _words(everything)
    vectors = np.zeros((len(features), *words.shape), np.float32)
    for vector, one in zip(vectors, features, strict=True):
        word = _nearest(one.descriptors, words)
        np.add.at(vector, word, one.descriptors - words[word])
    flat = vectors.reshape(len(features), -1)
    flat = np.sign(flat) * np.sqrt(np.abs(flat))
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9))


def _words(descriptors: np.ndarray) -> np.ndarray:
    """(W, 128) centres of the descriptors: k-means, the same for the same video."""
    rng = np.random.default_rng(0)
    count = min(len(descriptors), _LEARNED_FROM)
    some = descriptors[np.sort(rng.choice(len(descriptors), count, replace=False))]
    words = some[rng.choice(count, min(_WORDS, count), replace=False)]
    for _ in range(_ROUNDS):
        word = _nearest(some, words)
        total = np.zeros_like(words)
        np.add.at(total, word, some)
        size = np.bincount(word, minlength=len(words))[:, None]
        words = np.where(size > 0, total / np.maximum(size, 1), words)
    return np.asarray(words, np.float32)


def _nearest(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """(M,) the nearest word of each descriptor."""
    distance = (words * words).sum(1) - 2 * descriptors @ words.T
    return np.asarray(distance.argmin(1))


def same_place(a: Features, b: Features, shape: tuple[int, int]) -> int:
    """Matches that show the same place in two images of (h, w); 0 if they do not show it."""
    index_a, index_b = match(a, b)
    if len(index_a) < _LEAST_INLIERS:
        return 0
    at_a, at_b = a.points[index_a], b.points[index_b]
    _, mask = cv2.findFundamentalMat(at_a, at_b, cv2.USAC_MAGSAC, _EPIPOLAR_PX, 0.999, 2000)
    if mask is None:
        return 0
    good = mask.ravel() > 0
    count = int(good.sum())
    cover = min(_cover(at_a[good], shape), _cover(at_b[good], shape))
    if count < max(_LEAST_INLIERS, _LEAST_SHARE * len(good)) or cover < _LEAST_COVER:
        return 0
    return count


def _cover(points: np.ndarray, shape: tuple[int, int]) -> float:
    """Share of the cells of an image that hold a point."""
    columns, rows = _CELLS
    cell = np.floor(points / [shape[1] / columns, shape[0] / rows])
    cell = np.clip(cell, 0, [columns - 1, rows - 1]).astype(int)
    return len(np.unique(cell[:, 0] + columns * cell[:, 1])) / (columns * rows)
