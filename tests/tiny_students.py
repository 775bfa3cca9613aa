"""Tiny networks of every kind that Fin3R teaches, and batches for them."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from adapters import make as make_pair_network
from tiny_multiview import TINY_CUT3R, TINY_VGGT
from torch import Tensor, nn

from align3r.models.cut3r.network import Cut3r
from align3r.models.vggt.loading import load_vggt
from align3r.train.data.values import Batch

GOLDEN = Path(__file__).parent / "golden" / "multiview"
SIZES = {"dust3r": (32, 48), "align3r": (32, 48), "cut3r": (32, 48), "vggt": (28, 42)}
"""(height, width) of images."""


def make(name: str) -> nn.Module:
    """A network with random numbers that are as large as a trained one's."""
    if name == "vggt":
        return load_vggt(GOLDEN / "vggt_tiny.safetensors", TINY_VGGT)
    if name != "cut3r":
        return make_pair_network(branch=name == "align3r")
    network = Cut3r(TINY_CUT3R).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    return network


def make_batch(name: str, samples: int, views: int, *, multi: list[bool] | None = None) -> Batch:
    """Random images of tilted planes, seen by cameras that differ; some pixels are not known."""
    generator = torch.Generator().manual_seed(samples * 10 + views)
    height, width = SIZES[name]
    shape = samples, views, height, width

    def random(*of: int) -> Tensor:
        return torch.rand(of, generator=generator)

    depth = 2 + random(samples, views, 1, 1) + torch.linspace(0, 1, width) + 0.1 * random(*shape)
    depth[..., :3] = math.nan
    label = 3 * depth + 0.2 * random(*shape)
    label[..., -2:, :] = math.nan
    intrinsics = torch.eye(3).repeat(samples, views, 1, 1)
    intrinsics[..., 0, 0] = intrinsics[..., 1, 1] = 30 + 10 * random(samples, views)
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = width / 2, height / 2 - 1
    pose = torch.eye(4).repeat(samples, views, 1, 1)
    angle = random(samples, views) - 0.5
    pose[..., 0, 0] = pose[..., 2, 2] = angle.cos()
    pose[..., 0, 2], pose[..., 2, 0] = angle.sin(), -angle.sin()
    pose[..., :3, 3] = random(samples, views, 3) + 5
    is_multi = torch.tensor([views > 1] * samples if multi is None else multi)
    return Batch(
        images=random(samples, views, 3, height, width),
        depth=depth,
        label=label,
        intrinsics=intrinsics,
        world_from_cam=pose,
        point_maps=random(*shape, 3) if name == "align3r" else None,
        is_multi_view=is_multi,
        names=tuple(tuple(f"{b}/{s}" for s in range(views)) for b in range(samples)),
    )
