"""Estimates that a few bad samples cannot spoil: weighted medians, focal length by Weiszfeld."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_median(values: Tensor, weights: Tensor, dim: int = -1) -> Tensor:
    """The lower weighted median along one dimension.

    Args:
        values: Any shape.
        weights: Broadcastable to `values`, >= 0; where all are zero the plain median results.
        dim: Dimension to reduce.

    Returns:
        The shape of `values` without `dim`.
    """
    weights = weights.expand_as(values).movedim(dim, -1)
    values, order = values.movedim(dim, -1).sort(dim=-1)
    weights = weights.gather(-1, order)
    total = weights.sum(-1, keepdim=True)
    weights = torch.where(total > 0, weights, torch.ones_like(weights))
    below = weights.cumsum(-1) < 0.5 * weights.sum(-1, keepdim=True)
    rank = below.sum(-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    return values.gather(-1, rank).squeeze(-1)


def weiszfeld_focal(points: Tensor, centred_pixels: Tensor, iterations: int = 10) -> Tensor:
    """Focal length that makes a point map of a camera project onto its own pixels.

    Minimises the sum of unsquared reprojection distances by iteratively re-weighted least
    squares (Weiszfeld), so wrong points pull with bounded force.

    Args:
        points: (..., P, 3) in the frame of the camera that saw them.
        centred_pixels: (P, 2) pixel position minus principal point.
        iterations: Re-weightings.

    Returns:
        (...) focal length in pixels; nan where no point has a projection.
    """
    slopes = (points[..., :2] / points[..., 2:]).nan_to_num(posinf=0.0, neginf=0.0)
    along = (slopes * centred_pixels).sum(-1)
    square = slopes.square().sum(-1)
    focal = along.mean(-1) / square.mean(-1)
    for _ in range(iterations):
        miss = (centred_pixels - focal[..., None, None] * slopes).norm(dim=-1)
        weight = 1.0 / miss.clamp(min=1e-8)
        focal = (weight * along).mean(-1) / (weight * square).mean(-1)
    return focal
