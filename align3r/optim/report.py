"""How well the solved cameras and depths explain what was predicted and seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from align3r.geometry.robust import weighted_median
from align3r.optim.fused import FlowObservations
from align3r.optim.path_scale import path_scale
from align3r.optim.residuals import Problem, cam_from_pair, camera_points, pixel_from_source
from align3r.optim.sampling import Grid, Samples, flow_observations, point_observations
from align3r.optim.stages import Scene
from align3r.optim.state import Estimate, State
from align3r.optim.surface import Surface
from align3r.types import AlignReport, Residuals

PIXELS = 256
"""Pixels a view that the report looks at: shares are good to 2 % a pair."""
NEAR = 0.05
"""An inlier of the pairs is closer to its point than this share of the depth."""
NEAR_PX = 1.0
"""An inlier of the flow misses it by less."""
TRUSTED = 0.05
"""Largest difference of the path's scale from 1 that goes without a warning."""


@dataclass(frozen=True)
class _Misses:
    """How far S observations of one kind miss at P pixels, and whose they are."""

    pair: Tensor
    """(S,) number of the pair, -1 for none."""
    view: Tensor
    """(S,) number of the frame."""
    miss: Tensor
    """(S, P)."""
    weight: Tensor
    """(S, P)."""
    near: float
    """An inlier misses by less."""


def align_report(estimate: Estimate, depth: np.ndarray, scene: Scene) -> AlignReport:
    """Residuals by pair and frame, and the scale of the camera path against that of the depth.

    Args:
        estimate: Cameras and pairs.
        depth: (N, h, w) final depth.
        scene: What was solved; its flows are looked at even where the solve did not use them.
    """
    thin, problem = _thin(scene)
    state = _state(estimate, torch.from_numpy(depth.reshape(len(depth), -1)[:, thin.index]))
    state = State(**{name: value.to(problem.centred) for name, value in vars(state).items()})
    edges = scene.samples.edges
    misses = [_point_misses(state, problem)]
    if problem.flow is not None:
        misses.append(_flow_misses(state, problem, problem.flow, edges))
    scale, source = path_scale(state, problem, edges)
    return AlignReport(
        edges=edges,
        pair_scale=state.pair_scale.cpu().numpy().astype(np.float64),
        pairs=_residuals(misses, lambda seen: seen.pair, len(edges)),
        frames=_residuals(misses, lambda seen: seen.view, len(depth)),
        whole=_residuals(misses, lambda seen: torch.zeros_like(seen.view), 1),
        path_scale=scale,
        path_scale_from=source,
        warnings=_warnings(scale, source, has_flow=problem.flow is not None),
    )


def _thin(scene: Scene) -> tuple[Grid, Problem]:
    """Some pixels of every view, and what was predicted and seen there."""
    count = len(scene.grid.index)
    take = np.sort(np.random.default_rng(0).permutation(count)[:PIXELS])
    pick = torch.from_numpy(take).to(scene.centred.device)
    grid = Grid(scene.grid.index[take], (1, len(take)), scene.grid.size)
    samples = Samples(
        scene.samples.edges, scene.samples.points[:, :, pick], scene.samples.confidence[:, :, pick]
    )
    centred, flow = scene.centred[:, :, pick], None
    if scene.flows is not None:
        plain = centred * centred.new_tensor([1.0, 1.0 / scene.aspect])[:, None]
        flow = flow_observations(scene.flows, plain, grid, scene.static)
    pairs = point_observations(samples, len(centred))
    return grid, Problem(centred, scene.aspect, pairs, flow, Surface(scene.surface.prior[:, pick]))


