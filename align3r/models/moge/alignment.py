"""Scale and shift that bring predicted points nearest to true ones, as MoGe's training does it.

Distances are weighted sums of absolute errors, cut off above a limit so that outliers have no say.
The fit is exact at one of the points, its anchor: every point is tried (Wang et al., CVPR 2025).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from align3r.device import exact_dtype

_ANCHORS = 256
"""Anchors that are tried at a time: memory, not results, depends on it."""


class Fit(NamedTuple):
    """target = scale * source + shift."""

    scale: Tensor
    """(B,)."""
    shift: Tensor
    """(B, D)."""
    error: Tensor
    """(B,) the sum that was made least."""


def fit_scale(x: Tensor, y: Tensor, weights: Tensor, limit: float = math.inf) -> Fit:
    """argmin_a sum min(limit, w |a x - y|), the least over all a.

    The sum is piecewise linear in a, and turns upwards at the ratios y / x alone: one of them is
    best. What it is at all of them comes from sums over sorted values.

    Args:
        x: (..., n).
        y: (..., n).
        weights: (..., n), none negative.
        limit: What an error counts at most.

    Returns:
        (...,) scale and error, no shift; the scale is nan where no x with a weight differs from 0.
    """
    exact = exact_dtype(x.device)
    x, y, w = (t.to(exact) for t in torch.broadcast_tensors(x, y, weights))
    seen = (x != 0) & (w > 0)
    x, y = torch.where(x < 0, -x, x), torch.where(x < 0, -y, y)
    at_rest = torch.where(seen, 0, (w * y.abs()).clamp(max=limit)).sum(-1)
    x, w = torch.where(seen, x, 1), torch.where(seen, w, 0)
    ratio = torch.where(seen, y / x, math.inf)
    reach = torch.where(seen, limit / (w * x), math.inf)
    below, above = ratio - reach, ratio + reach
    below, above = below.nan_to_num(nan=math.inf), above.nan_to_num(nan=math.inf)
    terms = torch.stack([w * x, w * y, seen.to(exact)])
    falling, middle, risen = (_sums_up_to(ratio, ends, terms) for ends in (below, ratio, above))
    slope, level = (2 * middle - falling - risen)[0], (falling - 2 * middle + risen)[1]
    inside = (falling - risen)[2]
    outside = seen.sum(-1, keepdim=True) - inside
    # Rounded, so that nothing times infinity stays nothing.
    cut = torch.where(outside > 0.5, outside * limit, 0)
    error = torch.where(seen, slope * ratio + level + cut, math.inf)
    least, best = error.min(-1)
    scale = ratio.gather(-1, best[..., None])[..., 0]
    none = ~seen.any(-1)
    scale, least = scale.masked_fill(none, math.nan), least.masked_fill(none, 0)
    return Fit(scale, scale.new_zeros(*scale.shape, 0), least + at_rest)


def fit_scale_and_shift(
    source: Tensor,
    target: Tensor,
    weights: Tensor,
    *,
    shifted: tuple[bool, ...] = (True, True, True),
    limit: float = math.inf,
) -> Fit:
    """argmin_{a,b} sum min(limit, w |a x + b - y|) over points and axes, exact at one point.

    Args:
        source: (B, n, D).
        target: (B, n, D).
        weights: (B, n), none negative.
        shifted: Axes that have a shift; without any, the scale alone is fitted.
        limit: What an error counts at most.

    Returns:
        Scales may be 0 or below: such a fit is none. They are nan where no point has a weight.
    """
    x, y, w = (t.to(exact_dtype(t.device)) for t in (source, target, weights))
    if not any(shifted):
        flat = fit_scale(x.flatten(1), y.flatten(1), w.repeat_interleave(x.shape[2], 1), limit)
        return flat._replace(shift=torch.zeros_like(x[:, 0]))
    fits = [
        _best_anchor(*one, moving=x.new_tensor(shifted), limit=limit)
        for one in zip(x, y, w, strict=True)
    ]
    return Fit(*(torch.stack(parts) for parts in zip(*fits, strict=True)))


def _best_anchor(x: Tensor, y: Tensor, w: Tensor, *, moving: Tensor, limit: float) -> Fit:
    """The best fit of (n, D) points that is exact, in the axes that move, at one of them."""
    best = Fit(x.new_tensor(math.nan), x.new_zeros(x.shape[1]), x.new_tensor(math.inf))
    flat_w = w.repeat_interleave(x.shape[1])
    every = torch.nonzero(w > 0)[:, 0]
    for start in range(0, len(every), _ANCHORS):
        anchors = every[start : start + _ANCHORS]
        from_x, from_y = x[anchors] * moving, y[anchors] * moving
        dx, dy = ((t - at[:, None]).flatten(1) for t, at in ((x, from_x), (y, from_y)))
        found = fit_scale(dx, dy, flat_w, limit)
        k = int(found.error.argmin())
        if found.error[k] < best.error:
            shift = from_y[k] - found.scale[k] * from_x[k]
            best = Fit(found.scale[k], shift, found.error[k])
    return best


def _sums_up_to(at: Tensor, ends: Tensor, terms: Tensor) -> Tensor:
    """(T, ..., n) sums of terms (T, ..., n) over the ends (..., n) not above each of at."""
    ends, order = ends.sort(-1)
    sums = terms.gather(-1, order.expand_as(terms)).cumsum(-1)
    sums = torch.nn.functional.pad(sums, (1, 0))
    count = torch.searchsorted(ends, at.contiguous(), right=True)
    return sums.gather(-1, count.expand_as(terms))
