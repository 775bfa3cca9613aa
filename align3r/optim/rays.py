"""What the observations of one view say about depths along its rays: a function a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.depth_prior import Tie
from align3r.optim.linearise import FLOW_CUT, Matrices, Pull, flow_share, project, view_slices
from align3r.optim.residuals import Problem
from align3r.optim.surface import Surface


@dataclass(frozen=True)
class Sight:
    """Where flows see the points along the rays of one view."""

    slope: Tensor
    """(L, 3, P) of the projected points by depth."""
    offset: Tensor
    """(L, 3, 1) projected points of depth zero."""
    target: Tensor
    """(L, 2, P)."""
    keep: Tensor
    """(L, 1, P) 1 where the flow counts, else 0."""
    share: Tensor
    """(L, 1, 1) weight of each flow."""

    def loss(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P,) loss of these depths, its gradient, and its Gauss-Newton curvature.

        Components beyond the cut count as much as at the cut, so that no depth gains by leaving.
        """
        pixel, inverse, front = project(self.slope * depth + self.offset)
        miss = torch.where(front, pixel - self.target, FLOW_CUT)
        size = miss.abs().clamp_(max=FLOW_CUT)
        near = size.clamp(max=1.0)
        pull = self.keep * self.share
        value = (pull * near * (size - 0.5 * near)).sum((0, 1))
        rate = (self.slope[:, :2] - pixel * self.slope[:, 2:]) * inverse
        inside = rate * pull * (size < FLOW_CUT) / size.clamp_(min=1.0)
        return value, (inside * miss).sum((0, 1)), (inside * rate).sum((0, 1))

    def sums(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """(L,) Huber loss within the cut, and the number of components that it is of."""
        pixel, _, front = project(self.slope * depth + self.offset)
        size = (pixel - self.target).abs_()
        inside = (front & (size < FLOW_CUT)) * self.keep
        near = size.clamp(max=1.0)
        value = (near * (size - 0.5 * near)).mul_(inside).sum((1, 2))
        return value, inside.sum((1, 2))


@dataclass(frozen=True)
class Ray:
    """What the observations of one view say about depths along its rays."""

    along: Tensor
    """(K, P) depth at which each prediction is closest to the ray."""
    aside: Tensor
    """(K, P) squared distance there."""
    weight: Tensor
    """(K, P)."""
    square: Tensor
    """(P,) squared length of the ray with z = 1."""
    pull: float
    """What a weight of one counts."""
    quiet: float
    """Rounds the norm."""
    sight: Sight | None = None
    """None where there is no flow, or no use for it."""
    tie: Tie | None = None
    """To a prior depth, if there is one."""

    def loss(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P,) loss of these depths, its gradient, and the curvature of the majoriser."""
        apart = depth - self.along
        square = (self.square * apart.square()).add_(self.aside).add_(self.quiet**2)
        inverse = square.rsqrt().mul_(self.weight)
        value = self.pull * square.mul_(inverse).sum(0)
        scale = self.pull * self.square
        gradient, curve = scale * apart.mul_(inverse).sum(0), scale * inverse.sum(0)
        for part in (self.sight, self.tie):
            if part is not None:
                more = part.loss(depth)
                value, gradient, curve = value + more[0], gradient + more[1], curve + more[2]
        return value, gradient, curve

    def distance(self, depth: Tensor) -> Tensor:
        """Sum of the weighted distances, norms not rounded."""
        norm = (self.square * (depth - self.along).square()).add_(self.aside).sqrt_()
        return torch.dot(norm.flatten(), self.weight.flatten())


def ray_of(view: int, problem: Problem, found: Matrices, pull: Pull) -> Ray:
    """The observations of one view as functions of the depth of each pixel."""
    data, flow, rays = problem.pairs, problem.flow, found.rays[view]
    seen, flown = view_slices(view, data, flow)
    square = rays.square().sum(0)
    moved = found.pairs[seen] @ data.points[seen]
    along = (moved * rays).sum(1) / square
    sight = None
    if flow is not None and pull.flow is not None:
        matrix = found.flow[flown]
        sight = Sight(
            slope=matrix[:, :, :3] @ rays,
            offset=matrix[:, :, 3:],
            target=flow.target[flown],
            keep=flow.keep[flown],
            share=flow_share(flow, flown, pull.flow),
        )
    return Ray(
        along=along,
        aside=(moved - along[:, None] * rays).square().sum(1),
        weight=data.weight[seen],
        square=square,
        pull=pull.pair,
        quiet=pull.quiet,
        sight=sight,
        tie=None if pull.tie is None else pull.tie.at(view),
    )


def descend(ray: Ray, start: Tensor, surface: Surface, steps: int) -> Tensor:
    """(P,) depths of a lower loss, of those that the surface of one view has."""
    if steps == 0:
        return start
    if surface.basis is not None:
        return _descend_spline(ray, start, surface, steps)
    floor = 1e-3 * start.median()
    best, depth = start, start
    loss, slope, curve = ray.loss(start)
    step = _step(slope, curve)
    for _ in range(steps):
        depth = (best + step).clamp(min=floor)
        value, slope, curve = ray.loss(depth)
        good = value < loss
        step = torch.where(good, _step(slope, curve), 0.5 * step)
        best, loss = torch.where(good, depth, best), torch.where(good, value, loss)
    return best


def _step(slope: Tensor, curve: Tensor) -> Tensor:
    """Minus slope over curvature, nothing where there is none."""
    return -slope / torch.where(curve > 0, curve, torch.inf)


def _descend_spline(ray: Ray, start: Tensor, surface: Surface, steps: int) -> Tensor:
    """The same for the coefficients of a spline, all pixels at once."""
    best, field = start, surface.field(start[None])
    value, slope, curve = ray.loss(start)
    loss, step = value.sum(dtype=torch.float64), _spline_step(surface, start, slope, curve)
    for _ in range(steps):
        depth = surface.depth(field + step)[0]
        value, slope, curve = ray.loss(depth)
        now = value.sum(dtype=torch.float64)
        if now < loss:
            field, best, loss = field + step, depth, now
            step = _spline_step(surface, depth, slope, curve)
        else:
            step = 0.5 * step
    return best


def _spline_step(surface: Surface, depth: Tensor, slope: Tensor, curve: Tensor) -> Tensor:
    """(1, G) Gauss-Newton step of the coefficients."""
    assert surface.basis is not None
    columns = surface.basis * depth[:, None]
    square = ((columns * curve[:, None]).mT @ columns).double()
    ridge = 1e-6 * square.diagonal().mean() + 1e-30
    square.diagonal().add_(ridge)
    step: Tensor = torch.linalg.solve(square, (slope @ columns).double())
    return -step[None].to(depth)
