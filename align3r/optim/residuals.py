"""The terms of the objective, as pure functions of the state and the problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.constraints import RoughPoses, rough_distance
from align3r.optim.depth_prior import DepthPrior
from align3r.optim.fused import (
    Distance,
    FlowObservations,
    PointObservations,
    flow_mean,
    pair_sum,
)
from align3r.optim.state import State
from align3r.optim.surface import Surface

WEIGHT_FROM: dict[str, Callable[[Tensor], Tensor]] = {
    "log": torch.log,
    "sqrt": torch.sqrt,
    "m1": lambda confidence: confidence - 1.0,
    "id": lambda confidence: confidence,
}
"""What a confidence weighs; `log` gives none to a confidence of 1."""


@dataclass(frozen=True)
class Problem:
    """The constants of one solve: N frames, E pairs, P pixels a view."""

    centred: Tensor
    """(N, 2, P) pixel minus principal point, y in units of the horizontal focal length."""
    aspect: float
    """Horizontal over vertical focal length."""
    pairs: PointObservations
    flow: FlowObservations | None
    """None where there is no flow or no use for it."""
    surface: Surface
    """Which depths there are."""
    rough: RoughPoses | None = None
    """Poses that are known roughly."""
    near: DepthPrior | None = None
    """Depths that the prior term keeps near."""


Term = Callable[[State, Problem], Tensor]


def camera_points(state: State, problem: Problem) -> Tensor:
    """(N, 3, P) points of the depth maps in their own cameras."""
    sideways = problem.centred * (state.depth / state.focal[:, None])[:, None]
    return torch.cat([sideways, state.depth[:, None]], dim=1)


def cam_from_pair(state: State, data: PointObservations) -> Tensor:
    """(S, 3, 4) camera of the view from the frame of the pair, scale included."""
    view, edge = data.view, data.edge
    cam_from_world = state.rotation[view].mT
    scale = state.pair_scale[edge][:, None, None]
    turn = cam_from_world @ state.pair_rotation[edge] * scale
    place = scale * state.pair_translation[edge][..., None] - state.translation[view][..., None]
    return torch.cat([turn, cam_from_world @ place], dim=2)


def pair_term(state: State, problem: Problem, *, dist: Distance = "l1") -> Tensor:
    """Confidence-weighted distance of depth points from pair predictions.

    Mean over all pixels of all pairs, summed over the two views; the Euclidean norm (l1) or its
    square (l2).
    """
    data = problem.pairs
    total = pair_sum(camera_points(state, problem), cam_from_pair(state, data), data, dist=dist)
    return total / (len(data.edge) // 2 * data.weight.shape[1])


def pixel_from_source(state: State, problem: Problem, data: FlowObservations) -> Tensor:
    """(S, 3, 4) projection of points of the source camera into the target view, term's pixels."""
    sink_from_world = state.rotation[data.sink].mT
    turn = sink_from_world @ state.rotation[data.source]
    step = state.translation[data.source] - state.translation[data.sink]
    focal = data.unit * state.focal[data.sink]
    stretch = torch.stack([focal, focal / problem.aspect, torch.ones_like(focal)], dim=1)
    matrix = torch.cat([turn, sink_from_world @ step[..., None]], dim=2)
    projection: Tensor = stretch[..., None] * matrix
    return projection


def flow_term(
    state: State, problem: Problem, *, pixel_threshold: float = 50.0, switch_off: float = 50.0
) -> Tensor:
    """Huber distance, in the term's pixels, of the flow of a static scene from the flow seen.

    Only static pixels of the source view. The whole term is zero while it exceeds `switch_off`:
    a scene that is still far away would be torn by it.
    """
    if problem.flow is None:
        return state.depth.new_zeros(())
    matrix = pixel_from_source(state, problem, problem.flow)
    value = flow_mean(
        camera_points(state, problem), matrix, problem.flow, pixel_threshold=pixel_threshold
    )
    return torch.where(value > switch_off, torch.zeros_like(value), value)


def smooth_term(
    state: State, problem: Problem | None = None, *, translation_weight: float = 1.0
) -> Tensor:
    """Length of the trajectory: |R - I| of every step plus its translation in the camera."""
    from_previous = state.rotation[:-1].mT
    eye = torch.eye(3, dtype=from_previous.dtype, device=from_previous.device)
    turn = (from_previous @ state.rotation[1:] - eye).flatten(1).norm(dim=1)
    step = (state.translation[1:] - state.translation[:-1]).norm(dim=1)
    length: Tensor = (turn + translation_weight * step).sum()
    return length


def pose_term(state: State, problem: Problem) -> Tensor:
    """Distance of cameras from their roughly known poses, in standard deviations, robust."""
    if problem.rough is None:
        return state.depth.new_zeros(())
    return rough_distance(state, problem.rough)


def prior_term(state: State, problem: Problem) -> Tensor:
    """Mean square of ln depth from its prior, one scale a view taken out; moving pixels twice."""
    if problem.near is None:
        return state.depth.new_zeros(())
    return problem.near.distance(state.depth)


TERMS: dict[str, Term] = {
    "pair": pair_term,
    "flow": flow_term,
    "smooth": smooth_term,
    "pose": pose_term,
    "prior": prior_term,
}


def objective(
    state: State, problem: Problem, weights: dict[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the named terms, and each term unweighted."""
    parts = {name: TERMS[name](state, problem) for name in weights}
    total = sum((weights[name] * value for name, value in parts.items()), parts["pair"] * 0)
    return total, parts
