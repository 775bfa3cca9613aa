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

from align3r.optim.depth_prior import Tie
from align3r.optim.fused import FlowObservations, PointObservations
from align3r.optim.residuals import Problem, cam_from_pair, pixel_from_source
from align3r.optim.state import State

COLUMNS = 15
"""12 entries of the matrix, log focal length, residual, depth."""

FLOW_CUT = 50.5
"""Pixels; the flow term drops components that miss by more (their Huber loss is 50)."""


@dataclass(frozen=True)
class Pull:
    """What an observation of each kind counts, and below which residual the norm is rounded."""

    pair: float
    """Weight of the term over its number of observations."""
    flow: Tensor | None
    """(2,) the same for forward and backward flows, zero while the term is switched off; None
    where there is no flow or no use for it."""
    smooth: float
    quiet: float
    """Length; the Euclidean norm is sqrt(|.|^2 + quiet^2)."""
    pose: float = 0.0
    tie: Tie | None = None
    """The prior term around these depths."""


@dataclass(frozen=True)
class Matrices:
    """What the observations enter through, in the precision of the data."""

    rays: Tensor
    """(N, 3, P) with z = 1."""
    pairs: Tensor
    """(S, 3, 4)."""
    flow: Tensor
    """(S', 3, 4) projections; S' is 0 where there is no flow."""


def matrices_of(state: State, problem: Problem) -> Matrices:
    """The matrices of a state."""
    centred = problem.centred
    rays = centred / state.focal[:, None, None].to(centred)
    flow = centred.new_zeros(0, 3, 4)
    if problem.flow is not None:
        flow = pixel_from_source(state, problem, problem.flow).to(centred)
    return Matrices(
        rays=torch.cat([rays, torch.ones_like(rays[:, :1])], dim=1),
        pairs=cam_from_pair(state, problem.pairs).to(centred),
        flow=flow,
    )


def pair_products(
    depth: Tensor, rays: Tensor, matrix: Tensor, points: Tensor, *, pull: Tensor, quiet: float
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
    depth: Tensor, rays: Tensor, matrix: Tensor, target: Tensor, *, pull: Tensor
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
    pixel, inverse, front = project(matrix @ source)
    miss = torch.where(front, pixel - target, 0.0)
    inside = front & (miss.abs() < FLOW_CUT)
    pull = pull * inside / miss.abs().clamp(min=1.0)
    bend = _Bend.of(pull, pixel, inverse)
    along = matrix[:, :, :3] @ rays
    # ln f moves the point by -d (x, y, 0) = d (0, 0, 1) - d r.
    slide = depth * (matrix[:, :, 2:3] - along)
    drawn = pull * miss * inverse
    drawn = torch.cat([drawn, -(drawn * pixel).sum(1, keepdim=True)], dim=1)
    slid, stretched = bend.times(slide), bend.times(along)
    products = miss.new_zeros(len(miss), COLUMNS, COLUMNS)
    products[:, :12, :12] = bend.moments(source)
    mixed = (torch.stack([slid, drawn], dim=1) @ source.mT).flatten(2)
    products[:, 12:14, :12], products[:, :12, 12:14] = mixed, mixed.mT
    products[:, 12, 12] = (slide * slid).sum((1, 2))
    products[:, 12, 13] = products[:, 13, 12] = (slide * drawn).sum((1, 2))
    with_depth = miss.new_empty(len(miss), COLUMNS, miss.shape[2])
    torch.mul(stretched[:, :, None], source, out=with_depth[:, :12].unflatten(1, (3, 4)))
    with_depth[:, 12] = (slide * stretched).sum(1)
    with_depth[:, 13] = (along * drawn).sum(1)
    with_depth[:, 14] = (along * stretched).sum(1)
    return products, with_depth


@dataclass(frozen=True)
class _Bend:
    """The weighted square of a projection's derivative by its point, a symmetric 3x3 a pixel.

    Each component of a pixel has its own weight, and neither looks at the other's row:
    [[a, 0, c], [0, b, d], [c, d, e]].
    """

    side: Tensor
    """(L, 2, P) a and b."""
    mixed: Tensor
    """(L, 2, P) c and d."""
    deep: Tensor
    """(L, 1, P) e."""

    @classmethod
    def of(cls, pull: Tensor, pixel: Tensor, inverse: Tensor) -> _Bend:
        """From weights and pixels (L, 2, P) and inverse depths (L, 1, P)."""
        side = pull * inverse.square()
        mixed = -side * pixel
        return cls(side, mixed, -(mixed * pixel).sum(1, keepdim=True))

    def times(self, points: Tensor) -> Tensor:
        """(L, 3, P) product with points (L, 3, P)."""
        flat, deep = points[:, :2], points[:, 2:]
        last = (self.mixed * flat).sum(1, keepdim=True) + self.deep * deep
        return torch.cat([self.side * flat + self.mixed * deep, last], dim=1)

    def moments(self, source: Tensor) -> Tensor:
        """(L, 12, 12) square by the entries of the matrix that moves homogeneous points (4, P)."""
        pairs = (source[:, None] * source).flatten(0, 1)
        entries = torch.cat([self.side, self.mixed, self.deep], dim=1)
        a, b, c, d, e = (entries @ pairs.mT).unflatten(2, (4, 4)).unbind(1)
        zero = torch.zeros_like(a)
        rows = [torch.cat(row, dim=2) for row in ((a, zero, c), (zero, b, d), (c, d, e))]
        return torch.cat(rows, dim=1)


def project(moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel (K, 2, P), inverse depth and whether in front (K, 1, P); zeros behind."""
    depth = moved[:, 2:] + 1e-6
    front = depth > 1e-6
    inverse = torch.where(front, depth, torch.inf).reciprocal()
    return moved[:, :2] * inverse, inverse, front


def flow_share(data: FlowObservations, here: slice, share: Tensor) -> Tensor:
    """(L, 1, 1) weight of each flow from those of both directions."""
    return share.to(data.keep)[data.backward_flow[here].long()][:, None, None]


def view_slices(
    view: int, pairs: PointObservations, flow: FlowObservations | None
) -> tuple[slice, slice]:
    """Which predictions and which flows look at one view."""
    here = slice(*pairs.spans[view])
    if flow is None:
        return here, slice(0, 0)
    return here, slice(flow.spans[view][0], flow.spans[view][2])
