"""A tiny DUSt3R for a training that can be watched, and what is learned before Fin3R is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from align3r.models.architecture import PairArchitecture
from align3r.models.pair_network import PairNetwork
from align3r.progress import Report
from align3r.train.data.values import Batch
from align3r.train.losses import mean_over_pixels, pair_losses
from align3r.train.network_folder import save_pair_network
from align3r.train.truth import points_in_first_camera

CELL = 8
"""Side of what depth without detail does not see into, pixels."""
TINY = PairArchitecture(
    patch_size=4,
    enc_embed_dim=96,
    enc_depth=4,
    enc_num_heads=3,
    dec_embed_dim=64,
    dec_depth=2,
    dec_num_heads=2,
    head_type="linear",
)


class PairTask(nn.Module):
    """A network of pairs that learns as DUSt3R does."""

    def __init__(
        self,
        network: PairNetwork,
        validation: Callable[..., dict[str, float]],
        *,
        learns: tuple[str, ...],
        cell: int,
    ) -> None:
        """Learn parameters whose names start so, from depth without what is smaller than a cell."""
        super().__init__()
        self.network, self._validation, self._cell = network, validation, cell
        for name, value in network.named_parameters():
            value.requires_grad_(name.startswith(learns))
            value.data = value.data.clone()

    def trained(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        first, second = (2 * batch.images - 1).unbind(1)
        found = self.network((first, second))
        depth = blurred(batch.depth, self._cell)
        truth = points_in_first_camera(dataclasses.replace(batch, depth=depth))
        valid = truth.isfinite().all(-1).unbind(1)
        losses = pair_losses(found.points, found.confidence, truth.unbind(1), valid)
        views = (mean_over_pixels(*each) for each in zip(losses, valid, strict=True))
        return {"loss": sum(views, torch.zeros(()))}

    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        return {}

    def validate(self, report: Report) -> dict[str, float]:
        return self._validation(self.network, report)

    def save(self, folder: Path) -> None:
        save_pair_network(self.network, folder)


def blurred(depth: Tensor, cell: int) -> Tensor:
    """(B, S, H, W) depth without what is smaller than a cell: means of its inverse."""
    if cell == 1:
        return depth
    known = (depth > 0).float()
    inverse = avg_pool2d(torch.where(depth > 0, 1 / depth, 0.0), cell)
    share = avg_pool2d(known, cell)
    coarse = torch.where(share > 0, inverse / share.clamp_min(1e-6), inverse.mean())
    smooth = interpolate(coarse, scale_factor=cell, mode="bilinear", align_corners=False)
    return torch.where(depth > 0, 1 / smooth, torch.nan)


def random_network(architecture: PairArchitecture, seed: int = 0) -> PairNetwork:
    """A network before it has learned anything."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PairNetwork(architecture)
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
    return network.eval()
