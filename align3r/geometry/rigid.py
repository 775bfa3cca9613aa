"""Rigid motions and similarities, on top of roma."""

from __future__ import annotations

import roma
import torch
from torch import Tensor


def inverse_rigid(b_from_a: Tensor) -> Tensor:
    """Inverse of (..., 4, 4) rigid transforms."""
    rotation = b_from_a[..., :3, :3].mT
    translation = -(rotation @ b_from_a[..., :3, 3:])
    return compose(rotation, translation.squeeze(-1))


def compose(rotation: Tensor, translation: Tensor) -> Tensor:
    """(..., 4, 4) transforms from (..., 3, 3) linear parts and (..., 3) translations."""
    upper = torch.cat([rotation, translation[..., None]], dim=-1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, last], dim=-2)


def rotation_from_quat_xyzw(quat_xyzw: Tensor) -> Tensor:
    """(..., 3, 3) rotations from (..., 4) quaternions of any non-zero length."""
    unit = quat_xyzw / quat_xyzw.norm(dim=-1, keepdim=True)
    rotation: Tensor = roma.unitquat_to_rotmat(unit)
    return rotation


def similarity_registration(
    points_a: Tensor, points_b: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted least-squares similarity b ~ scale * rotation @ a + translation.

    Args:
        points_a: (..., P, 3).
        points_b: (..., P, 3).
        weights: (..., P), >= 0.

    Returns:
        scale (...), rotation (..., 3, 3) with determinant +1, translation (..., 3).
    """
    rotation, translation, scale = roma.rigid_points_registration(
        points_a, points_b, weights=weights, compute_scaling=True
    )
    return scale, rotation, translation
