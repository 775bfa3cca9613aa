"""Numbers of a network that stay as they are, in one short word."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor, nn


def digest_without(network: nn.Module, names: Collection[str]) -> str:
    """SHA-256 of every number of a network, in any order of its parts, but for those so named."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name not in names:
            digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
