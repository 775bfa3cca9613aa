"""The normal equations with every depth eliminated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.fused import FlowObservations
from align3r.optim.linearise import (
    Matrices,
    Pull,
    flow_products,
    flow_share,
    matrices_of,
    pair_products,
    view_slices,
)
from align3r.optim.residuals import Problem
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import (
    BLOCK,
    NODE,
    flow_tangents,
    pair_tangents,
    pose_blocks,
    smooth_blocks,
)
from align3r.optim.threads import for_each_frame

CHUNK = 2560
"""Pixels a view at a time: enough for the grid of a solve, few enough to stay near the cache."""

Blocks = list[tuple[Tensor, Tensor]]
"""Products (..., C, C) and the unknowns (..., C) they are of; the last one is the residual."""


@dataclass(frozen=True)
class _Place:
    """What the equations are of, and the state that they are taken at."""

    state: State
    problem: Problem
    fixed: Fixed
    pull: Pull
    matrices: Matrices
    """Of the state."""

    @property
    def flow(self) -> FlowObservations | None:
        """The flow, where it counts."""
        return None if self.pull.flow is None else self.problem.flow


def reduced_blocks(state: State, problem: Problem, fixed: Fixed, pull: Pull) -> Blocks:
    """The normal equations at a state, every depth that is not fixed eliminated.

    The unknowns are numbered as in `tangents`: 7 a view, 7 a pair, the unit, and the residual.
    """
    n_frames, n_pairs = len(state.focal), len(state.pair_scale)
    device = problem.centred.device
    unit = NODE * (n_frames + n_pairs)
    blocks = _view_blocks(_Place(state, problem, fixed, pull, matrices_of(state, problem)))
    spread = torch.arange(NODE, device=device)
    if pull.smooth > 0:
        own = (NODE * torch.arange(n_frames, device=device)[:, None]) + spread
        last = torch.full_like(own[1:, :1], unit + 1)
        steps = smooth_blocks(state, pull.smooth, pull.quiet)
        blocks.append((steps, torch.cat([own[:-1], own[1:], last], dim=1)))
    if pull.pose > 0 and problem.rough is not None:
        poses, nodes_of = pose_blocks(state, problem.rough, pull.pose)
        units = torch.tensor([unit, unit + 1], device=device).expand(len(nodes_of), -1)
        blocks.append((poses, torch.cat([NODE * nodes_of[:, None] + spread, units], dim=1)))
    return blocks


def _view_blocks(at: _Place) -> Blocks:
    """One block a view that anything is known of: its node, its pairs' and its flows' nodes."""
    state, problem, flow = at.state, at.problem, at.flow
    data = problem.pairs
    n_frames, n_pairs = len(state.focal), len(state.pair_scale)
    chains, nodes = [pair_tangents(state, data)], [data.edge + n_frames]
    if flow is not None:
        chains.append(flow_tangents(state, problem, flow))
        nodes.append(flow.sink)
    spread = torch.arange(NODE, device=problem.centred.device)
    units = NODE * (n_frames + n_pairs) + torch.arange(2, device=spread.device)

    def one(view: int) -> Blocks:
        parts = view_slices(view, data, flow)
        other = torch.cat([all_of[part] for all_of, part in zip(nodes, parts, strict=False)])
        if len(other) == 0:
            return []
        chain = torch.cat([all_of[part] for all_of, part in zip(chains, parts, strict=False)])
        # A pair and its mirror see the same other view: its node takes the sum of their columns.
        nodes_of, slot = torch.unique(other, return_inverse=True)
        if len(nodes_of) == len(other):
            nodes_of, slot = other, torch.arange(len(other), device=other.device)
        product = _view_product(view, at, chain, slot)
        index = (NODE * nodes_of[:, None] + spread).flatten()
        return [(product, torch.cat([NODE * view + spread, index, units]))]

    return [block for blocks in for_each_frame(one, n_frames) for block in blocks]


def _view_product(view: int, at: _Place, chain: Tensor, slot: Tensor) -> Tensor:
    """(C, C) products over own node, other nodes, unit, residual; depths eliminated.

    That is what the observations sum to minus b b^T / a over the pixels of free depth, plus the
    products with the unit over those of fixed depth.

    Args:
        view: The view.
        at: Where.
        chain: (K, 16, 15) how the columns of each pair and flow change with the unknowns.
        slot: (K,) which of the other nodes each is with.
    """
    depths, fixed, tie = at.state.depth[view], at.fixed.depth[view], at.pull.tie
    products = chain.new_zeros(len(chain), chain.shape[2], chain.shape[2])
    count = int(slot.max()) + 1
    whole = products.new_zeros((size := NODE * (1 + count) + 2), size)
    spline = _Spline.over(at.problem.surface.basis, size)
    for start in range(0, len(depths), CHUNK):
        px = slice(start, start + CHUNK)
        depth = depths[px]
        summed, across = _observed(view, px, at)
        products += summed
        rows, bent = _columns_with_depth(chain.to(across) @ across, slot, count)
        if tie is not None:
            _, slope, curve = tie.at(view, px).loss(depth)
            rows[-1] += slope
            bent = bent + curve
        unit_depth = torch.where(fixed[px].isnan(), 0.0, depth)
        free = (bent > 0) & (unit_depth == 0)
        if spline is None:
            drop = torch.where(free, bent, torch.inf).reciprocal()
            whole -= (rows * drop) @ rows.mT
        else:
            spline.add(px, rows, bent, torch.where(free, depth, 0.0))
        with_unit = (rows @ unit_depth).to(whole)
        whole[-2] += with_unit
        whole[:, -2] += with_unit
        whole[-2, -2] += (bent * unit_depth.square()).sum()
    if spline is not None:
        whole -= spline.taken()
    grams = (chain @ products @ chain.mT)[:, :BLOCK, :BLOCK]
    place = _places(slot, size)
    return whole.index_put_((place[:, :, None], place[:, None]), grams, accumulate=True)


def _places(slot: Tensor, size: int) -> Tensor:
    """(K, 15) rows of a view's block that own node, other node and residual have."""
    spread = torch.arange(NODE, device=slot.device)
    others = NODE * (1 + slot[:, None]) + spread
    last = torch.full_like(others[:, :1], size - 1)
    return torch.cat([spread.expand_as(others), others, last], dim=1)


