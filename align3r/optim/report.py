"""How well the solved cameras and depths explain what was predicted and seen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from align3r.geometry.robust import weighted_median
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
    points, weight = _point_misses(state, problem)
    seen = problem.pairs
    pair_of = [(seen.edge, points, weight)]
    view_of = [(seen.view, points, weight)]
    if problem.flow is not None:
        misses, keep = _flow_misses(state, problem)
        number = _pair_numbers(problem, scene.samples.edges)
        pair_of.append((number, misses, keep))
        view_of.append((problem.flow.source, misses, keep))
    scale, source = path_scale(state, problem, scene.samples.edges)
    whole = [(torch.zeros_like(group), miss, heavy) for group, miss, heavy in view_of]
    return AlignReport(
        edges=scene.samples.edges,
        pair_scale=state.pair_scale.cpu().numpy().astype(np.float64),
        pairs=_residuals(pair_of, len(scene.samples.edges)),
        frames=_residuals(view_of, len(depth)),
        whole=_residuals(whole, 1),
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


def _point_misses(state: State, problem: Problem) -> tuple[Tensor, Tensor]:
    """(S, P) distance of depth points from predicted ones over the depth, and their weight."""
    data = problem.pairs
    predicted = cam_from_pair(state, data) @ data.points
    distance = (camera_points(state, problem)[data.view] - predicted).norm(dim=1)
    return distance / state.depth[data.view], data.weight


def _flow_misses(state: State, problem: Problem) -> tuple[Tensor, Tensor]:
    """(S', P) pixels between where points are seen and where flow says, and 1 where it counts."""
    data = problem.flow
    assert data is not None
    points = camera_points(state, problem)[data.source]
    matrix = pixel_from_source(state, problem, data)
    moved = matrix[:, :, :3] @ points + matrix[:, :, 3:]
    front = moved[:, 2] > 1e-6
    pixel = moved[:, :2] / torch.where(front, moved[:, 2], torch.inf)[:, None]
    return (pixel - data.target).norm(dim=1), data.keep[:, 0] * front


def _pair_numbers(problem: Problem, edges: np.ndarray) -> Tensor:
    """(S',) number of the pair that each flow is of, in either order; -1 for none."""
    data = problem.flow
    assert data is not None
    number = {(j, i): at for at, (i, j) in enumerate(edges.tolist())}
    number |= {(i, j): at for at, (i, j) in enumerate(edges.tolist())}
    ends = zip(data.source.tolist(), data.sink.tolist(), strict=True)
    return torch.tensor([number.get(link, -1) for link in ends], device=data.source.device)


def _residuals(kinds: list[tuple[Tensor, Tensor, Tensor]], count: int) -> Residuals:
    """Medians and inlier shares of each group.

    Args:
        kinds: Of the points and, where there is one, of the flow: number of the group (S,), misses
            (S, P) and weights (S, P).
        count: Groups.
    """
    nears = (NEAR, NEAR_PX)
    found = [_by_group(kind, count, near) for kind, near in zip(kinds, nears, strict=False)]
    unknown = np.full(count, np.nan)
    points = found[0]
    flow = found[1] if len(found) > 1 else (unknown, unknown)
    return Residuals(points[0], points[1], flow[0], flow[1])


def _by_group(
    kind: tuple[Tensor, Tensor, Tensor], count: int, near: float
) -> tuple[np.ndarray, np.ndarray]:
    """(count,) weighted medians and shares of the weight below `near`; nan where there is none."""
    median, share = np.full(count, np.nan), np.full(count, np.nan)
    group, miss, weight = (values.cpu() for values in kind)
    order = group.argsort(stable=True)
    miss, weight = miss[order], weight[order]
    bounds = torch.searchsorted(group[order], torch.arange(count + 1))
    for number, (start, end) in enumerate(pairwise(bounds.tolist())):
        values, heavy = miss[start:end].flatten(), weight[start:end].flatten()
        total = float(heavy.sum())
        if total > 0:
            median[number] = float(weighted_median(values, heavy))
            share[number] = float(heavy[values < near].sum()) / total
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
