"""Points that depth and cameras of a batch stand for; nan wherever something is unknown."""

from __future__ import annotations

import torch
from torch import Tensor

from align3r.device import exact_dtype
from align3r.train.data.values import Batch
from align3r.train.losses import in_first_camera


def rays(size: tuple[int, ...], intrinsics: Tensor) -> Tensor:
    """(..., H, W, 3) rays with z = 1 through the pixels' centres.

    Args:
        size: H and W.
        intrinsics: (..., 3, 3) of each image; the centre of its top-left pixel is (0, 0).
    """
    v, u = torch.meshgrid(*(torch.arange(n).to(intrinsics) for n in size), indexing="ij")
    k = intrinsics[..., None, None, :, :]
    x, y = (u - k[..., 0, 2]) / k[..., 0, 0], (v - k[..., 1, 2]) / k[..., 1, 1]
    return torch.stack([x, y, torch.ones_like(x)], -1)


def points_in_first_camera(batch: Batch) -> Tensor:
    """(B, S, H, W, 3) true points of all views, as the first camera of each sample sees them."""
    # Far from the origin of the world float32 has no millimetres: a world about the first camera.
    exact = exact_dtype(batch.depth.device)
    depth, intrinsics = batch.depth.to(exact), batch.intrinsics.to(exact)
    own = rays(depth.shape[-2:], intrinsics) * depth[..., None]
    pose = batch.world_from_cam.to(exact, copy=True)
    pose[..., :3, 3] -= pose[:, :1, :3, 3].clone()
    world = torch.einsum("bshwj,bsij->bshwi", own, pose[..., :3, :3])
    world = world + pose[..., None, None, :3, 3]
    seen = [in_first_camera(points, pose[:, 0]) for points in world.unbind(1)]
    return torch.stack(seen, 1).to(batch.depth.dtype)
