"""Memory and precision of a network while it is trained; what it is stays as it is.

Activation checkpointing (Chen et al., 2016) keeps the input of a block alone, and computes the
block again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from align3r.models.croco import CrocoNetwork
from align3r.models.cut3r.head import PosedBlock
from align3r.models.dinov2 import ScaledBlock
from align3r.models.heads import DptHead, LinearHead
from align3r.models.transformer import DecoderBlock, EncoderBlock
from align3r.models.vggt.camera_head import CameraHead
from align3r.models.vggt.dense_head import DenseHead
from align3r.train.wrapping import Method, wrapped

BLOCKS: dict[type[nn.Module], tuple[str, ...]] = {
    EncoderBlock: ("forward",),
    # Its parts are called one by one, and `meet` calls them.
    DecoderBlock: ("look_at_own", "keys_values", "forward"),
    PosedBlock: ("forward",),
    ScaledBlock: ("forward",),
    DptHead: ("enter", "forward"),
    DenseHead: ("forward",),
}
"""What is computed twice: modules and the methods that others call."""

HEADS: dict[type[nn.Module], tuple[str, ...]] = {
    DptHead: ("enter", "forward"),
    LinearHead: ("enter", "forward"),
    DenseHead: ("forward",),
    CameraHead: ("forward",),
}
"""What leaves a network, after an exponential for the most part."""


def checkpointed(network: nn.Module) -> AbstractContextManager[None]:
    """While this lasts, a network keeps little for its backward pass; the gradients are the same.

    Args:
        network: Or any module that has networks in it. Where it has none that is known here,
            nothing changes.
    """
    return wrapped(_methods(network, BLOCKS), _computed_twice)


def exact_heads(network: nn.Module) -> AbstractContextManager[None]:
    """While this lasts, heads of a network compute in float32 whatever the autocast around them.

    Args:
        network: Or any module that has networks in it; where it computes, it is already.
    """
    kind = next((value.device.type for value in network.parameters()), "cpu")

    def without_autocast(method: Method) -> Method:
        @wraps(method)
        def exact(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(kind, enabled=False):
                return method(*args, **kwargs)

        return exact

    return wrapped(_heads(network), without_autocast)


def _methods(
    network: nn.Module, table: dict[type[nn.Module], tuple[str, ...]]
) -> Iterator[tuple[nn.Module, str]]:
    for module in network.modules():
        for name in table.get(type(module), ()):
            yield module, name


def _heads(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    dense = list(_methods(network, HEADS))
    yield from dense
    known = {module for module, _ in dense}
    for module in network.modules():
        if isinstance(module, CrocoNetwork):
            # Those of cameras; a ModuleDict is only the place where a checkpoint has its head.
            yield from (
                (head, "forward")
                for head in module.heads()
                if head not in known and not isinstance(head, nn.ModuleDict)
            )


def _computed_twice(method: Method) -> Method:
    @wraps(method)
    def twice(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return method(*args, **kwargs)
        # No block draws random numbers, so there is no state of a generator to be kept.
        return checkpoint(method, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return twice
