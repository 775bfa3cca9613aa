"""Where the solve starts: closed forms, a spanning tree, and medians over all pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from align3r.geometry.rigid import compose, inverse_rigid
from align3r.geometry.robust import weighted_median, weiszfeld_focal
from align3r.optim.consensus import consensus_poses, consensus_scales
from align3r.optim.constraints import anchors
from align3r.optim.fused import FlowObservations
from align3r.optim.resection import resect
from align3r.optim.residuals import Problem
from align3r.optim.sampling import Samples
from align3r.optim.state import MEAN_PAIR_SCALE, Estimate, Fixed

# Share of the pixels with usable flow from which a relative pose relies on it.
ENOUGH_FLOW = 0.1
# Pixels a view that the start looks at; its errors are the predictions', not the sampling's.
START_PIXELS = 768


@dataclass(frozen=True)
class Start:
    """The first estimate."""

    estimate: Estimate
    """In the gauge of the solve."""
    log_unit: float
    """ln of (unit of the fixed values over unit of the solve)."""


def initialise(samples: Samples, problem: Problem, fixed: Fixed, *, shared_focal: bool) -> Start:
    """Focal lengths, poses, depths and pair similarities from the pairs alone.

    Every pair gives a relative pose, depths of both its views and a focal length. The
    maximum-confidence spanning tree chains poses and scales; robust averages over all pairs
    then take out what a single wrong pair did to the tree.

    Args:
        samples: The predictions at the pixels that take part.
        problem: Pixel positions, and flow if there is any.
        fixed: What is known.
        shared_focal: One focal length for all frames.
    """
    centred, n_frames = problem.centred, len(problem.centred)
    thin = slice(None, None, max(1, centred.shape[-1] // START_PIXELS))
    few = Samples(samples.edges, samples.points[:, :, thin], samples.confidence[:, :, thin])
    edges = torch.from_numpy(samples.edges).to(centred.device)
    focal_of_pair = pair_focals(few, centred[..., thin])
    focal = initial_focals(focal_of_pair, samples.edges, centred, shared=shared_focal)
    focal = torch.where(fixed.focal.isnan(), focal, fixed.focal)
    second_from_first = relative_poses(few, problem, focal_of_pair, focal, thin=thin)
    score = few.confidence.mean(-1).prod(-1)
    tree = spanning_tree(samples.edges, score.cpu().numpy(), n_frames)
    log_depth, weight = pair_log_depths(samples, second_from_first)
    log_scale = consensus_scales(
        log_depth[..., thin], weight[..., thin], samples.edges, tree=tree, n_frames=n_frames
    )
    log_scale = log_scale - log_scale.mean() + math.log(MEAN_PAIR_SCALE)
    metric = inverse_rigid(second_from_first)
    metric[:, :3, 3] *= log_scale.exp()[:, None]
    world_from_cam = consensus_poses(metric, edges, score, tree=tree, n_frames=n_frames)
    depth = view_depths(log_depth + log_scale[:, None, None], weight, edges, n_frames)
    base = world_from_cam[edges[:, 0]]
    pair = torch.cat([log_scale.exp()[:, None, None] * base[:, :3, :3], base[:, :3, 3:]], dim=2)
    estimate = Estimate(world_from_cam, focal, depth, pair)
    log_unit = 0.0
    known = anchors(fixed, problem.rough)
    if known.any_pose:
        estimate, log_unit = meet_fixed(estimate, known)
    return Start(estimate, log_unit)


def relative_poses(
    samples: Samples, problem: Problem, focal_of_pair: Tensor, focal: Tensor, *, thin: slice
) -> Tensor:
    """(E, 4, 4) second camera from first, in the unit of each pair.

    Resection of the second camera. Where flow covers the pair: from the first view's depths,
    on its own pixels' rays, and where the flow says they go, which is far sharper than a
    predictor's own idea of the pose. Else from the second view's point map and the focal
    length the pair was made with, so that a wrong focal length does not turn into a step.
    """
    second = torch.from_numpy(samples.edges[:, 1]).to(focal.device)
    pair, sharp = _poses_from_flow(samples, problem, focal, thin)
    rest = torch.ones_like(second, dtype=torch.bool).index_fill(0, pair, False).nonzero()[:, 0]
    slopes = (problem.centred[..., thin][second[rest]] / focal_of_pair[rest, None, None]).mT
    pose = resect(samples.points[rest, 1], slopes, samples.confidence[rest, 1].log())
    return focal.new_zeros(len(second), 4, 4).index_put((rest,), pose).index_put((pair,), sharp)


def _poses_from_flow(
    samples: Samples, problem: Problem, focal: Tensor, thin: slice
) -> tuple[Tensor, Tensor]:
    """The pairs (F,) that enough flow covers, and their (F, 4, 4) second camera from first."""
    none = torch.zeros(0, dtype=torch.int64, device=focal.device), focal.new_zeros(0, 4, 4)
    if problem.flow is None:
        return none
    pair, at = _flow_of_pairs(samples.edges, problem.flow)
    if len(pair) == 0:
        return none
    first, second = torch.from_numpy(samples.edges).to(focal.device)[pair].unbind(1)
    depth = samples.points[pair, 0, :, 2:]
    keep = problem.flow.keep[at][:, 0, thin] * (depth[..., 0] > 0)
    weight = samples.confidence[pair, 0].log() * keep
    enough = (weight > 0).float().mean(1) > ENOUGH_FLOW
    rays = problem.centred[..., thin][first] / focal[first, None, None]
    points = depth * torch.cat([rays, torch.ones_like(rays[:, :1])], dim=1).mT
    stretch = focal.new_tensor([1.0, problem.aspect])
    target = problem.flow.target[at][..., thin].mT / problem.flow.unit
    goal = target * stretch / focal[second, None, None]
    return pair[enough], resect(points[enough], goal[enough], weight[enough])


def _flow_of_pairs(edges: np.ndarray, flow: FlowObservations) -> tuple[Tensor, Tensor]:
    """Pairs that have a flow from their first to their second view, and which flow it is."""
    ends = zip(flow.source.tolist(), flow.sink.tolist(), strict=True)
    number = {link: at for at, link in enumerate(ends)}
    found = [(e, number[i, j]) for e, (i, j) in enumerate(edges.tolist()) if (i, j) in number]
    both = torch.tensor(found, dtype=torch.int64, device=flow.source.device).view(-1, 2)
    return both[:, 0], both[:, 1]


def pair_focals(samples: Samples, centred: Tensor) -> Tensor:
    """(E,) focal length each first-view point map was made with."""
    first = torch.from_numpy(samples.edges[:, 0]).to(centred.device)
    focal = weiszfeld_focal(samples.points[:, 0], centred[first].mT)
    focal = torch.where(focal > 0, focal, torch.full_like(focal, torch.nan))
    typical = focal.nanmedian()
    if not typical.isfinite():  # points at infinity, or all in the camera
        typical = centred.abs().amax() * 2.4
    return torch.where(focal.isnan(), typical, focal)


def initial_focals(
    focal_of_pair: Tensor, edges: np.ndarray, centred: Tensor, *, shared: bool
) -> Tensor:
    """(N,) the median over all pairs, or over the pairs that a frame comes first in.

    A frame that never comes first takes what its nearest neighbour in time has.
    """
    focal = focal_of_pair.median().expand(len(centred)).clone()
    if not shared:
        first = np.unique(edges[:, 0])
        for frame in range(len(centred)):
            nearest = first[np.abs(first - frame).argmin()]
            focal[frame] = focal_of_pair[edges[:, 0] == nearest].median()
    return focal


def spanning_tree(edges: np.ndarray, score: np.ndarray, n_frames: int) -> list[tuple[int, int]]:
    """The tree of the most confident pairs as (edge, frame it reaches), nearest to frame 0 first.

    Of a pair and its mirror the better one is used; ties go to the shorter gap.
    """
    gap = np.abs(edges[:, 0] - edges[:, 1])
    order = np.lexsort((np.arange(len(edges)), gap, -np.round(score, 9)))
    rank = np.empty(len(edges))
    rank[order] = np.arange(1, len(edges) + 1)
    low, high = edges.min(1), edges.max(1)
    best: dict[tuple[int, int], int] = {}
    for edge in order[::-1]:
        best[int(low[edge]), int(high[edge])] = int(edge)
    chosen = list(best.values())
    graph = coo_matrix((rank[chosen], (low[chosen], high[chosen])), shape=(n_frames, n_frames))
    kept = minimum_spanning_tree(graph)
    frames, parent = breadth_first_order(kept, 0, directed=False)
    return [
        (best[min(int(frame), int(parent[frame])), max(int(frame), int(parent[frame]))], int(frame))
        for frame in frames[1:]
    ]


def pair_log_depths(samples: Samples, second_from_first: Tensor) -> tuple[Tensor, Tensor]:
    """(E, 2, P) log z-depth of both views of each pair, in its unit, and what it weighs."""
    turn, move = second_from_first[:, 2:3, :3], second_from_first[:, 2, 3]
    second = (samples.points[:, 1] @ turn.mT).squeeze(-1) + move[:, None]
    depth = torch.stack([samples.points[:, 0, :, 2], second], dim=1)
    # Points of no confidence still have a say where nothing else speaks.
    weight = samples.confidence.log() + 1e-3
    front = depth > 0
    typical = torch.where(front, depth, torch.full_like(depth, torch.nan)).flatten(1).nanmedian(1)
    floor = 1e-3 * typical.values.nan_to_num(nan=1.0)[:, None, None]
    return torch.maximum(depth, floor).log(), torch.where(front, weight, 1e-6 * weight)


def view_depths(log_depth: Tensor, weight: Tensor, edges: Tensor, n_frames: int) -> Tensor:
    """(N, P) depth of each view: weighted median over all pairs it is in."""
    flat, heavy, view = log_depth.flatten(0, 1), weight.flatten(0, 1), edges.flatten()
    return torch.stack(
        [
            weighted_median(flat[view == frame], heavy[view == frame], dim=0)
            for frame in range(n_frames)
        ]
    ).exp()


def meet_fixed(estimate: Estimate, fixed: Fixed) -> tuple[Estimate, float]:
    """Turn and move the estimate so that its cameras meet the known ones, up to the unit."""
    known = ~fixed.world_from_cam[:, 0, 0].isnan()
    goal, have = fixed.world_from_cam[known], estimate.world_from_cam[known]
    unit = _unit_ratio(estimate, fixed, known)
    left, _, right = torch.linalg.svd((goal[:, :3, :3] @ have[:, :3, :3].mT).sum(0))
    flip = torch.ones_like(left[0])
    flip[2] = torch.linalg.det(left @ right).sign()
    turn = (left * flip) @ right
    move = (unit * goal[:, :3, 3] - have[:, :3, 3] @ turn.T).median(0).values
    whole = compose(turn, move)
    pose = whole @ estimate.world_from_cam
    pair = whole[:3, :3] @ estimate.world_from_pair
    pair[:, :, 3] += move
    return Estimate(pose, estimate.focal, estimate.depth, pair), math.log(float(unit))


def _unit_ratio(estimate: Estimate, fixed: Fixed, known: Tensor) -> Tensor:
    """Unit of the fixed values over unit of the estimate: from depths, else from baselines."""
    ratio = (estimate.depth / fixed.depth).log()
    if ratio.isfinite().any():
        return ratio[ratio.isfinite()].median().exp()
    goal = torch.pdist(fixed.world_from_cam[known][:, :3, 3])
    have = torch.pdist(estimate.world_from_cam[known][:, :3, 3])
    usable = (goal > 1e-6 * goal.amax().clamp(min=1e-12)) & (have > 0) if len(goal) else goal > 0
    if not usable.any():
        return goal.new_ones(())  # one camera, or all in one place: nothing tells the unit
    return (have[usable] / goal[usable]).log().median().exp()
