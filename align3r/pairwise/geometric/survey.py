"""First look at the whole video: flows at several gaps, and what they say about the cameras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from align3r.flow.dis import DisFlow
from align3r.flow.matches import Features, detect
from align3r.flow.pairs import two_way_flows
from align3r.flow.warp import consistent
from align3r.io.storage import Storage
from align3r.pairwise.geometric.observations import ObservationBuilder, Observations
from align3r.pairwise.geometric.twoview import TwoView, two_view
from align3r.parallel import in_threads

GAPS = (1, 2, 3, 4, 6, 8, 12)
"""Frame distances that are looked at: short and long baselines for every frame."""
STEP = 2
"""Flows of the survey are kept at every second pixel."""
_BRIDGE_GAPS = (1, 2, 4)
_FLOW_BYTES = 2 * 2 + 1
_DEPTH_BYTES = 3 * 4 + 1 + 2 * 4
"""Of a pixel: fused depth, and dense depth."""
_LEAST_COVER = 0.1
_DENSE_FRAMES = 300
"""Frames from which on the grids grow coarser, so that all samples stay as many."""
_GRID_ROWS = 42
"""Samples of a flow along the long side of the image."""


@dataclass(frozen=True)
class HalfFlow:
    """A flow kept at every second pixel, in pixels of that coarser grid."""

    flow: np.ndarray
    """(h/2, w/2, 2) float16."""
    valid: np.ndarray
    """(h/2, w/2) bool: comes back to its pixel."""


@dataclass(frozen=True)
class Survey:
    """What the first look found."""

    observations: Observations
    views: list[TwoView]
    flows: dict[tuple[int, int], HalfFlow]


def survey(
    images: np.ndarray,
    centre: tuple[float, float],
    *,
    moving: np.ndarray | None,
    on_pair: Callable[[int, int], None],
    storage: Storage | None = None,
) -> Survey:
    """Look at all pairs of frames at the distances of `GAPS`.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        centre: Principal point, pixels.
        moving: (N, h, w) bool, known moving regions that say nothing about the camera.
        on_pair: Called with (done, total).
        storage: Gives out the arrays of the flows; None: main memory.
    """
    n, shape = len(images), (images.shape[1], images.shape[2])
    pairs = [(i, i + gap) for i in range(n) for gap in GAPS if i + gap < n]
    # Samples of a long video are fewer a frame: those of all frames are solved for at once.
    sparser = max(1.0, math.sqrt(n / _DENSE_FRAMES))
    builder = ObservationBuilder(n, shape, spacing=max(4, int(max(shape) // 26 * sparser)))
    views: list[TwoView] = []
    flows = _HalfFlows(2 * len(pairs), shape, storage)

    def both_ways(pair: _Pair) -> tuple[np.ndarray, np.ndarray]:
        i, j = pair.frames
        return two_way_flows(DisFlow(), (images[i], images[j]), pair.features)

    computed = in_threads(both_ways, _with_features(pairs, images))
    for done, ((i, j), (forward, backward)) in enumerate(zip(pairs, computed, strict=True)):
        for a, b, there, back in ((i, j, forward, backward), (j, i, backward, forward)):
            valid = consistent(there, back)
            if moving is not None:
                valid &= ~moving[a]
            if valid.mean() >= _LEAST_COVER:
                builder.add(a, b, there, valid)
                flows.keep((a, b), there, valid)
        if (i, j) in flows.kept:
            source, target = _samples(forward, flows.kept[i, j].valid, sparser=sparser)
            views.append(two_view(i, j, source - centre, target - centre, noise_px=1.0))
        on_pair(done + 1, len(pairs))
    return Survey(builder.build(), views, flows.kept)


@dataclass(frozen=True)
class _Pair:
    frames: tuple[int, int]
    features: tuple[Features, Features]


def _with_features(pairs: list[tuple[int, int]], images: np.ndarray) -> Iterator[_Pair]:
    """The pairs, sorted by their first frame, with the key points of both frames.

    Only those of frames that are still to be looked at are kept.
    """
    detected = enumerate(in_threads(detect, images))
    kept: dict[int, Features] = {}
    for i, j in pairs:
        while j not in kept:
            number, features = next(detected)
            kept[number] = features
        for old in [k for k in kept if k < i]:
            del kept[old]
        yield _Pair((i, j), (kept[i], kept[j]))


def survey_bytes(edges: np.ndarray, n_frames: int, size: tuple[int, int]) -> int:
    """What the flows take that the predictor looks at besides those of the pairs, and its depths.

    Args:
        edges: (E, 2) pairs that are asked for.
        n_frames: Frames of the video.
        size: (width, height) of the images.
    """
    half = -(-size[0] // STEP) * -(-size[1] // STEP)
    surveyed = sum(max(n_frames - gap, 0) for gap in GAPS)
    between = len(bridges(edges, n_frames))
    flows = 2 * _FLOW_BYTES * (surveyed * half + between * size[0] * size[1])
    return flows + n_frames * size[0] * size[1] * _DEPTH_BYTES


def bridges(asked: np.ndarray, n_frames: int) -> np.ndarray:
    """(B, 2) int64 pairs of near frames that are not among those asked for, in neither order."""
    there = {(min(pair), max(pair)) for pair in asked.tolist()}
    near = ((i, i + gap) for i in range(n_frames) for gap in _BRIDGE_GAPS if i + gap < n_frames)
    return np.array([pair for pair in near if pair not in there], np.int64).reshape(-1, 2)


class _HalfFlows:
    """Flows at every second pixel, in arrays of the storage."""

    def __init__(self, most: int, shape: tuple[int, int], storage: Storage | None) -> None:
        """Make room for `most` flows of images of (h, w)."""
        storage = storage or Storage()
        half = (-(-shape[0] // STEP), -(-shape[1] // STEP))
        self._flow = storage.empty("survey.half", (most, *half, 2), np.float16)
        self._valid = storage.empty("survey.half_valid", (most, *half), bool)
        self.kept: dict[tuple[int, int], HalfFlow] = {}

    def keep(self, pair: tuple[int, int], flow: np.ndarray, valid: np.ndarray) -> None:
        """Keep the (h, w, 2) flow of a pair."""
        row = len(self.kept)
        self._flow[row] = flow[::STEP, ::STEP] / STEP
        self._valid[row] = valid[::STEP, ::STEP]
        self.kept[pair] = HalfFlow(self._flow[row], self._valid[row])


def _samples(
    flow: np.ndarray, half_valid: np.ndarray, *, sparser: float
) -> tuple[np.ndarray, np.ndarray]:
    """Matches (m, 2), (m, 2) on a coarse grid: equal say for equal area, texture or not."""
    height, width = flow.shape[:2]
    step = max(3, int(max(height, width) // _GRID_ROWS * sparser))
    v, u = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    good = half_valid[v // STEP, u // STEP]
    source = np.stack([u[good], v[good]], -1).astype(np.float64)
    return source, source + flow[v, u][good]
