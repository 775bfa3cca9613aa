"""The number format of a network's matrices."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from align3r.models.transformer import Linear


def set_matrices(
    network: nn.Module, dtype: torch.dtype, *, without: Iterable[nn.Module] = ()
) -> None:
    """Put the linear layers of the blocks into another number format; all else stays as it is.

    Norms, what is added up from block to block, rotary angles and patch embeddings are no such
    layers.

    Args:
        network: Changed in place.
        dtype: Of the layers, which take any and compute in their own.
        without: Parts whose layers stay as they are.
    """
    kept = {module for part in without for module in part.modules()}
    for module in network.modules():
        if isinstance(module, Linear) and module not in kept:
            module.to(dtype)
