"""The objective's terms to first order, view by view, as products of their columns.

As in the fused terms, every observation enters through one 3x4 matrix and through the point of its
pixel. Its columns are the twelve entries of that matrix, the log focal length of its own view, the
residual itself and the depth of the pixel; small exact chain rules (`tangents`) then turn the
twelve entries into the motion of the view and of the other node, a pair or another view.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.fused import FlowObservations, PointObservations

COLUMNS = 15
"""12 entries of the matrix, log focal length, residual, depth."""

FLOW_CUT = 50.5
"""Pixels; the flow term drops components that miss by more (their Huber loss is 50)."""


@dataclass(frozen=True)
class Pull:
    """What an observation of each kind counts, and below which residual the norm is rounded."""

    pair: float
    """Weight of the term over its number of observations."""
    flow: Tensor
    """(2,) the same for forward and backward flows; zero where the term is off."""
    smooth: float
    quiet: float
    """Length; the Euclidean norm is sqrt(|.|^2 + quiet^2)."""
    pose: float = 0.0


def pair_products(
    depth: Tensor, rays: Tensor, matrix: Tensor, points: Tensor, pull: Tensor, *, quiet: float
) -> tuple[Tensor, Tensor]:
    """Weighted products of the columns of the residuals d r - M X.

    Each row of M meets its own component of the residual only, so moments of X are enough.

    Args:
        depth: (P,).
        rays: (3, P) with z = 1.
        matrix: (K, 3, 4) M.
        points: (K, 4, P) homogeneous X.
        pull: (K, P) weight of each norm.
        quiet: Rounds the norm.

    Returns:
        (K, 15, 15) summed over the pixels, without the row and column of the depth, and
        (K, 15, P) with the depth.
    """
    miss = torch.baddbmm(depth * rays, matrix, points, alpha=-1)
    pull = pull * (miss.square().sum(1) + quiet**2).rsqrt()
    heavy = points * pull[:, None]
    moment = heavy @ points.mT
    slide = -depth * rays * rays.new_tensor([1.0, 1.0, 0.0])[:, None]
    columns = torch.cat([slide.expand_as(miss), miss], dim=1)
    mixed = (columns @ heavy.mT).neg_().view(-1, 2, 12)
    square = columns.view(len(miss), 2, -1)
    products = miss.new_zeros(len(miss), COLUMNS, COLUMNS)
    for row in range(3):
        part = slice(4 * row, 4 * row + 4)
        products[:, part, part] = moment
    products[:, 12:14, :12], products[:, :12, 12:14] = mixed, mixed.mT
    drawn = (columns * pull[:, None]).view(len(miss), 2, -1)
    products[:, 12:14, 12:14] = drawn @ square.mT
    along = miss.new_empty(len(miss), COLUMNS, miss.shape[2])
    torch.mul(heavy[:, None], -rays[:, None], out=along[:, :12].unflatten(1, (3, 4)))
    along[:, 12] = pull * (slide * rays).sum(0)
    along[:, 13] = pull * (miss * rays).sum(1)
    along[:, 14] = pull * rays.square().sum(0)
    return products, along


def flow_products(
    depth: Tensor, rays: Tensor, matrix: Tensor, target: Tensor, pull: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted products of the columns of the residuals pi(M (d r, 1)) - target.

    Args:
        depth: (P,).
        rays: (3, P) with z = 1.
        matrix: (K, 3, 4) projection into the target view.
        target: (K, 2, P).
        pull: (K, 1, P) weight of each Huber loss.

    Returns:
        As `pair_products`; zero where the point is behind the camera or beyond the cut.
    """
    source = torch.cat([depth * rays, torch.ones_like(depth)[None]])
    moved = matrix @ source
    pixel, inverse, mask = _project(moved)
    miss = torch.where(mask, pixel - target, 0.0)
    mask = mask & (miss.abs() < FLOW_CUT)
    root = (pull * mask * miss.abs().clamp(min=1.0).reciprocal()).sqrt_()
    forward, sideways = root * inverse, -root * pixel * inverse
    columns = miss.new_zeros(len(miss), COLUMNS, *miss.shape[1:])
    for row in range(2):
        columns[:, 4 * row : 4 * row + 4, row] = forward[:, row, None] * source
        columns[:, 8:12, row] = sideways[:, row, None] * source
    along = matrix[:, :, :3] @ rays
    # ln f moves the point by -d (x, y, 0) = d (0, 0, 1) - d r.
    slide = depth * (matrix[:, :, 2:3] - along)
    columns[:, 12] = forward * slide[:, :2] + sideways * slide[:, 2:]
    columns[:, 13] = miss * root
    columns[:, 14] = forward * along[:, :2] + sideways * along[:, 2:]
    flat = columns.flatten(2)
    return flat @ flat.mT, (columns * columns[:, -1:]).sum(2)


