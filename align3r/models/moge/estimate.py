"""What MoGe says of images as a person uses it: depth, points, a camera, a mask, normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from align3r.models.moge.camera import focal_and_shift, focal_of, intrinsics_of
from align3r.models.moge.parts import Moge, Size

FINEST = 9
"""The level of detail that looks at the most tokens; 0 looks at the fewest."""
_VALID = 0.5


@dataclass(frozen=True)
class MogeEstimate:
    """The geometry of B images of H rows and W columns; in metres from MoGe-2, else to scale."""

    points: Tensor
    """(B, H, W, 3) in the camera's axes."""
    depth: Tensor
    """(B, H, W) z-depth."""
    mask: Tensor
    """(B, H, W) bool: where points and depth mean something and lie before the camera."""
    intrinsics: Tensor
    """(B, 3, 3) by the width and the height of the image; nan where no camera explains the points,
    and then nothing is in the mask; negative where only a mirrored view would."""
    normal: Tensor | None
    """(B, H, W, 3) unit normals of the surfaces, if the network has a head for them."""


def tokens_at(tokens_range: tuple[int, int], level: int = FINEST) -> int:
    """How many tokens a level of detail looks at, of those that a network was trained with.

    Args:
        tokens_range: Least and largest number.
        level: 0 for the least to 9 for the largest.

    Raises:
        ValueError: There is no such level.
    """
    if not 0 <= level <= FINEST:
        raise ValueError(f"a level of detail of {level}, not 0 to {FINEST}")
    least, largest = tokens_range
    return int(least + level / FINEST * (largest - least))


@torch.inference_mode()
def estimate(
    network: Moge,
    images: Tensor,
    *,
    tokens: int | None = None,
    fov_x_deg: float | None = None,
    reprojects: bool = True,
) -> MogeEstimate:
    """Points with the shift that makes them a perspective view, and the camera of that view.

    Args:
        network: MoGe-1 or MoGe-2.
        images: (B, 3, H, W) colours in [0, 1].
        tokens: About how many patches to look at; None: as many as it was trained with at most.
        fov_x_deg: The horizontal field of view where it is known; then the shift alone is sought.
        reprojects: Points are the depth along the rays of the camera; else what the network says,
            shifted.
    """
    answer = network(images, tokens or tokens_at(network.architecture.tokens_range))
    size = images.shape[-2], images.shape[-1]
    valid = answer.mask > _VALID
    shift, intrinsics = _cameras(answer.points, valid, size, fov_x_deg=fov_x_deg)
    valid &= shift.isfinite()[:, None, None]
    points = answer.points.clone()
    points[..., 2] += shift.nan_to_num()[:, None, None]
    if reprojects:
        points = unprojected(points[..., 2], intrinsics)
    if answer.metric_scale is not None:
        points = points * answer.metric_scale[:, None, None, None]
    depth = points[..., 2]
    return MogeEstimate(points, depth, valid & (depth > 0), intrinsics, answer.normal)


def unprojected(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, H, W, 3) points of (B, H, W) z-depth and (B, 3, 3) intrinsics by width and height."""
    _, height, width = depth.shape
    u, v = (
        (torch.arange(n, device=depth.device, dtype=depth.dtype) + 0.5) / n for n in (width, height)
    )
    x = (u - intrinsics[:, :1, 2]) / intrinsics[:, :1, 0]
    y = (v - intrinsics[:, 1:2, 2]) / intrinsics[:, 1:2, 1]
    return torch.stack([x[:, None] * depth, y[:, :, None] * depth, depth], -1)


def _cameras(
    points: Tensor, valid: Tensor, size: Size, *, fov_x_deg: float | None
) -> tuple[Tensor, Tensor]:
    """(B,) shifts and (B, 3, 3) intrinsics, found in double precision on the CPU."""
    focal = None if fov_x_deg is None else focal_of(fov_x_deg, size)
    found = [
        focal_and_shift(p, m, focal=focal)
        for p, m in zip(points.cpu().numpy(), valid.cpu().numpy(), strict=True)
    ]
    cameras = np.stack([intrinsics_of(one.focal, size) for one in found])
    return points.new_tensor([one.shift for one in found]), points.new_tensor(cameras)
