"""MoGe's own loss of points: what no scale and no shift along z can mend (CVPR 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from align3r.models.moge.alignment import fit_scale_and_shift

_LIMIT = 1.0
_MOST = 10.0
"""Weights go up to this many times their mean: what is very near has not all the say."""
_ALONG_Z = (False, False, True)


def global_loss(
    points: Tensor,
    truth: Tensor,
    mask: Tensor,
    *,
    samples: Tensor,
    sampled: Tensor,
    beta: float = 0.0,
    sparse: bool = False,
) -> Tensor:
    """Mean distance, relative to depth, of points from true ones once scale and shift are fitted.

    No gradient flows through the fit.

    Args:
        points: (B, H, W, 3), up to scale and a shift of z.
        truth: (B, H, W, 3); anything where the mask is false.
        mask: (B, H, W) bool.
        samples: (B, n) pixels that the fit looks at, row by row.
        sampled: (B, n) bool, which of the samples count; their truth is valid.
        beta: Relative distance below which the loss is a parabola.
        sparse: Average over the valid pixels alone, for truth that is known at few.

    Returns:
        (B,); 0 for an image whose best scale is not positive.
    """
    truth = torch.where(mask[..., None], truth, 1)
    nearness = mask / truth[..., 2]
    with torch.no_grad():
        chosen = samples[..., None].expand(-1, -1, 3)
        x, y = (p.flatten(1, 2).gather(1, chosen) for p in (points, truth))
        weights = nearness.flatten(1).gather(1, samples) * sampled
        fit = fit_scale_and_shift(x, y, weights, shifted=_ALONG_Z, limit=_LIMIT)
        fits = fit.scale > 0
        scale = torch.where(fits, fit.scale, 0).to(points.dtype)
        shift = fit.shift.to(points.dtype)
        means = nearness.mean((1, 2), keepdim=True)
        weight = (nearness.minimum(_MOST * means) * fits[:, None, None])[..., None]
    fitted = scale[:, None, None, None] * points + shift[:, None, None]
    error = (fitted - truth).abs() * weight
    if beta:
        error = smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta)
    loss = error.mean((1, 2, 3))
    if sparse:
        return loss / mask.to(loss.dtype).mean((1, 2)).clamp(min=torch.finfo(loss.dtype).tiny)
    return loss