def _project(moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel (K, 2, P), inverse depth and whether in front (K, 1, P); zeros behind."""
    depth = moved[:, 2:] + 1e-6
    front = depth > 1e-6
    inverse = torch.where(front, depth, torch.inf).reciprocal()
    return moved[:, :2] * inverse, inverse, front


@dataclass(frozen=True)
class Sight:
    """Where flows see the points along the rays of one view."""

    slope: Tensor
    """(L, 3, P) of the projected points by depth."""
    offset: Tensor
    """(L, 3, 1) projected points of depth zero."""
    target: Tensor
    """(L, 2, P)."""
    pull: Tensor
    """(L, 1, P)."""

    def loss(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P,) loss of these depths, its gradient, and its Gauss-Newton curvature.

        Components beyond the cut count as much as at the cut, so that no depth gains by leaving.
        """
        pixel, inverse, front = _project(self.slope * depth + self.offset)
        miss = torch.where(front, pixel - self.target, FLOW_CUT)
        size = miss.abs().clamp(max=FLOW_CUT)
        near = size.clamp(max=1.0)
        value = (self.pull * near * (size - 0.5 * near)).sum((0, 1))
        rate = (self.slope[:, :2] - pixel * self.slope[:, 2:]) * inverse
        inside = self.pull * (size < FLOW_CUT) / size.clamp(min=1.0)
        return value, (inside * rate * miss).sum((0, 1)), (inside * rate.square()).sum((0, 1))


@dataclass(frozen=True)
class Ray:
    """What the observations of one view say about depths along its rays."""

    along: Tensor
    """(K, P) depth at which each prediction is closest to the ray."""
    aside: Tensor
    """(K, P) squared distance there, rounding included."""
    pull: Tensor
    """(K, P)."""
    square: Tensor
    """(P,) squared length of the ray with z = 1."""
    sight: Sight | None = None
    """None where there is no flow, or no use for it."""

    def loss(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P,) loss of these depths, its gradient, and the curvature of the majoriser."""
        apart = depth - self.along
        norm = (self.square * apart.square() + self.aside).sqrt()
        bend = self.pull * self.square / norm
        value = (self.pull * norm).sum(0)
        gradient, curve = (bend * apart).sum(0), bend.sum(0)
        if self.sight is None:
            return value, gradient, curve
        more = self.sight.loss(depth)
        return value + more[0], gradient + more[1], curve + more[2]


def ray_losses(
    rays: Tensor,
    seen: tuple[Tensor, Tensor, Tensor],
    flow: tuple[Tensor, Tensor, Tensor] | None,
    *,
    quiet: float,
) -> Ray:
    """Reduce the observations of one view to functions of the depth of each pixel.

    Args:
        rays: (3, P) with z = 1.
        seen: Matrix (K, 3, 4), homogeneous points (K, 4, P) and weight (K, P) of predictions.
        flow: Projection (L, 3, 4), target (L, 2, P) and weight (L, 1, P) of flows, if any.
        quiet: Rounds the norm.
    """
    matrix, points, pull = seen
    square = rays.square().sum(0)
    moved = matrix @ points
    along = (moved * rays).sum(1) / square
    aside = (moved - along[:, None] * rays).square().sum(1) + quiet**2
    if flow is None:
        return Ray(along, aside, pull, square)
    projection, target, flow_pull = flow
    sight = Sight(projection[:, :, :3] @ rays, projection[:, :, 3:], target, flow_pull)
    return Ray(along, aside, pull, square, sight)


def flow_counts(depths: Tensor, matrix: Tensor, rays: Tensor, data: FlowObservations) -> Tensor:
    """(2,) components of forward and of backward flows that the flow term averages over.

    Args:
        depths: (N, P).
        matrix: (S, 3, 4) projections.
        rays: (N, 3, P).
        data: The flows.
    """
    count = torch.zeros(2, dtype=torch.float64, device=depths.device)
    for view, (start, middle, end) in enumerate(data.spans):
        points = depths[view] * rays[view]
        for way, here in enumerate((slice(start, middle), slice(middle, end))):
            moved = matrix[here, :, :3] @ points + matrix[here, :, 3:]
            pixel, _, front = _project(moved)
            inside = front & ((pixel - data.target[here]).abs() < FLOW_CUT)
            count[way] += (data.keep[here] * inside).sum(dtype=torch.float64)
    return count


def view_slices(
    view: int, pairs: PointObservations, flow: FlowObservations | None
) -> tuple[slice, slice]:
    """Which predictions and which flows look at one view."""
    here = slice(*pairs.spans[view])
    if flow is None:
        return here, slice(0, 0)
    return here, slice(flow.spans[view][0], flow.spans[view][2])
