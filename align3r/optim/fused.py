"""The two large terms, with value and gradient in one pass over the data.

Every prediction enters through one 3x4 matrix (its pair's similarity, seen from the camera of
its view), so beyond a few small matrices only the points themselves carry gradients: both are
matrix products of the residual directions. One view at a time keeps the temporaries in cache.
The obvious twins, left to autograd, live in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Distance = Literal["l1", "l2"]


@dataclass(frozen=True)
class PointObservations:
    """What the pairs say about the points of each view, sorted by view.

    S = 2E observations (both sides of every pair), P pixels each.
    """

    points: Tensor
    """(S, 4, P) homogeneous points in the frame of their pair."""
    weight: Tensor
    """(S, P), >= 0."""
    edge: Tensor
    """(S,) number of the pair."""
    view: Tensor
    """(S,) ascending number of the view."""
    spans: tuple[tuple[int, int], ...]
    """N ranges of S, one a view."""


@dataclass(frozen=True)
class FlowObservations:
    """Where the flow says the pixels of a source view go, sorted by source view.

    Within a view the forward flows (i to j) come before the backward ones.
    """

    target: Tensor
    """(S, 2, P) pixel in the target view minus its principal point, in the term's pixels."""
    keep: Tensor
    """(S, 1, P) 1 where the source pixel is static and the flow valid, else 0."""
    source: Tensor
    """(S,) ascending."""
    sink: Tensor
    """(S,) target view."""
    backward_flow: Tensor
    """(S,) bool: goes from the second view of its pair to the first."""
    spans: tuple[tuple[int, int, int], ...]
    """N times (first forward, first backward, end)."""
    unit: float = 1.0
    """Pixels of the term in a working pixel."""


