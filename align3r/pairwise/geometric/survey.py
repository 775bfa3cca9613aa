"""First look at the whole video: flows at several gaps, and what they say about the cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from align3r.flow.dis import DisFlow
from align3r.flow.matches import detect
from align3r.flow.pairs import two_way_flows
from align3r.flow.warp import consistent
from align3r.pairwise.geometric.observations import ObservationBuilder, Observations
from align3r.pairwise.geometric.twoview import TwoView, two_view
from align3r.parallel import in_threads

GAPS = (1, 2, 3, 4, 6, 8, 12)
"""Frame distances that are looked at: short and long baselines for every frame."""
STEP = 2
"""Flows of the survey are kept at every second pixel."""
_LEAST_COVER = 0.1
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
) -> Survey:
    """Look at all pairs of frames at the distances of `GAPS`.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        centre: Principal point, pixels.
        moving: (N, h, w) bool, known moving regions that say nothing about the camera.
        on_pair: Called with (done, total).
    """
    n = len(images)
    height, width = images.shape[1:3]
    features = list(in_threads(detect, images))
    pairs = [(i, i + gap) for i in range(n) for gap in GAPS if i + gap < n]
    builder = ObservationBuilder(n, (height, width), spacing=max(4, max(height, width) // 26))
    views: list[TwoView] = []
    flows: dict[tuple[int, int], HalfFlow] = {}

    def both_ways(pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        i, j = pair
        return two_way_flows(DisFlow(), (images[i], images[j]), (features[i], features[j]))

    computed = in_threads(both_ways, pairs)
    for done, ((i, j), (forward, backward)) in enumerate(zip(pairs, computed, strict=True)):
        for a, b, there, back in ((i, j, forward, backward), (j, i, backward, forward)):
            valid = consistent(there, back)
            if moving is not None:
                valid &= ~moving[a]
            if valid.mean() >= _LEAST_COVER:
                builder.add(a, b, there, valid)
                flows[a, b] = HalfFlow(
                    (there[::STEP, ::STEP] / STEP).astype(np.float16), valid[::STEP, ::STEP]
                )
        if (i, j) in flows:
            source, target = _samples(forward, flows[i, j].valid)
            views.append(two_view(i, j, source - centre, target - centre, noise_px=1.0))
        on_pair(done + 1, len(pairs))
    return Survey(builder.build(), views, flows)


def _samples(flow: np.ndarray, half_valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matches (m, 2), (m, 2) on a coarse grid: equal say for equal area, texture or not."""
    height, width = flow.shape[:2]
    step = max(3, max(height, width) // _GRID_ROWS)
    v, u = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    good = half_valid[v // STEP, u // STEP]
    source = np.stack([u[good], v[good]], -1).astype(np.float64)
    return source, source + flow[v, u][good]
