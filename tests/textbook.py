"""The DPT head as the papers draw it: the slow and obvious twin of `DptHead`.

Nothing is shared between pairs, `out_conv` comes after the upsampling, and the maps of full size
are whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.nn.functional import conv2d, interpolate, relu

from align3r.models.heads import DptHead, Fusion, ResidualConv
from align3r.models.pair_network import PairNetwork


def dpt(head: DptHead, token_sets: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    """(B, 4, 16h, 16w) raw outputs of the L + 1 token sets, the encoder's first."""
    dtype = head.head[0].weight.dtype
    levels = []
    for k, hook in enumerate(head.hooks):
        image = token_sets[hook].to(dtype).transpose(1, 2).unflatten(2, grid)
        image = head.act_postprocess[k](image)
        levels.append(getattr(head.scratch, f"layer{k + 1}_rn")(image))
    nets = head.scratch
    path = fuse(nets.refinenet4, levels[3], None)[..., : grid[0], : grid[1]]
    path = fuse(nets.refinenet3, path, levels[2])
    path = fuse(nets.refinenet2, path, levels[1])
    path = fuse(nets.refinenet1, path, levels[0])
    first, _, second, _, last = head.head
    features = relu(second(twice(first(path)))).float()
    return conv2d(features, last.weight.float(), last.bias.float())


def fuse(block: Fusion, path: Tensor, lateral: Tensor | None) -> Tensor:
    if lateral is not None:
        path = path + refine(block.resConfUnit1, lateral)
    return block.out_conv(twice(refine(block.resConfUnit2, path)))


def refine(unit: ResidualConv, x: Tensor) -> Tensor:
    return x + unit.conv2(relu(unit.conv1(relu(x))))


def twice(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


@contextmanager
def textbook_heads(network: PairNetwork) -> Iterator[None]:
    """The network's heads answer as in the papers inside."""
    heads = [m for m in network.modules() if isinstance(m, DptHead)]
    for head in heads:
        head.enter = lambda tokens, grid: tokens  # type: ignore[method-assign]
        head.forward = Textbook(head)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for head in heads:
            del head.enter, head.forward


class Textbook:
    """What a head does instead."""

    def __init__(self, head: DptHead) -> None:
        self.head = head

    def __call__(
        self, encoder_tokens: Tensor, token_sets: Sequence[Tensor], grid: tuple[int, int]
    ) -> Tensor:
        return dpt(self.head, [encoder_tokens, *token_sets[1:]], grid)
