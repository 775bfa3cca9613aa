"""Depth, out of the way: the normal equations without it, and the best depth given the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.fused import FlowObservations
from align3r.optim.linearise import (
    Pull,
    Ray,
    flow_counts,
    flow_products,
    pair_products,
    ray_losses,
    view_slices,
)
from align3r.optim.residuals import Problem, cam_from_pair, pixel_from_source
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import (
    BLOCK,
    NODE,
    flow_tangents,
    pair_tangents,
    pose_blocks,
    smooth_blocks,
)

CHUNK = 1024
"""Pixels a view at a time, so that their columns stay in cache."""
DEPTH_STEPS = 6

Blocks = list[tuple[Tensor, Tensor]]
"""Products (..., C, C) and the unknowns (..., C) they are of; the last one is the residual."""


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


def pull_of(state: State, problem: Problem, weights: dict[str, float], *, quiet: float) -> Pull:
    """What each observation counts in the objective with these weights."""
    data = problem.pairs
    flow = torch.zeros(2, dtype=torch.float64)
    if problem.flow is not None and "flow" in weights:
        found = matrices_of(state, problem)
        count = flow_counts(state.depth, found.flow, found.rays, problem.flow)
        flow = weights["flow"] / count.clamp(min=1.0)
    return Pull(
        pair=weights["pair"] / (len(data.edge) // 2 * data.weight.shape[1]),
        flow=flow,
        smooth=weights.get("smooth", 0.0),
        quiet=quiet,
        pose=weights.get("pose", 0.0),
    )


def _flow_pull(data: FlowObservations, here: slice, pull: Pull) -> Tensor:
    """(L, 1, P) weight of each flow."""
    share = pull.flow.to(data.keep)[data.backward_flow[here].long()]
    return data.keep[here] * share[:, None, None]


def reduced_blocks(state: State, problem: Problem, fixed: Fixed, pull: Pull) -> Blocks:
    """The normal equations at a state, every depth that is not fixed eliminated.

    The unknowns are numbered as in `tangents`: 7 a view, 7 a pair, the unit, and the residual.
    """
    found, flow, data = matrices_of(state, problem), problem.flow, problem.pairs
    n_frames, n_pairs = len(state.focal), len(state.pair_scale)
    device = problem.centred.device
    spread = torch.arange(NODE, device=device)
    unit = NODE * (n_frames + n_pairs)
    chains = [pair_tangents(state, data)]
    nodes = [data.edge + n_frames]
    if flow is not None:
        chains.append(flow_tangents(state, problem, flow))
        nodes.append(flow.sink)
    blocks: Blocks = []
    for view in range(n_frames):
        parts = view_slices(view, data, flow)
        chain = torch.cat([all_of[part] for all_of, part in zip(chains, parts, strict=False)])
        other = torch.cat([all_of[part] for all_of, part in zip(nodes, parts, strict=False)])
        if len(other) == 0:
            continue
        gram, schur = _view_products(view, (state, problem, fixed, pull), found, chain)
        own = (NODE * view + spread).expand(len(other), -1)
        others = NODE * other[:, None] + spread
        last = torch.full_like(others[:, :1], unit + 1)
        blocks.append((gram, torch.cat([own, others, last], dim=1)))
        units = last[0].new_tensor([unit, unit + 1])
        blocks.append((schur, torch.cat([own[0], others.flatten(), units])))
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


def _view_products(
    view: int, inputs: tuple[State, Problem, Fixed, Pull], found: Matrices, chain: Tensor
) -> tuple[Tensor, Tensor]:
    """Products (K, 15, 15) of the observations of a view, and what its depths take from them.

    The second is over own node, other nodes, unit, residual: minus b b^T / a summed over the
    pixels of free depth, plus the products with the unit over those of fixed depth.
    """
    state, problem, fixed, pull = inputs
    seen, flown = view_slices(view, problem.pairs, problem.flow)
    data, flow = problem.pairs, problem.flow
    own_from = chain.to(found.rays)
    products = chain.new_zeros(len(chain), chain.shape[2], chain.shape[2])
    size = NODE * (1 + len(chain)) + 2
    schur = products.new_zeros(size, size)
    for start in range(0, problem.centred.shape[-1], CHUNK):
        px = slice(start, start + CHUNK)
        depth, rays = state.depth[view, px], found.rays[view, :, px]
        weight = pull.pair * data.weight[seen, px]
        both = [
            pair_products(
                depth,
                rays,
                found.pairs[seen],
                data.points[seen, :, px],
                weight,
                quiet=pull.quiet,
            )
        ]
        if flow is not None:
            force = _flow_pull(flow, flown, pull)[..., px]
            target = flow.target[flown, :, px]
            both.append(flow_products(depth, rays, found.flow[flown], target, force))
        products += torch.cat([summed for summed, _ in both]).to(products)
        across = own_from @ torch.cat([with_depth for _, with_depth in both])
        unit_depth = torch.where(fixed.depth[view, px].isnan(), 0.0, depth)
        bent = across[:, BLOCK].sum(0)
        free = (bent > 0) & (unit_depth == 0)
        drop = torch.where(free, bent, torch.inf).reciprocal()
        rows = torch.cat(
            [
                across[:, :NODE].sum(0),
                across[:, NODE : 2 * NODE].flatten(0, 1),
                torch.zeros_like(bent)[None],
                across[:, BLOCK - 1].sum(0)[None],
            ]
        )
        schur -= ((rows * drop) @ rows.mT).to(schur)
        with_unit = (rows @ unit_depth).to(schur)
        schur[-2] += with_unit
        schur[:, -2] += with_unit
        schur[-2, -2] += (bent * unit_depth.square()).sum()
    whole = chain @ products @ chain.mT
    return whole[:, :BLOCK, :BLOCK], schur


def best_depth(state: State, problem: Problem, fixed: Fixed, pull: Pull) -> Tensor:
    """(N, P) depths that minimise the objective for given cameras and pairs.

    Separable: every pixel is re-weighted a few times on its own, never to a worse depth; a step
    that fails is halved.
    """
    found, depths = matrices_of(state, problem), []
    for view in range(len(state.depth)):
        seen, flown = view_slices(view, problem.pairs, problem.flow)
        rays, data, flow = found.rays[view], problem.pairs, problem.flow
        predicted = (found.pairs[seen], data.points[seen], pull.pair * data.weight[seen])
        moved = None
        if flow is not None and float(pull.flow.sum()) > 0:
            moved = (found.flow[flown], flow.target[flown], _flow_pull(flow, flown, pull))
        ray = ray_losses(rays, predicted, moved, quiet=pull.quiet)
        depths.append(_descend(ray, state.depth[view]))
    return torch.where(fixed.depth.isnan(), torch.stack(depths), state.depth)


def _descend(ray: Ray, start: Tensor) -> Tensor:
    """(P,) depths of a lower loss."""
    floor = 1e-3 * start.median()
    best, depth = start, start
    loss, slope, curve = ray.loss(start)
    step = _step(slope, curve)
    for _ in range(DEPTH_STEPS):
        depth = (best + step).clamp(min=floor)
        value, slope, curve = ray.loss(depth)
        good = value < loss
        step = torch.where(good, _step(slope, curve), 0.5 * step)
        best, loss = torch.where(good, depth, best), torch.where(good, value, loss)
    return best


def _step(slope: Tensor, curve: Tensor) -> Tensor:
    """Minus slope over curvature, nothing where there is none."""
    return -slope / torch.where(curve > 0, curve, torch.inf)
