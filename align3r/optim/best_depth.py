"""The best depth of every pixel for given cameras and pairs, and the objective there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.linearise import Pull, matrices_of
from align3r.optim.rays import descend, ray_of
from align3r.optim.residuals import Problem
from align3r.optim.state import Fixed, State
from align3r.optim.threads import for_each_frame

DEPTH_STEPS = 4


@dataclass(frozen=True)
class Tally:
    """The sums that the large terms of the objective are means of."""

    pair: Tensor
    """() weighted distances."""
    flow: Tensor
    """(2,) Huber losses of forward and of backward flows."""
    count: Tensor
    """(2,) components that these are of."""

    def terms(self, problem: Problem, *, switch_off: float = 50.0) -> dict[str, float]:
        """The terms `pair` and `flow`; the flow term is zero while it exceeds `switch_off`."""
        data = problem.pairs
        flow = float((self.flow / self.count.clamp(min=1.0)).sum())
        return {
            "pair": float(self.pair) / (len(data.edge) // 2 * data.weight.shape[1]),
            "flow": 0.0 if flow > switch_off else flow,
        }


def pull_of(
    state: State,
    tally: Tally | None,
    problem: Problem,
    weights: dict[str, float],
    *,
    quiet: float,
) -> Pull:
    """What each observation counts in the objective with these weights.

    Args:
        state: Where the objective is looked at.
        tally: Of the state, for the number of flows; None: flow has no say yet.
        problem: Data.
        weights: Of the terms by name.
        quiet: Rounds the Euclidean norms.
    """
    data, flow, tie = problem.pairs, None, None
    if problem.near is not None and "prior" in weights:
        tie = problem.near.tie(state.depth, weights["prior"])
    if problem.flow is not None and "flow" in weights:
        flow = torch.zeros(2, dtype=torch.float64, device=problem.centred.device)
        if tally is not None and tally.terms(problem)["flow"] > 0:
            flow = weights["flow"] / tally.count.clamp(min=1.0)
    return Pull(
        pair=weights["pair"] / (len(data.edge) // 2 * data.weight.shape[1]),
        flow=flow,
        smooth=weights.get("smooth", 0.0),
        quiet=quiet,
        pose=weights.get("pose", 0.0),
        tie=tie,
    )


def fit_depths(
    state: State, problem: Problem, fixed: Fixed, pull: Pull, *, steps: int = DEPTH_STEPS
) -> tuple[Tensor, Tally]:
    """Depths (N, P) that minimise the objective for given cameras and pairs, and their sums.

    Separable: every pixel is re-weighted a few times on its own, never to a worse depth; a step
    that fails is halved.
    """
    found, data = matrices_of(state, problem), problem.pairs
    free = fixed.depth.isnan()

    def one(view: int) -> tuple[Tensor, Tensor]:
        ray = ray_of(view, problem, found, pull)
        best = descend(ray, state.depth[view], problem.surface.row(view), steps)
        depth = torch.where(free[view], best, state.depth[view])
        sums = torch.zeros(5, dtype=torch.float64, device=depth.device)
        sums[0] = ray.distance(depth)
        if ray.sight is not None and problem.flow is not None:
            start, middle, _ = problem.flow.spans[view]
            for column, summed in enumerate(ray.sight.sums(depth)):
                sums[2 * column + 1] = summed[: middle - start].sum(dtype=torch.float64)
                sums[2 * column + 2] = summed[middle - start :].sum(dtype=torch.float64)
        return depth, sums

    fitted = for_each_frame(one, len(data.spans))
    sums = torch.stack([summed for _, summed in fitted]).sum(0)
    depth = torch.stack([depth for depth, _ in fitted])
    return depth, Tally(pair=sums[0], flow=sums[1:3], count=sums[3:])