def _state(estimate: Estimate, depth: Tensor) -> State:
    """The estimate's cameras and pairs with other depths (N, P)."""
    scale = torch.linalg.det(estimate.world_from_pair[:, :, :3]).pow(1 / 3)
    return State(
        depth=depth,
        rotation=estimate.world_from_cam[:, :3, :3],
        translation=estimate.world_from_cam[:, :3, 3],
        focal=estimate.focal,
        pair_scale=scale,
        pair_rotation=estimate.world_from_pair[:, :, :3] / scale[:, None, None],
        pair_translation=estimate.world_from_pair[:, :, 3] / scale[:, None],
    )


def _point_misses(state: State, problem: Problem) -> _Misses:
    """Distances of depth points from predicted ones, over the depth."""
    data = problem.pairs
    predicted = cam_from_pair(state, data) @ data.points
    distance = (camera_points(state, problem)[data.view] - predicted).norm(dim=1)
    relative = distance / state.depth[data.view]
    return _Misses(data.edge, data.view, relative, data.weight, NEAR)


def _flow_misses(
    state: State, problem: Problem, data: FlowObservations, edges: np.ndarray
) -> _Misses:
    """Pixels between where points are seen and where flow says; it weighs 1 where it counts."""
    points = camera_points(state, problem)[data.source]
    matrix = pixel_from_source(state, problem, data)
    moved = matrix[:, :, :3] @ points + matrix[:, :, 3:]
    front = moved[:, 2] > 1e-6
    pixel = moved[:, :2] / torch.where(front, moved[:, 2], torch.inf)[:, None]
    number, miss = _pair_numbers(data, edges), (pixel - data.target).norm(dim=1)
    return _Misses(number, data.source, miss, data.keep[:, 0] * front, NEAR_PX)


def _pair_numbers(data: FlowObservations, edges: np.ndarray) -> Tensor:
    """(S,) number of the pair that each flow is of, in either order; -1 for none."""
    number = {(j, i): at for at, (i, j) in enumerate(edges.tolist())}
    number |= {(i, j): at for at, (i, j) in enumerate(edges.tolist())}
    ends = zip(data.source.tolist(), data.sink.tolist(), strict=True)
    return torch.tensor([number.get(link, -1) for link in ends], device=data.source.device)


def _residuals(misses: list[_Misses], group: Callable[[_Misses], Tensor], count: int) -> Residuals:
    """Medians and inlier shares of each group.

    Args:
        misses: Those of the points and, where there is one, of the flow.
        group: The number of the group of each, (S,).
        count: Groups.
    """
    points, *others = (_by_group(seen, group(seen), count) for seen in misses)
    unknown = np.full(count, np.nan)
    (flow,) = others or [(unknown, unknown)]
    return Residuals(*points, *flow)


def _by_group(seen: _Misses, group: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count,) weighted medians and shares of inliers; nan where there is none."""
    median, share = np.full(count, np.nan), np.full(count, np.nan)
    group = group.cpu()
    order = group.argsort(stable=True)
    miss, weight = seen.miss.cpu()[order], seen.weight.cpu()[order]
    bounds = torch.searchsorted(group[order], torch.arange(count + 1))
    for number, (start, end) in enumerate(pairwise(bounds.tolist())):
        values, heavy = miss[start:end].flatten(), weight[start:end].flatten()
        total = float(heavy.sum())
        if total > 0:
            median[number] = float(weighted_median(values, heavy))
            share[number] = float(heavy[values < seen.near].sum()) / total
    return median, share


def _warnings(scale: float, source: str, *, has_flow: bool) -> tuple[str, ...]:
    """What a person should know before measuring in the result."""
    if np.isnan(scale):
        return ()
    if source == "pairs":
        lack = "the optical flow does not connect all frames" if has_flow else "no optical flow"
        return (
            f"{lack}: nothing tells whether the camera path and the depth have the same "
            f"scale (rough estimate of the depth/path scale: {scale:.2f})",
        )
    if abs(scale - 1) > TRUSTED:
        return (
            f"the camera path and the depth differ in scale: path times {scale:.2f} would fit the "
            "depth; the optical flow has too little say (--align.flow-weight), or is wrong",
        )
    return ()
