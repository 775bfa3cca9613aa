"""How the matrices of the observations move with cameras and pairs: exact, small, float64.

The unknowns are nodes of seven. A view turns and moves in its own frame, R <- R exp[w] and
t <- t + R u, and its focal length grows, ln f <- ln f + g. A pair turns, moves and grows alike:
R <- R exp[w], T <- T + R u, ln s <- ln s + l, where world = s (R X + T).
"""

from __future__ import annotations

from dataclasses import replace

import roma
import torch
from torch import Tensor

from align3r.optim.constraints import RoughPoses
from align3r.optim.fused import FlowObservations, PointObservations
from align3r.optim.linearise import COLUMNS
from align3r.optim.residuals import Problem, cam_from_pair, pixel_from_source
from align3r.optim.state import Fixed, State

NODE = 7
BLOCK = 2 * NODE + 1
"""Own node, other node, residual."""


def crosses(like: Tensor) -> Tensor:
    """(3, 3, 3): for each axis the matrix of the cross product with it from the left."""
    axes = like.new_zeros(3, 3, 3)
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        axes[a, c, b], axes[a, b, c] = 1.0, -1.0
    return axes


def _chain(own: Tensor, other: Tensor) -> Tensor:
    """(S, 16, 15) from the columns of an observation to those of its block, and its depth."""
    chain = own.new_zeros(len(own), BLOCK + 1, COLUMNS)
    chain[:, :NODE, :12] = own.flatten(2)
    chain[:, NODE : 2 * NODE, :12] = other.flatten(2)
    chain[:, NODE - 1, 12] = 1.0
    chain[:, BLOCK - 1, 13] = chain[:, BLOCK, 14] = 1.0
    return chain


def pair_tangents(state: State, data: PointObservations) -> Tensor:
    """(S, 16, 15) chain of each prediction: own node is its view, the other its pair."""
    matrix, cross = cam_from_pair(state, data), crosses(state.rotation)
    own = matrix.new_zeros(len(matrix), NODE, 3, 4)
    own[:, :3] = -cross @ matrix[:, None]
    own[:, 3:6, :, 3] = -torch.eye(3).to(matrix)
    other = torch.zeros_like(own)
    linear = matrix[:, :, :3]
    other[:, :3, :, :3] = linear[:, None] @ cross
    other[:, 3:6, :, 3] = linear.mT
    other[:, 6] = matrix
    camera = state.rotation[data.view].mT @ state.translation[data.view][..., None]
    other[:, 6, :, 3] += camera[..., 0]
    return _chain(own, other)


def flow_tangents(state: State, problem: Problem, data: FlowObservations) -> Tensor:
    """(S, 16, 15) chain of each flow: own node is its source view, the other its target view."""
    matrix, cross = pixel_from_source(state, problem, data), crosses(state.rotation)
    focal = data.unit * state.focal[data.sink]
    stretch = torch.stack([focal, focal / problem.aspect, torch.ones_like(focal)], dim=1)
    own = matrix.new_zeros(len(matrix), NODE, 3, 4)
    own[:, :3, :, :3] = matrix[:, None, :, :3] @ cross
    own[:, 3:6, :, 3] = matrix[:, :, :3].mT
    other = torch.zeros_like(own)
    other[:, :3] = -stretch[:, None, :, None] * (cross @ (matrix / stretch[..., None])[:, None])
    other[:, 3:6, :, 3] = -torch.diag_embed(stretch)
    other[:, 6, :2] = matrix[:, :2]
    return _chain(own, other)


def smooth_blocks(state: State, weight: float, quiet: float) -> Tensor:
    """(N - 1, 15, 15) products of the columns of each step of the trajectory.

    Args:
        state: Cameras.
        weight: Weight of the term.
        quiet: Rounds the length of a step; 1e-4 rounds its turn.
    """
    before, after = state.rotation[:-1], state.rotation[1:]
    turn, cross = before.mT @ after, crosses(before)
    step = state.translation[1:] - state.translation[:-1]
    columns = turn.new_zeros(len(turn), BLOCK, 12)
    columns[:, :3, :9] = (-cross @ turn[:, None]).flatten(2)
    columns[:, NODE : NODE + 3, :9] = (turn[:, None] @ cross).flatten(2)
    columns[:, -1, :9] = (turn - torch.eye(3).to(turn)).flatten(1)
    columns[:, 3:6, 9:] = -before.mT
    columns[:, NODE + 3 : NODE + 6, 9:] = after.mT
    columns[:, -1, 9:] = step
    pull = torch.ones_like(columns[:, -1])
    pull[:, :9] = (columns[:, -1, :9].square().sum(1, keepdim=True) + 1e-8).rsqrt()
    pull[:, 9:] = (step.square().sum(1, keepdim=True) + quiet**2).rsqrt()
    return torch.as_tensor(weight * (columns * pull[:, None]) @ columns.mT)


def pose_blocks(state: State, rough: RoughPoses, weight: float) -> tuple[Tensor, Tensor]:
    """Products (F, 9, 9) of the columns of the roughly known poses: own node, unit, residual.

    Returns:
        The products, and the numbers (F,) of their nodes.
    """
    turn_miss, place_miss = rough.misses(state)
    there = rough.world_from_cam.to(turn_miss)[:, :3, :3].mT @ state.rotation[rough.view]
    turn_share = (2**0.5 * rough.turn.to(turn_miss)).reciprocal()[:, None, None]
    place_share = ((-state.log_unit).exp() / rough.place.to(turn_miss))[:, None]
    columns = turn_miss.new_zeros(len(there), NODE + 2, 12)
    columns[:, :3, :9] = (there[:, None] @ crosses(there)).flatten(2) * turn_share
    columns[:, 3:6, 9:] = state.rotation[rough.view].mT * place_share[..., None]
    columns[:, NODE, 9:] = -state.translation[rough.view] * place_share
    columns[:, -1] = torch.cat([turn_miss, place_miss], dim=1)
    pull = weight / len(state.focal) * (1 + columns[:, -1].square().sum(1)).rsqrt()
    return pull[:, None, None] * columns @ columns.mT, rough.view


def move(state: State, step: Tensor, fixed: Fixed) -> State:
    """The state after a step (7 N + 7 E + 1,), straight along it; known values stay known."""
    n_frames = len(state.focal)
    step = step.to(state.rotation)
    node = step[:-1].view(-1, NODE)
    view, pair = node[:n_frames], node[n_frames:]
    unit = state.log_unit + step[-1]
    known = fixed.world_from_cam[:, 0, 0].isfinite()
    place = state.translation + (state.rotation @ view[:, 3:6, None])[..., 0]
    given = unit.exp() * fixed.world_from_cam[:, :3, 3].nan_to_num()
    depth = torch.where(
        fixed.depth.isnan(), state.depth, (unit.exp() * fixed.depth.nan_to_num()).to(state.depth)
    )
    shift = (state.pair_rotation @ pair[:, 3:6, None])[..., 0]
    return replace(
        state,
        depth=depth,
        rotation=state.rotation @ roma.rotvec_to_rotmat(view[:, :3]),
        translation=torch.where(known[:, None], given, place),
        focal=state.focal * view[:, 6].exp(),
        pair_scale=state.pair_scale * pair[:, 6].exp(),
        pair_rotation=state.pair_rotation @ roma.rotvec_to_rotmat(pair[:, :3]),
        pair_translation=state.pair_translation + shift,
        log_unit=unit,
    )
