"""Depth that the solve keeps near: a term of the objective, off unless it is given a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MOVING_WEIGHT = 2.0
"""Of pixels that move, which flow says nothing of; static ones weigh 1."""


@dataclass(frozen=True)
class DepthPrior:
    """A depth of every pixel, up to one scale a view."""

    log_depth: Tensor
    """(N, P)."""
    weight: Tensor
    """(N, P)."""

    def misses(self, depth: Tensor) -> Tensor:
        """(N, P) ln of depth over prior; the mean of each view is zero."""
        ratio = depth.log() - self.log_depth
        return ratio - ratio.mean(1, keepdim=True)

    def distance(self, depth: Tensor) -> Tensor:
        """Weighted mean square of the misses of depths (N, P)."""
        return (self.weight * self.misses(depth).square()).mean()

    def tie(self, depth: Tensor, weight: float) -> Tie:
        """The term with this weight as parabolas of single pixels, exact to first order.

        The scale of each view stays as it is at these depths (N, P); what moving it does to the
        term is in the slope.
        """
        pull = weight * self.weight / depth.numel()
        drawn = pull * self.misses(depth)
        slope = drawn - drawn.mean(1, keepdim=True)
        return Tie(pull, depth.log() - slope / pull)


@dataclass(frozen=True)
class Tie:
    """pull * (ln d - centre)^2 for every pixel."""

    pull: Tensor
    """(..., P)."""
    centre: Tensor
    """(..., P)."""

    def at(self, view: int, px: slice = slice(None)) -> Tie:
        """Of one view, or some pixels of it."""
        return Tie(self.pull[view, px], self.centre[view, px])

    def loss(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of depths (P,) > 0, its gradient, and its Gauss-Newton curvature."""
        miss, bend = depth.log() - self.centre, 2 * self.pull / depth
        return self.pull * miss.square(), bend * miss, bend / depth


def depth_prior(log_depth: Tensor, static: np.ndarray | None) -> DepthPrior:
    """The prior of depths (N, P) where `static` (N, P) says what does not move; None: nothing."""
    weight = torch.ones_like(log_depth)
    if static is not None:
        still = torch.from_numpy(static).to(weight.device)
        weight = torch.where(still, weight, MOVING_WEIGHT)
    return DepthPrior(log_depth, weight)