class _PairTerm(torch.autograd.Function):
    """Sum of w |P - M X| or w |P - M X|^2; P (N, 3, P) in cameras, M (S, 3, 4)."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, matrix: Tensor, data: PointObservations, dist: Distance
    ) -> Tensor:
        d_points, d_matrix = torch.zeros_like(points), torch.empty_like(matrix)
        total = points.new_zeros((), dtype=torch.float64)
        for view, (start, end) in enumerate(data.spans):
            if start == end:
                continue
            seen, weight = data.points[start:end], data.weight[start:end]
            miss = torch.baddbmm(points[view], matrix[start:end], seen, alpha=-1)
            square = (miss * miss).sum(1)
            if dist == "l1":
                norm = square.sqrt_()
                total += torch.dot(norm.flatten(), weight.flatten())
                # A residual of exactly zero has direction zero: 0 * (w / tiny) = 0.
                pull = weight / norm.clamp_(min=1e-30)
            else:
                total += torch.dot(square.flatten(), weight.flatten())
                pull = 2 * weight
            miss *= pull[:, None]
            torch.sum(miss, 0, out=d_points[view])
            torch.bmm(miss, seen.mT, out=d_matrix[start:end])
        ctx.save_for_backward(d_points, d_matrix)
        return total.to(points.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_points, d_matrix = ctx.saved_tensors
        return d_points * grads[0], d_matrix * -grads[0], None, None


def pair_sum(
    points: Tensor, matrix: Tensor, data: PointObservations, *, dist: Distance = "l1"
) -> Tensor:
    """Confidence-weighted distance between depth points and pair predictions, summed.

    Args:
        points: (N, 3, P) points of the depth maps in their own cameras.
        matrix: (S, 3, 4) camera of the view from the frame of the pair, scale included.
        data: The predictions.
        dist: Euclidean norm (l1, the paper's code) or its square (l2).

    Returns:
        Scalar; differentiable in `points` and `matrix`.
    """
    # Any: whether torch types `apply` depends on its version.
    term: Any = _PairTerm
    value: Tensor = term.apply(points, matrix, data, dist)
    return value


def _flow_pull(
    moved: Tensor, target: Tensor, keep: Tensor, cut: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Huber loss (K, 2, P) masked, its gradient by the moved points (K, 3, P), its mask."""
    depth = moved[:, 2:] + 1e-6
    inverse = depth.reciprocal()
    pixel = moved[:, :2] * inverse
    miss = pixel - target
    size = miss.abs()
    # A point behind the target camera has no pixel there; it has no say.
    mask = (size < cut) & (depth > 1e-6)
    weight = mask.to(keep.dtype).mul_(keep)
    near = size.clamp(max=1.0)
    loss = size.mul_(2).sub_(near).mul_(near).mul_(0.5).mul_(weight)
    pull = miss.clamp_(-1.0, 1.0).mul_(weight).mul_(inverse)
    along = pixel.mul_(pull).sum(1, keepdim=True).neg_()
    # inf * 0 where a masked point lies in the camera's plane
    gradient = torch.cat([pull, along], dim=1).nan_to_num_(0.0, 0.0, 0.0)
    return loss.nan_to_num_(0.0, 0.0, 0.0), gradient, weight


class _FlowTerm(torch.autograd.Function):
    """Mean Huber distance of projected points from flow targets, forward plus backward."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, matrix: Tensor, data: FlowObservations, cut: float
    ) -> Tensor:
        d_points = points.new_zeros((2, *points.shape))
        d_matrix = torch.empty_like(matrix)
        total = points.new_zeros(len(matrix))
        count = points.new_zeros(len(matrix))
        ones = points.new_ones(1, points.shape[-1])
        for view, (start, middle, end) in enumerate(data.spans):
            if start == end:
                continue
            here = slice(start, end)
            source = torch.cat([points[view], ones])
            moved = (matrix[here].reshape(-1, 4) @ source).view(end - start, 3, -1)
            loss, gradient, weight = _flow_pull(moved, data.target[here], data.keep[here], cut)
            torch.sum(loss, (1, 2), out=total[here])
            torch.sum(weight, (1, 2), out=count[here])
            torch.matmul(gradient, source.T, out=d_matrix[here])
            for side, low, high in ((0, start, middle), (1, middle, end)):
                turn = matrix[low:high, :, :3].reshape(-1, 3)
                force = gradient[low - start : high - start].flatten(0, 1)
                torch.mm(turn.T, force, out=d_points[side, view])
        # Forward and backward flows are averaged apart, over the components that were kept.
        way = data.backward_flow.long()
        sums = points.new_zeros(2, 2, dtype=torch.float64)
        sums.index_add_(0, way, torch.stack([total, count], -1).double())
        share = (1.0 / sums[:, 1].clamp(min=1.0)).to(points.dtype)
        d_matrix *= share[way][:, None, None]
        ctx.save_for_backward(d_points[0] * share[0] + d_points[1] * share[1], d_matrix)
        return (sums[:, 0] * share).sum().to(points.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_points, d_matrix = ctx.saved_tensors
        return d_points * grads[0], d_matrix * grads[0], None, None


def flow_mean(
    points: Tensor, matrix: Tensor, data: FlowObservations, *, pixel_threshold: float = 50.0
) -> Tensor:
    """MonST3R's flow loss: Huber per component in pixels, outliers beyond the threshold dropped.

    Args:
        points: (N, 3, P) points of the depth maps in their own cameras.
        matrix: (S, 3, 4) projection into the target view, focal included, principal point not.
        data: The flows.
        pixel_threshold: Components with a larger Huber loss are dropped; <= 0 keeps all.

    Returns:
        Scalar, mean over forward flows plus mean over backward flows; differentiable.
    """
    cut = float("inf")
    if pixel_threshold > 0:
        small = pixel_threshold < 0.5
        cut = (2 * pixel_threshold) ** 0.5 if small else pixel_threshold + 0.5
    term: Any = _FlowTerm
    value: Tensor = term.apply(points, matrix, data, cut)
    return value
