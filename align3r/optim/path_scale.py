"""The scale of the camera path against the scale of the depth, measured without truth.

Point maps of pairs leave translations badly determined: a path twice too long costs them little.
Depth and flow together know each baseline in the unit of the depth, so they are asked: every pair
has its second camera resected anew from the first view's depth and where the flow says it goes.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix, identity
from scipy.sparse.linalg import splu
from torch import Tensor

from align3r.geometry.rigid import similarity_registration
from align3r.geometry.robust import weighted_median
from align3r.optim.resection import resect
from align3r.optim.residuals import Problem, camera_points
from align3r.optim.sampling import parts
from align3r.optim.state import State
from align3r.types import ScaleSource

CHUNK = 512
"""Pairs that are resected together."""
REWEIGHTINGS = 8
STILL = 2e-3
"""Spread of the cameras, in median depths, below which a path has no scale."""
RESECTION = (128, 10)
"""Pixels and Gauss-Newton steps of a resection; its errors average out over the pairs."""
ENOUGH = 0.1
"""Share of the pixels of a view that the flow must count at."""


def path_scale(state: State, problem: Problem, edges: np.ndarray) -> tuple[float, ScaleSource]:
    """The factor on all camera positions that makes them fit the depth, and what it is from.

    1 where they agree, 0.5 where the path is twice too long. Without flow the pairs' own relative
    poses are all there is; they are noisy. nan where the camera stands still, as solved or as the
    flow has it.
    """
    still = STILL * float(state.depth.median())
    if _spread(state.translation) < still:
        return float("nan"), "none"
    if problem.flow is not None:
        ends, steps = _steps_of_flow(state, problem)
        if _linked(ends, len(state.focal)):
            path = _path(ends, steps, len(state.focal))
            if _spread(path) < still:
                return float("nan"), "none"
            scale, _, _ = similarity_registration(state.translation.double().cpu(), path)
            return float(scale), "flow"
    return _scale_of_pairs(state, problem, edges), "pairs"


def _spread(places: Tensor) -> float:
    """Root mean square distance of positions (N, 3) from their mean."""
    return float((places - places.mean(0)).norm(dim=1).square().mean().sqrt())


def _steps_of_flow(state: State, problem: Problem) -> tuple[Tensor, Tensor]:
    """(M, 2) source and target view, and (M, 3) source minus target position by depth and flow."""
    data = problem.flow
    assert data is not None
    use = (~data.backward_flow & (data.keep.mean((1, 2)) > ENOUGH)).nonzero()[:, 0]
    points, stretch = camera_points(state, problem), state.focal.new_tensor([1.0, problem.aspect])
    pixels, steps_each = RESECTION
    thin = slice(None, None, max(1, points.shape[2] // pixels))
    steps = []
    for some in use.split(CHUNK):
        source, sink = data.source[some], data.sink[some]
        slopes = data.target[some, :, thin].mT / data.unit * stretch / state.focal[sink, None, None]
        seen, keep = points[source][..., thin].mT, data.keep[some, 0, thin]
        pose = resect(seen, slopes, keep, steps=steps_each)
        steps.append((state.rotation[sink] @ pose[:, :3, 3:])[..., 0])
    ends = torch.stack([data.source[use], data.sink[use]], dim=1)
    return ends, torch.cat(steps) if steps else points.new_zeros(0, 3)


def _linked(ends: Tensor, n_frames: int) -> bool:
    """Whether the pairs (M, 2) connect all frames."""
    return len(ends) > 0 and parts(ends.cpu().numpy(), n_frames)[0] == 1


def _path(ends: Tensor, steps: Tensor, n_frames: int) -> Tensor:
    """(N, 3) positions whose differences are the steps, in the robust least-squares sense."""
    here, there = ends.cpu().numpy().T
    wanted = steps.double().cpu().numpy()
    weight = np.ones(len(here))
    rows = np.arange(len(here))
    differ = coo_matrix(
        (
            np.repeat([1.0, -1.0], len(here)),
            (np.tile(rows, 2), np.concatenate([here, there])),
        ),
        shape=(len(here), n_frames),
    ).tocsr()
    place = np.zeros((n_frames, 3))
    for _ in range(REWEIGHTINGS):
        heavy = differ.multiply(weight[:, None]).tocsr()
        # The faint pull to the origin takes the place of the missing anchor.
        system = (heavy.T @ differ + 1e-9 * identity(n_frames)).tocsc()
        place = splu(system).solve(heavy.T @ wanted)
        miss = np.linalg.norm(differ @ place - wanted, axis=1)
        limit = 1.5 * np.median(miss) + 1e-12
        weight = limit / np.maximum(miss, limit)
    return torch.from_numpy(place)


def _scale_of_pairs(state: State, problem: Problem, edges: np.ndarray) -> float:
    """The factor that makes solved baselines those within the pairs, in least squares."""
    data, pairs = problem.pairs, torch.from_numpy(edges).to(state.focal.device)
    n_pairs = len(pairs)
    side = (data.view != pairs[data.edge, 0]).long()
    order = (2 * data.edge + side).argsort()
    points = data.points[order].view(n_pairs, 2, 4, -1)[:, :, :3]
    weight = data.weight[order].view(n_pairs, 2, -1)
    first, second = pairs.unbind(1)
    slopes = (problem.centred[second] / state.focal[second, None, None]).mT
    apart = state.translation[first] - state.translation[second]
    baseline = (state.rotation[second].mT @ apart[..., None])[..., 0]
    depth = (state.depth[first] / points[:, 0, 2].clamp(min=1e-9)).log()
    unit = weighted_median(depth, weight[:, 0]).exp()
    own = torch.cat(
        [
            resect(points[some, 1].mT, slopes[some], weight[some, 1])
            for some in torch.arange(n_pairs, device=first.device).split(CHUNK)
        ]
    )
    own_baseline = own[:, :3, 3] * unit[:, None]
    return float((own_baseline * baseline).sum() / baseline.square().sum())
