"""Pose of a camera from points and the rays they are seen along, many pairs at once."""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from align3r.geometry.rigid import compose
from align3r.optim.threads import for_each_frame

# Residual, in units of the focal length, beyond which a pixel pulls with constant force.
ROBUST_SLOPE = 2e-3
# Pairs at a time on a CPU, so that what they make stays in cache; on a GPU all at once.
AT_ONCE = 8


def resect(points: Tensor, slopes: Tensor, weight: Tensor, steps: int = 12) -> Tensor:
    """Camera pose that projects points onto the pixels they belong to.

    Starts from the rotation that turns the directions of the points onto the rays (exact
    without parallax), then takes damped Gauss-Newton steps on Huber-weighted reprojection
    residuals; a step that does not improve a pair is not taken.

    Args:
        points: (E, P, 3) in some frame of each pair.
        slopes: (E, P, 2) rays of the camera at z = 1.
        weight: (E, P), >= 0; if a pair has none, all its points count alike.
        steps: Gauss-Newton steps.

    Returns:
        (E, 4, 4) camera from the frame of the points.
    """
    size = max(1, len(points)) if points.is_cuda else AT_ONCE
    some = [slice(start, start + size) for start in range(0, len(points), size)]

    def one(number: int) -> Tensor:
        at = some[number]
        return _resect(points[at], slopes[at], weight[at], steps)

    return torch.cat([points.new_zeros(0, 4, 4), *for_each_frame(one, len(some))])


def _resect(points: Tensor, slopes: Tensor, weight: Tensor, steps: int) -> Tensor:
    """(E, 4, 4) of a few pairs."""
    empty = weight.sum(-1, keepdim=True) <= 0
    weight = torch.where(empty, torch.ones_like(weight), weight)
    weight = weight / weight.sum(-1, keepdim=True)
    unit = points.norm(dim=-1).median(-1).values.clamp(min=1e-12)[:, None]
    points = points / unit[..., None]
    rotation = _turn_onto_rays(points, slopes, weight)
    translation = points.new_zeros(len(points), 3)
    damping = points.new_full((len(points),), 1e-3)
    sights = _Sights(points, slopes, weight)
    cost, normal, force = sights.linearised(rotation, translation)
    for _ in range(steps):
        step = _damped_step(normal, force, damping)
        turn = roma.rotvec_to_rotmat(step[:, :3])
        new_rotation = turn @ rotation
        new_translation = (turn @ translation[..., None]).squeeze(-1) + step[:, 3:]
        new_cost, new_normal, new_force = sights.linearised(new_rotation, new_translation)
        better = new_cost < cost
        keep = better[:, None]
        rotation = torch.where(keep[..., None], new_rotation, rotation)
        translation = torch.where(keep, new_translation, translation)
        normal = torch.where(keep[..., None], new_normal, normal)
        force, cost = torch.where(keep, new_force, force), torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 5, damping * 10).clamp(1e-9, 1e6)
    return compose(rotation, translation * unit)


@dataclass(frozen=True)
class _Sights:
    """Points and the rays they are seen along; see `resect`."""

    points: Tensor
    slopes: Tensor
    weight: Tensor

    def linearised(self, rotation: Tensor, translation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Robust cost (E,), normal matrix (E, 6, 6) and gradient (E, 6): turn, then move."""
        moved = self.points @ rotation.mT + translation[:, None]
        depth = moved[..., 2]
        front = depth > 1e-3
        inverse = torch.where(front, 1.0 / depth, torch.zeros_like(depth))
        place = moved[..., :2] * inverse[..., None]
        miss = place - self.slopes
        size = miss.norm(dim=-1).clamp(min=1e-12)
        near = size.clamp(max=ROBUST_SLOPE)
        loss = torch.where(front, near * (2 * size - near), torch.ones_like(size))
        x, y = place.unbind(-1)
        zero = torch.zeros_like(x)
        row_x = torch.stack([-x * y, 1 + x * x, -y, inverse, zero, -x * inverse], -1)
        row_y = torch.stack([-1 - y * y, x * y, x, zero, inverse, -y * inverse], -1)
        rows = torch.stack([row_x, row_y], -2)
        pull = (self.weight * front / size.clamp(min=ROBUST_SLOPE))[..., None, None]
        drawn = (rows * pull).flatten(1, 2)
        normal = drawn.mT @ rows.flatten(1, 2)
        force = (drawn.mT @ miss.flatten(1)[..., None]).squeeze(-1)
        return (loss * self.weight).sum(-1), normal, force


def _turn_onto_rays(points: Tensor, slopes: Tensor, weight: Tensor) -> Tensor:
    """(E, 3, 3) rotation that best turns the directions of the points onto the rays."""
    rays = torch.nn.functional.normalize(
        torch.cat([slopes, torch.ones_like(slopes[..., :1])], dim=-1), dim=-1
    )
    directions = torch.nn.functional.normalize(points, dim=-1)
    moment = (rays * weight[..., None]).mT @ directions
    rotation: Tensor = roma.special_procrustes(moment)
    return rotation


def _damped_step(normal: Tensor, force: Tensor, damping: Tensor) -> Tensor:
    """(E, 6) Levenberg step; what nothing speaks of stays."""
    diagonal = normal.diagonal(dim1=1, dim2=2)
    padded = diagonal + diagonal.amax(1, keepdim=True).clamp(min=1e-12) * 1e-6
    damped = normal + torch.diag_embed(damping[:, None] * padded + 1e-9 * padded.amax(1)[:, None])
    step: Tensor = torch.linalg.solve(damped, force[..., None]).squeeze(-1)
    return -step
