"""What a student is taught about single views, in one of two forms of loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from align3r.evaluate.metrics.cells import nearest_in_cells
from align3r.models.moge.losses import global_loss
from align3r.train.data.values import Batch
from align3r.train.losses import LossSettings, distillation_losses
from align3r.train.options import FormName, LossOptions
from align3r.train.students import StudentAnswer
from align3r.train.truth import rays

CELLS = (32, 32)
"""Rows and columns of the pixels that scale and shift are fitted to, as in the training of MoGe."""


class _Taught(NamedTuple):
    """N images, their labels, and where these are known."""

    own: Tensor
    """(N, H, W, C) of the student: z-depth, or points."""
    confidence: Tensor
    """(N, H, W)."""
    target: Tensor
    """(N, H, W, C) of the teacher."""
    valid: Tensor
    """(N, H, W) bool."""
    rays: Tensor
    """(N, H, W, 3) with z = 1."""


def distilled(answered: StudentAnswer, batch: Batch, options: LossOptions) -> Tensor:
    """(B, S) loss of each view against its label, in its own camera; 0 where there is no label.

    Where the camera of a view is not known, its depth is compared and nothing else.

    Args:
        answered: By the student.
        batch: What it was asked.
        options: The form, and what the paper leaves open. fin3r: up to a scale and weighted by
            confidence; moge: MoGe's loss of points, up to a scale and a shift along z, which is
            what MoGe itself is taught by and leaves nothing open.
    """
    label, own, along = batch.label, answered.own, _rays(batch)
    target = label[..., None]
    if own.shape[-1] == 3:
        target = target * along
        knows_camera = batch.intrinsics.isfinite().all(-1).all(-1)[..., None, None, None]
        own = torch.where(knows_camera, own, own * own.new_tensor([0.0, 0.0, 1.0]))
    views = own, answered.own_confidence, target, label > 0, along
    taught = _Taught(*(values.flatten(0, 1) for values in views))
    return _FORMS[options.form](taught, options).reshape(label.shape[:2])


def _fin3r(taught: _Taught, options: LossOptions) -> Tensor:
    settings = LossSettings(
        distance=options.distance,
        # The paper is open about networks that answer with depth alone.
        normaliser=options.normaliser if taught.own.shape[-1] == 1 else "ray",
        confidence_weight=options.confidence_weight,
    )
    lengths = torch.linalg.vector_norm(taught.rays, dim=-1)
    return distillation_losses(*taught[:4], settings=settings, ray_lengths=lengths)


def _moge(taught: _Taught, _options: LossOptions) -> Tensor:
    points, truth = (
        side * taught.rays if side.shape[-1] == 1 else side for side in (taught.own, taught.target)
    )
    cells = [nearest_in_cells(mask, CELLS) for mask in taught.valid.cpu().numpy()]
    width, device = taught.valid.shape[-1], points.device
    samples, sampled = (
        torch.from_numpy(np.stack(each)).flatten(1).to(device)
        for each in ([c.row * width + c.column for c in cells], [c.known for c in cells])
    )
    return global_loss(points, truth, taught.valid, samples=samples, sampled=sampled)


_FORMS: Mapping[FormName, Callable[[_Taught, LossOptions], Tensor]] = {
    "fin3r": _fin3r,
    "moge": _moge,
}


def _rays(batch: Batch) -> Tensor:
    """(B, S, H, W, 3) of every view, z = 1; straight ahead where there is no camera."""
    found = rays(batch.label.shape[-2:], batch.intrinsics)
    ahead = found.new_tensor([0.0, 0.0, 1.0])
    return torch.where(found.isfinite().all(-1, keepdim=True), found, ahead)
