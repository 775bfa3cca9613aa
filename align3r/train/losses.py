"""Losses of fine-tuning: pure functions of predictions, labels and where labels are valid.

Fin3R (arXiv 2511.22429) teaches a network the depth of a monocular teacher, and lets it keep what
it knows of several views by DUSt3R's loss (Wang et al., CVPR 2024, section 3.2), both weighted by
the confidence that the network itself predicts. Where labels are not valid they may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from align3r.device import exact_dtype

Distance = Literal["l2", "l2sq"]
Normaliser = Literal["z", "ray"]

_LEAST = 1e-8
"""Least normaliser, as in DUSt3R: a prediction of nothing but zeros stays one."""


def _squares(difference: Tensor) -> Tensor:
    return difference.square().sum(-1)


DISTANCES: dict[Distance, Callable[[Tensor], Tensor]] = {
    "l2": lambda difference: torch.linalg.vector_norm(difference, dim=-1),
    "l2sq": _squares,
}
"""(..., C) differences to (...) distances. DUSt3R takes l2; Fin3R writes l2sq."""


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What the papers leave open, or differ in."""

    distance: Distance = "l2sq"
    """Of a prediction from its label."""
    normaliser: Normaliser = "z"
    """Mean over the valid pixels by which prediction and label are divided, each by its own:
    z, their depth; ray, how far they are from the camera."""
    confidence_weight: float = 0.2
    """The larger, the more the network wants to be sure; 0.2 in the training of DUSt3R."""


def mean_distance(points: Sequence[Tensor], valid: Sequence[Tensor]) -> Tensor:
    """How far points are from the origin in the mean over all views, DUSt3R's `avg_dis`: (B,).

    Args:
        points: (B, H, W, 3) of each view, in one frame.
        valid: (B, H, W) of each view.
    """
    lengths = [DISTANCES["l2"](_cleared(p, v)) for p, v in zip(points, valid, strict=True)]
    total = sum((length.flatten(1).sum(1) for length in lengths), torch.zeros(()))
    count = sum((v.flatten(1).sum(1) for v in valid), torch.zeros(()))
    return (total / count.clamp_min(1)).clamp_min(_LEAST)


def in_first_camera(points: Tensor, world_from_cam: Tensor) -> Tensor:
    """Points of the world as the first camera sees them, X_cam = R^T (X - t): (B, H, W, 3).

    Args:
        points: (B, H, W, 3) in the world.
        world_from_cam: (B, 4, 4) pose of the first camera.
    """
    rotation, position = world_from_cam[:, :3, :3], world_from_cam[:, :3, 3]
    return torch.einsum("bhwi,bij->bhwj", points - position[:, None, None], rotation)


def confidence_term(distance: Tensor, confidence: Tensor, *, weight: float) -> Tensor:
    """`C d - weight log C`, (...): DUSt3R, equation 4; least at C = weight / d.

    Args:
        distance: (...) d of a prediction from its label, at least 0.
        confidence: (...) C as predicted, above 0.
        weight: alpha in DUSt3R, lambda in Fin3R.
    """
    return confidence * distance - weight * confidence.log()


def pair_losses(
    points: Sequence[Tensor],
    confidence: Sequence[Tensor],
    truth: Sequence[Tensor],
    valid: Sequence[Tensor],
    *,
    settings: LossSettings | None = None,
) -> list[Tensor]:
    """DUSt3R's confidence loss of each view, (B, H, W), 0 where the truth is not valid.

    ConfLoss(Regr3D(L21, norm_mode='avg_dis')): predictions and truth are divided by their own
    `mean_distance`, over all views together. DUSt3R sums the `mean_over_pixels` of the views.

    Args:
        points: (B, H, W, 3) of each view, in the first camera.
        confidence: (B, H, W) of each view, above 0.
        truth: (B, H, W, 3) of each view, in the first camera.
        valid: (B, H, W) of each view.
        settings: Without a normaliser, which is `mean_distance`; l2 and 0.2 when not given.
    """
    settings = settings or LossSettings(distance="l2")
    ours, theirs = (mean_distance(p, valid)[:, None, None, None] for p in (points, truth))
    losses = []
    for p, c, t, v in zip(points, confidence, truth, valid, strict=True):
        difference = _cleared(p, v) / ours - _cleared(t, v) / theirs
        distance = DISTANCES[settings.distance](difference)
        term = confidence_term(distance, c, weight=settings.confidence_weight)
        losses.append(torch.where(v, term, 0.0))
    return losses


