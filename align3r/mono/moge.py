"""MoGe as a depth network: depth up to scale from MoGe, in metres from MoGe-2; focal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from align3r.errors import WeightsError
from align3r.io.priors import Kind, PriorMap
from align3r.models.moge.estimate import estimate
from align3r.models.moge.loading import load_moge
from align3r.models.moge.version2 import Moge2


class Moge:
    """MoGe (Wang et al., CVPR 2025) or MoGe-2, of any size, with or without normals."""

    batch = 2
    kind: Kind = "depth"

    def __init__(
        self, path: Path, *, name: str, metric: bool, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Load the network.

        Raises:
            WeightsError: The weights are damaged, of another network, or of MoGe where `metric`
                asks for MoGe-2, or the other way round.
        """
        network = load_moge(path, dtype=dtype)
        if isinstance(network, Moge2) != metric:
            held = "MoGe-2" if isinstance(network, Moge2) else "MoGe"
            raise WeightsError(
                f"{path} holds a {held}, and {name} is {'MoGe-2' if metric else 'MoGe'}",
                hint="choose the --prior.model that the weights are of",
            )
        self._network = network.to(device)
        self._device = device
        self.name = name
        self.is_metric = metric

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        """Depth and focal length in pixels, at the size of the images."""
        pixels = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2) / 255
        found = estimate(self._network, pixels, reprojects=False)
        depth, mask = found.depth.cpu().numpy(), found.mask.cpu().numpy()
        focals = found.intrinsics[:, 0, 0].cpu().numpy() * pixels.shape[-1]
        return [
            PriorMap(whole(d, m), float(f) if f > 0 else None)
            for d, m, f in zip(depth, mask, focals, strict=True)
        ]


def whole(depth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) depth without holes: what the mask leaves out is as far as the farthest that is seen.

    The mask leaves out the sky, which lies behind everything. Where it leaves nothing, nothing is
    known, and depth is 0. What is not a number stays so.
    """
    far = depth[mask].max(initial=0.0)
    return np.where(mask | np.isnan(depth), depth, far).astype(np.float32)
