"""Ray maps: a camera, said pixel by pixel, in place of an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def ray_map(first_from_cam: Tensor, k: Tensor, size: tuple[int, int]) -> Tensor:
    """The (..., H, W, 6) origins and directions of a camera's rays, as the network knows them.

    The "direction" is that of the pixel's point at depth 1 as seen from the first camera, not from
    the ray's own origin: the network was trained with that.

    Args:
        first_from_cam: (..., 4, 4) pose in the first view's camera.
        k: (..., 3, 3) intrinsics in pixels.
        size: (height, width) of the image.
    """
    height, width = size
    v, u = torch.meshgrid(
        torch.arange(height, device=k.device, dtype=k.dtype),
        torch.arange(width, device=k.device, dtype=k.dtype),
        indexing="ij",
    )
    pixels = torch.stack([u, v, torch.ones_like(u)], -1)
    # One matrix a row of pixels, so that leading dimensions broadcast.
    in_cam = pixels @ k.inverse().mT[..., None, :, :]
    origin = first_from_cam[..., None, None, :3, 3]
    seen = in_cam @ first_from_cam[..., None, :3, :3].mT + origin
    return torch.cat([origin.expand_as(seen), normalize(seen, dim=-1)], -1)