def distillation_losses(
    prediction: Tensor,
    confidence: Tensor,
    label: Tensor,
    valid: Tensor,
    *,
    settings: LossSettings | None = None,
    ray_lengths: Tensor | None = None,
) -> Tensor:
    """Fin3R's loss of what a view shows in its own camera, (B,): mean over the valid pixels.

    `L_i = beta |D / m(D) - D* / m(D*)|^2 - lambda log beta`, with the teacher's label D*, whose
    shift along z is taken out beforehand, and m the normaliser. 0 for an image with no valid pixel.

    Args:
        prediction: (B, H, W, C) D: depth (C = 1) or points (C = 3).
        confidence: (B, H, W) beta, above 0.
        label: (B, H, W, C) D*.
        valid: (B, H, W).
        settings: The defaults when not given.
        ray_lengths: (B, H, W) distance from the camera at depth 1, by which a normaliser over rays
            multiplies depth; points need none.

    Raises:
        ValueError: The mean over rays of depth, without their lengths.
    """
    settings = settings or LossSettings()
    scaled = [
        values / _normaliser(values, valid, settings.normaliser, ray_lengths)[:, None, None, None]
        for values in (_cleared(prediction, valid), _cleared(label, valid))
    ]
    distance = DISTANCES[settings.distance](scaled[0] - scaled[1])
    term = confidence_term(distance, confidence, weight=settings.confidence_weight)
    return mean_over_images(term, valid)


def fin3r_loss(distillation: Tensor, replay: Tensor, multi_view: Tensor) -> Tensor:
    """Fin3R's whole loss, (): `(1 / N) sum_i (L_distill(i) + [i is one of several] L_point(i))`.

    Args:
        distillation: (N,) of every image, from `distillation_losses`.
        replay: (N,) of every image, from `pair_losses`; anything for images that are alone.
        multi_view: (N,) whether an image is one of several views.
    """
    return (distillation + torch.where(multi_view, replay, 0.0)).mean()


def mean_over_pixels(losses: Tensor, valid: Tensor) -> Tensor:
    """Mean over all valid pixels of a batch, (), as DUSt3R takes it; 0 if there are none.

    Args:
        losses: (B, H, W).
        valid: (B, H, W).
    """
    return torch.where(valid, losses, 0.0).sum() / valid.sum().clamp_min(1)


def mean_over_images(losses: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid pixels of each image, (B,); 0 for an image that has none.

    Args:
        losses: (B, H, W).
        valid: (B, H, W).
    """
    total = torch.where(valid, losses, 0.0).flatten(1).sum(1)
    return total / valid.flatten(1).sum(1).clamp_min(1)


@torch.no_grad()
def affine_invariant_errors(depth: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    """Mean of `|s d + t - d*| / d*` over the valid pixels of each image, (B,), for validation.

    s >= 0 and t are those of each image that make the sum of the squares of these relative errors
    least, in closed form, so neither the scale nor the shift of a prediction counts.

    Args:
        depth: (B, H, W) d.
        label: (B, H, W) d*, above 0 where it is valid.
        valid: (B, H, W).

    Returns:
        nan for an image without a valid pixel.
    """
    mask = valid.flatten(1)
    exact = exact_dtype(depth.device)
    d, target = (torch.where(valid, x, 1.0).flatten(1).to(exact) for x in (depth, label))
    weight = mask / target.square()
    weight = weight / weight.sum(1, keepdim=True)
    centre, level = ((weight * x).sum(1, keepdim=True) for x in (d, target))
    off = d - centre
    spread = (weight * off.square()).sum(1, keepdim=True)
    # A prediction that is one number everywhere, or the wrong way round, is as good as none.
    scale = ((weight * off * (target - level)).sum(1, keepdim=True) / spread).clamp_min(0)
    scale = torch.where(spread > 1e-12 * centre.square(), scale, 0.0)
    error = (scale * off + level - target).abs() / target
    return ((error * mask).sum(1) / mask.sum(1)).to(depth.dtype)


def _cleared(values: Tensor, valid: Tensor) -> Tensor:
    """Zero where nothing is known: what is there takes no part, and has no gradient."""
    return torch.where(valid[..., None], values, 0.0)


def _normaliser(values: Tensor, valid: Tensor, name: Normaliser, rays: Tensor | None) -> Tensor:
    """(B,) mean over the valid pixels; of (B, H, W, C) values that are 0 elsewhere."""
    is_depth = values.shape[-1] == 1
    if name == "z":
        lengths = values[..., -1]
    elif not is_depth:
        lengths = DISTANCES["l2"](values)
    elif rays is None:
        raise ValueError("how far depth is from the camera needs the lengths of the rays")
    else:
        lengths = values[..., 0] * rays
    return mean_over_images(lengths, valid).clamp_min(_LEAST)
