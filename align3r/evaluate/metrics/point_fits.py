"""Scale and shift of point sets with the least weighted L1 distance, as MoGe aligns them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from align3r.evaluate.metrics.selection import weighted_median

_LINES = 48
_SLACK = 1e-12


class PointFit(NamedTuple):
    """target = scale * source + shift."""

    scale: float
    shift: np.ndarray
    """(3,)."""

    def apply(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points brought to the target."""
        return np.asarray(self.scale * points + self.shift)


def fit_shift(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> PointFit:
    """argmin_b sum w |x + b - y|_1: per axis the weighted median of the differences.

    Args:
        source: (n, 3).
        target: (n, 3).
        weights: (n,), none negative.
    """
    gap = np.asarray(target, dtype=np.float64) - source
    return PointFit(1.0, np.array([weighted_median(gap[:, k], weights) for k in range(3)]))


def fit_scale_and_shift(
    source: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    *,
    shifted: tuple[bool, bool, bool] = (True, True, True),
) -> PointFit:
    """argmin_{a,b} sum w |a x + b - y|_1, where the fit is exact at one of the points.

    That is MoGe's problem: the shift of all axes comes from the same point (the best shift without
    that condition may take each axis from another). For a given scale the sums of all n candidates
    come from sorted values in O(n log n). They are convex in the scale, so tangents at a few
    scales say which candidates cannot win; the rest is solved exactly.

    Args:
        source: (n, 3).
        target: (n, 3).
        weights: (n,), none negative.
        shifted: Axes that have a shift; without any only the scale is fitted.

    Returns:
        nan without points.
    """
    w = np.asarray(weights, dtype=np.float64)
    x, y, w = (np.asarray(v, dtype=np.float64)[w > 0] for v in (source, target, w))
    if not len(x):
        return PointFit(np.nan, np.full(3, np.nan))
    if not any(shifted):
        return PointFit(_scale(x, y, w), np.zeros(3))
    moving = np.array(shifted)
    best, best_cost, scale = 0, np.inf, np.nan
    nothing = _rounding(y, w)
    for pivot, floor in _candidates(x, y, w, moving):
        if floor >= best_cost - nothing:
            break
        own, cost = _through(x, y, w, pivot, moving=moving)
        if cost < best_cost:
            best, best_cost, scale = pivot, cost, own
    return PointFit(scale, np.where(moving, y[best] - scale * x[best], 0.0))


def _rounding(y: np.ndarray, w: np.ndarray) -> float:
    """Differences of sums that mean nothing."""
    return _SLACK * float(w @ np.abs(y).sum(axis=1))


def _scale(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """argmin_a sum w |a x - y|_1."""
    flat_w = np.broadcast_to(w[:, None], x.shape)
    used = x != 0
    return weighted_median(y[used] / x[used], flat_w[used] * np.abs(x[used]))


def _through(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, pivot: int, *, moving: np.ndarray
) -> tuple[float, float]:
    """The best scale of a fit that is exact at a point, and its sum."""
    dx, dy = x - np.where(moving, x[pivot], 0.0), y - np.where(moving, y[pivot], 0.0)
    scale = _scale(dx, dy, w)
    return scale, float(w @ np.abs(scale * dx - dy).sum(axis=1))


def _candidates(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, moving: np.ndarray
) -> list[tuple[int, float]]:
    """The points that may be the best pivot, and what each cannot undercut, in that order."""
    first = int(np.argmin(np.abs(x - np.median(x, axis=0)).sum(axis=1)))
    start, reached = _through(x, y, w, first, moving=moving)
    if not np.isfinite(start):
        return [(first, -np.inf)]
    scales: list[float] = []
    sums, slopes = [], []
    width, ahead = 0.05 * max(abs(start), 1e-12), start
    floor = np.full(len(x), -np.inf)
    rounding = _rounding(y, w)
    for step in range(_LINES):
        value, slope = _sums(x, y, w, ahead, moving=moving)
        scales.append(ahead)
        sums.append(value)
        slopes.append(slope)
        reached = min(reached, float(value.min()))
        if step == 0:
            ahead = start - width
            continue
        floor, place = _lower_bounds(np.array(scales), np.array(sums), np.array(slopes))
        left = np.flatnonzero(floor <= reached + rounding)
        if len(left) <= 16:
            break
        # Next to where the most promising candidate may have its minimum; both sides are needed.
        ahead = float(place[left[np.argmin(floor[left])]])
        if not np.isfinite(ahead):
            ahead = max(scales) + width if ahead > 0 else min(scales) - width
            width *= 2.0
        elif min(abs(ahead - s) for s in scales) <= 1e-9 * max(abs(ahead), 1e-12):
            break
    left = np.flatnonzero(floor <= max(reached, float(floor.min())) + rounding)
    return [(int(i), float(floor[i])) for i in left[np.argsort(floor[left])]]


def _sums(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, scale: float, *, moving: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each pivot the sum at a scale, (n,), and its slope there, (n,)."""
    residual = scale * x - y
    value, slope = np.zeros(len(x)), np.zeros(len(x))
    for k in range(3):
        r, xk = residual[:, k], x[:, k]
        if not moving[k]:
            value += w @ np.abs(r)
            slope += w @ (np.sign(r) * xk)
            continue
        order = np.argsort(r, kind="stable")
        weight = np.cumsum(w[order])
        first, second = np.cumsum((w * r)[order]), np.cumsum((w * xk)[order])
        # sum w |r_j - r_i| and its derivative, from what lies below and above in the order.
        more = 2 * weight - weight[-1]
        value[order] += r[order] * more - (2 * first - first[-1])
        # The own entry counts neither way, and ties count one way: a subgradient all the same.
        more_x = more - w[order]
        slope[order] += (second[-1] - 2 * second + (w * xk)[order]) + xk[order] * more_x
    return value, slope


def _lower_bounds(
    scales: np.ndarray, sums: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What no scale can undercut, (n,), from tangents at m scales, and where that may be, (n,)."""
    order = np.argsort(scales)
    a, value, slope = scales[order], sums[order], slopes[order]
    n = value.shape[1]
    rising = slope >= 0
    # Convex: the minimum is between the last falling and the first rising tangent.
    right = np.where(rising.any(axis=0), rising.argmax(axis=0), len(a))
    bound, place = np.full(n, -np.inf), np.where(right == 0, -np.inf, np.inf)
    inner = np.flatnonzero((right > 0) & (right < len(a)))
    r = right[inner]
    a0, a1 = a[r - 1], a[r]
    v0, v1 = value[r - 1, inner], value[r, inner]
    s0, s1 = slope[r - 1, inner], slope[r, inner]
    meet = (v0 - v1 + s1 * a1 - s0 * a0) / (s1 - s0)
    place[inner] = np.clip(meet, a0, a1)
    bound[inner] = v0 + s0 * (place[inner] - a0)
    return bound, place
