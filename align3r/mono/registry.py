"""Which depth network a name stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from align3r.config import PriorOptions
from align3r.errors import UsageError
from align3r.models.weights import locate
from align3r.mono.depth_anything import DepthAnything
from align3r.mono.depth_pro import DepthPro
from align3r.mono.moge import Moge
from align3r.mono.network import DepthNetwork

_SIZES = ("small", "base", "large")
_SCENES = ("indoor", "outdoor")

DEPTH_NETWORKS: dict[str, Callable[..., DepthNetwork]] = {
    **{f"depthanything-{size}": partial(DepthAnything, metric=False) for size in _SIZES},
    **{
        f"depthanything-metric-{scene}-{size}": partial(DepthAnything, metric=True)
        for scene in _SCENES
        for size in _SIZES
    },
    "depthpro": DepthPro,
    "moge": partial(Moge, metric=False),
    "moge2": partial(Moge, metric=True),
}
"""By the names of `--prior.model`; called as network(path, name=..., device=..., dtype=...)."""


def make_depth_network(
    options: PriorOptions, name: str, *, device: torch.device, dtype: torch.dtype
) -> DepthNetwork:
    """Find, fetch if need be, and load a depth network.

    Args:
        options: `weights` wins over the published ones.
        name: Of the network; not `auto`.
        device: Where it shall compute.
        dtype: In which numbers.

    Raises:
        UsageError: No network has this name.
        WeightsError: The weights cannot be had, are damaged, or are another network's.
        MissingExtraError: `transformers` cannot be imported as it is installed.
    """
    if name not in DEPTH_NETWORKS:
        raise UsageError(
            f"{name} is no depth network", hint=f"there are {', '.join(DEPTH_NETWORKS)}"
        )
    path = locate(options.weights or name)
    return DEPTH_NETWORKS[name](path, name=name, device=device, dtype=dtype)