@dataclass(frozen=True)
class _Spline:
    """What the coefficients of a view's spline have to do with everything else."""

    basis: Tensor
    """(P, G)."""
    with_others: Tensor
    """(C, G) products of their columns."""
    square: Tensor
    """(G, G) products of their own columns."""

    @staticmethod
    def over(basis: Tensor | None, size: int) -> _Spline | None:
        """Of a basis and so many other unknowns; None where every pixel is free."""
        if basis is None:
            return None
        blank = basis.new_zeros(size + basis.shape[1], basis.shape[1], dtype=torch.float64)
        return _Spline(basis, blank[:size], blank[size:])

    def add(self, px: slice, rows: Tensor, bent: Tensor, slope: Tensor) -> None:
        """Some pixels more.

        Args:
            px: Which.
            rows: (C, p) products of all columns with the depth of each pixel.
            bent: (p,) its product with itself.
            slope: (p,) of the depth by the field; 0 where the depth is fixed.
        """
        columns = self.basis[px] * slope[:, None]
        self.with_others.add_(rows @ columns)
        self.square.add_((columns * bent[:, None]).mT @ columns)

    def taken(self) -> Tensor:
        """(C, C) what eliminating the coefficients takes from the products of the others."""
        diagonal = self.square.diagonal()
        ridge = 1e-6 * diagonal.mean() + 1e-30
        solved: Tensor = torch.linalg.solve(
            self.square + torch.diag(ridge.expand_as(diagonal)), self.with_others.mT
        )
        return self.with_others @ solved


def _observed(view: int, px: slice, at: _Place) -> tuple[Tensor, Tensor]:
    """Products (K, 15, 15) of all observations of some pixels, and (K, 15, P) with their depth."""
    data, flow, pull, known = at.problem.pairs, at.problem.flow, at.pull, at.matrices
    seen, flown = view_slices(view, data, flow)
    depth, rays = at.state.depth[view, px], known.rays[view, :, px]
    points, weight = data.points[seen, :, px], pull.pair * data.weight[seen, px]
    pairs = pair_products(depth, rays, known.pairs[seen], points, pull=weight, quiet=pull.quiet)
    if flow is None or pull.flow is None:
        return pairs
    force = flow.keep[flown, :, px] * flow_share(flow, flown, pull.flow)
    target = flow.target[flown, :, px]
    flows = flow_products(depth, rays, known.flow[flown], target, pull=force)
    return torch.cat([pairs[0], flows[0]]), torch.cat([pairs[1], flows[1]])


def _columns_with_depth(across: Tensor, slot: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Products with the depth of each pixel: of all columns (C, P), and with itself (P,).

    Args:
        across: (K, 16, P) for each observation: own node, other node, residual, depth.
        slot: (K,) which of the other nodes; the first, second, ... if none is met twice.
        count: Other nodes.
    """
    rows = across.new_zeros(NODE * (1 + count) + 2, across.shape[2])
    torch.sum(across[:, :NODE], 0, out=rows[:NODE])
    others = rows[NODE:-2].unflatten(0, (count, NODE))
    if count == len(across):
        others.copy_(across[:, NODE : 2 * NODE])
    else:
        others.index_add_(0, slot, across[:, NODE : 2 * NODE])
    torch.sum(across[:, BLOCK - 1], 0, out=rows[-1])
    return rows, across[:, BLOCK].sum(0)
