"""Cameras, depth and points of a scene, in our conventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from align3r.geometry.rigid import inverse_rigid
from align3r.models.vggt.network import Vggt
from align3r.models.vggt.pose_encoding import decode_cameras


@dataclass(frozen=True)
class Scene:
    """B scenes of S frames each; lengths have one unknown scale a scene."""

    world_from_cam: Tensor
    """(B, S, 4, 4); the first camera of each scene is the identity."""
    k: Tensor
    """(B, S, 3, 3) intrinsics in pixels of the images that were seen."""
    depth: Tensor
    """(B, S, H, W) z-depth."""
    points: Tensor
    """(B, S, H, W, 3) in the world."""
    confidence: Tensor
    """(B, S, H, W) of the points, at least 1."""


def see_scene(
    network: Vggt, images: Tensor, *, points_from: Literal["depth", "head"] = "depth"
) -> Scene:
    """What the network sees.

    Args:
        network: A VGGT.
        images: (B, S, 3, H, W) in [0, 1]; H and W are multiples of the patch size.
        points_from: `depth`: depth and cameras, which agree with the rest of the scene and are the
            better ones according to the authors; `head`: the network's own head for points.

    Raises:
        ValueError: A size that is no multiple of the patch size.
    """
    tokens = network.aggregator(images)
    height, width = images.shape[-2:]
    cam_from_network, k = decode_cameras(network.cameras(tokens), (height, width))
    # The network's first camera is only about at the origin of its world.
    world_from_network = cam_from_network[:, :1]
    world_from_cam = world_from_network @ inverse_rigid(cam_from_network)
    depth, confidence = network.depth(tokens)
    if points_from == "head":
        found, confidence = network.points(tokens)
        points = moved(world_from_network, found)
    else:
        points = moved(world_from_cam, unprojected(depth, k))
    return Scene(world_from_cam, k, depth, points, confidence)


def unprojected(depth: Tensor, k: Tensor) -> Tensor:
    """(..., H, W) z-depth and (..., 3, 3) intrinsics to points (..., H, W, 3) in the camera."""
    height, width = depth.shape[-2:]
    v, u = torch.meshgrid(
        torch.arange(height, device=depth.device, dtype=depth.dtype),
        torch.arange(width, device=depth.device, dtype=depth.dtype),
        indexing="ij",
    )
    focal, centre = k.diagonal(dim1=-2, dim2=-1)[..., :2], k[..., :2, 2]
    rays = (torch.stack([u, v], -1) - centre[..., None, None, :]) / focal[..., None, None, :]
    return torch.cat([rays * depth[..., None], depth[..., None]], -1)


def moved(b_from_a: Tensor, points_a: Tensor) -> Tensor:
    """(..., H, W, 3) points through (..., 4, 4) rigid motions."""
    rotation, translation = b_from_a[..., :3, :3], b_from_a[..., :3, 3]
    turned = points_a.flatten(-3, -2) @ rotation.mT
    return (turned + translation[..., None, :]).reshape(points_a.shape)
