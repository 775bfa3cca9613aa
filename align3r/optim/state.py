"""The unknowns: what is stored, what it means, and what is held fixed.

The raw parameters are those of the paper's code, so that a learning rate means the same thing:
log depth, quaternion + signed-log translation, 20 ln f, and per pair quaternion + signed-log
translation over scale + ln scale. The geometric mean of all pair scales is always 1/2; without
that gauge the whole scene shrinks to a point, because every residual does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import roma
import torch
from torch import Tensor

from align3r.geometry.rigid import compose, rotation_from_quat_xyzw
from align3r.optim.surface import Surface

Raw = dict[str, Tensor]
"""log_map (N, P or G) · pose (N, 7) · focal (N,) or (1,) · pair (E, 8) · log_unit ()."""

MEAN_PAIR_SCALE = 0.5
FOCAL_SLOWNESS = 20.0


@dataclass(frozen=True)
class Estimate:
    """Cameras, depth and pair similarities in one frame and one unit of length."""

    world_from_cam: Tensor
    """(N, 4, 4)."""
    focal: Tensor
    """(N,) pixels."""
    depth: Tensor
    """(N, P) z-depth of the pixels that take part."""
    world_from_pair: Tensor
    """(E, 3, 4) similarity: scale * rotation | translation."""


@dataclass(frozen=True)
class Fixed:
    """What is not solved for; nan marks what is.

    Poses and depths may be known in another unit than the solve's: one free factor, the unit,
    joins them.
    """

    world_from_cam: Tensor
    """(N, 4, 4)."""
    focal: Tensor
    """(N,) pixels."""
    depth: Tensor
    """(N, P)."""

    def to(self, dtype: torch.dtype) -> Fixed:
        """The same in another precision."""
        return Fixed(self.world_from_cam.to(dtype), self.focal.to(dtype), self.depth.to(dtype))

    @property
    def any_pose(self) -> bool:
        """Some pose is known."""
        return bool(self.world_from_cam[:, 0, 0].isfinite().any())


@dataclass(frozen=True)
class State:
    """The decoded unknowns, differentiable in the raw parameters."""

    depth: Tensor
    """(N, P)."""
    rotation: Tensor
    """(N, 3, 3) world from camera."""
    translation: Tensor
    """(N, 3)."""
    focal: Tensor
    """(N,)."""
    pair_scale: Tensor
    """(E,), geometric mean 1/2."""
    pair_rotation: Tensor
    """(E, 3, 3)."""
    pair_translation: Tensor
    """(E, 3); world = scale * (rotation @ X + translation)."""
    log_unit: Tensor = field(default_factory=lambda: torch.zeros(()))
    """ln of (unit of the known poses over unit of the solve)."""


def signed_log(value: Tensor) -> Tensor:
    """Sign times ln(1 + |value|)."""
    return value.sign() * value.abs().log1p()


def signed_exp(value: Tensor) -> Tensor:
    """Inverse of `signed_log`."""
    return value.sign() * value.abs().expm1()


def decode(raw: Raw, fixed: Fixed, surface: Surface) -> State:
    """Raw parameters to cameras, depth and pair similarities; fixed values put in.

    `nan_to_num` keeps the gradient of the unit finite where a value is not known.
    """
    unit = raw["log_unit"].exp()
    depth = surface.depth(raw["log_map"])
    depth = torch.where(fixed.depth.isnan(), depth, unit * fixed.depth.nan_to_num())
    known = ~fixed.world_from_cam[:, 0, 0].isnan()
    rotation = rotation_from_quat_xyzw(raw["pose"][:, :4])
    given = fixed.world_from_cam.nan_to_num()
    rotation = torch.where(known[:, None, None], given[:, :3, :3], rotation)
    translation = signed_exp(raw["pose"][:, 4:])
    translation = torch.where(known[:, None], unit * given[:, :3, 3], translation)
    focal = (raw["focal"] / FOCAL_SLOWNESS).exp().expand(len(depth))
    log_scale = raw["pair"][:, 7]
    return State(
        depth=depth,
        rotation=rotation,
        translation=translation,
        focal=torch.where(fixed.focal.isnan(), focal, fixed.focal),
        pair_scale=(log_scale - log_scale.mean() + math.log(MEAN_PAIR_SCALE)).exp(),
        pair_rotation=rotation_from_quat_xyzw(raw["pair"][:, :4]),
        pair_translation=signed_exp(raw["pair"][:, 4:7]),
        log_unit=raw["log_unit"],
    )


def encode(
    estimate: Estimate, surface: Surface, *, shared_focal: bool, log_unit: float = 0.0
) -> Raw:
    """Raw parameters of an estimate.

    Args:
        estimate: In the gauge of the solve (geometric mean of the pair scales 1/2).
        surface: Which depths there are.
        shared_focal: One focal length for all frames.
        log_unit: ln of (unit of the fixed values over unit of the solve).
    """
    scale = torch.linalg.det(estimate.world_from_pair[:, :, :3]).pow(1 / 3)
    linear = estimate.world_from_pair[:, :, :3] / scale[:, None, None]
    moved = estimate.world_from_pair[:, :, 3] / scale[:, None]
    focal = FOCAL_SLOWNESS * estimate.focal.log()
    pose = estimate.world_from_cam
    return {
        "log_map": surface.field(estimate.depth),
        "pose": torch.cat(
            [roma.rotmat_to_unitquat(pose[:, :3, :3]), signed_log(pose[:, :3, 3])], dim=1
        ),
        "focal": focal.mean(0, keepdim=True) if shared_focal else focal,
        "pair": torch.cat(
            [roma.rotmat_to_unitquat(linear), signed_log(moved), scale.log()[:, None]], dim=1
        ),
        "log_unit": estimate.focal.new_tensor(log_unit),
    }


def estimate_of(state: State, unit: Tensor) -> Estimate:
    """The estimate a state stands for, in the unit of the fixed values."""
    scale = state.pair_scale[:, None, None]
    pair = torch.cat(
        [scale * state.pair_rotation, scale * state.pair_translation[..., None] / unit], dim=2
    )
    pair[:, :, :3] /= unit
    return Estimate(
        world_from_cam=compose(state.rotation, state.translation / unit),
        focal=state.focal,
        depth=state.depth / unit,
        world_from_pair=pair,
    )
