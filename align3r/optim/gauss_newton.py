"""The second solver: Gauss-Newton with every depth eliminated (variable projection).

The norms are re-weighted squares (IRLS), the depth of each pixel leaves the normal equations by a
Schur complement, and Levenberg's damping guards every step: one is taken only if the objective,
with depths solved anew, becomes smaller.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from align3r.geometry.rigid import compose
from align3r.optim.best_depth import fit_depths, pull_of
from align3r.optim.eliminate import reduced_blocks
from align3r.optim.journal import Arrays
from align3r.optim.linearise import Pull
from align3r.optim.normal_equations import freedom, normal_equations
from align3r.optim.residuals import TERMS, Problem
from align3r.optim.solve import Recipe, final_losses
from align3r.optim.state import Estimate, Fixed, Raw, State, decode, encode
from align3r.optim.tangents import move

log = logging.getLogger(__name__)

ITERATIONS = 15
TRIES = 6
ENOUGH = 1e-5
"""Relative decrease of the objective below which it has converged."""
QUIET = 1e-4
"""Residual, in median depths, below which a norm is rounded."""
WITHOUT_FLOW = 2
"""Iterations before the flow term joins: it needs cameras that are nearly right."""
DAMPING = (1e-4, 1e-8, 1e4)
"""First, least and most."""


def gauss_newton(
    raw: Raw,
    problem: Problem,
    fixed: Fixed,
    recipe: Recipe,
    *,
    resume: Arrays | None = None,
    save: Callable[[Arrays], None] | None = None,
    tick: Callable[[int], None] | None = None,
) -> tuple[Raw, dict[str, float]]:
    """Minimise the objective that `adam` minimises, from the same start.

    Takes a dozen iterations where Adam takes hundreds; `recipe.steps` is only what progress is
    counted in.

    Args:
        raw: Starting values of the raw parameters.
        problem: Data.
        fixed: What is not solved for.
        recipe: Parametrisation and weights.
        resume: Arrays handed to `save` before; an unfinished solve begins anew from `raw`.
        save: Called once, at the end.
        tick: Called after each iteration with the share of `recipe.steps` that is done.

    Returns:
        Final raw parameters, final value of each term and their weighted `total`.

    Raises:
        SolveError: The objective is not finite.
    """
    if resume is None or int(resume["step"]) < recipe.steps:
        raw = _minimise(raw, problem, fixed, recipe, tick=tick or (lambda done: None))
        if save:
            found = {f"value/{name}": value.cpu().numpy() for name, value in raw.items()}
            save({"step": np.array(recipe.steps), **found})
        if tick:
            tick(recipe.steps)
    return raw, final_losses(raw, problem, fixed, recipe, hint="use --align.solver adam")


def _minimise(
    raw: Raw, problem: Problem, fixed: Fixed, recipe: Recipe, *, tick: Callable[[int], None]
) -> Raw:
    """The raw parameters at the minimum."""
    fixed = fixed.to(torch.float64)
    fine = {name: value.double() for name, value in raw.items()}
    state = decode(fine, fixed, geometry=recipe.geometry, prior=problem.prior.double())
    state = replace(state, depth=state.depth.to(problem.centred))
    shared = raw["focal"].shape[0] == 1
    quiet = QUIET * float(state.depth.median())
    damping, least, most = DAMPING
    phases = [(recipe.weights, ITERATIONS)]
    if "flow" in recipe.weights:
        early = {name: weight for name, weight in recipe.weights.items() if name != "flow"}
        phases = [(early, WITHOUT_FLOW), (recipe.weights, ITERATIONS - WITHOUT_FLOW)]
    done = 0
    pin = _heaviest_pair(problem)
    for weights, iterations in phases:
        plan = None
        now = _visit(state, problem, fixed, weights, quiet=quiet)
        for _ in range(iterations):
            anchored = problem.rough is not None
            free = freedom(now.state, fixed, pin=pin, shared_focal=shared, anchored=anchored)
            blocks = reduced_blocks(now.state, problem, fixed, now.pull)
            system = normal_equations(blocks, free, plan)
            plan = system.plan
            before = now.value
            for _ in range(TRIES):
                step = system.step(damping)
                if step is not None:
                    moved = move(now.state, step, fixed)
                    trial = _visit(moved, problem, fixed, weights, quiet=quiet, pull=now.pull)
                    if trial.value < before:
                        now, damping = trial, max(damping / 10, least)
                        break
                damping = min(damping * 10, most)
            done += 1
            log.debug("iteration %d: objective %.6f, damping %.1g", done, now.value, damping)
            tick(recipe.steps * done // (ITERATIONS + 1))
            if not before - now.value > ENOUGH * before:
                break
        state = now.state
    return _encode(state, problem, shared_focal=shared, dtype=raw["focal"].dtype)


def _heaviest_pair(problem: Problem) -> int:
    """The pair whose predictions have the most weight."""
    data = problem.pairs
    total = data.weight.new_zeros(len(data.edge) // 2)
    return int(total.index_add_(0, data.edge, data.weight.sum(1)).argmax())


@dataclass(frozen=True)
class _Visit:
    """A state with the best depths for its cameras and pairs."""

    state: State
    value: float
    """Of the objective."""
    pull: Pull
    """What observations count there."""


def _visit(
    state: State,
    problem: Problem,
    fixed: Fixed,
    weights: dict[str, float],
    *,
    quiet: float,
    pull: Pull | None = None,
) -> _Visit:
    """Solve for the depths of a state, with the say of each flow as it was at the last one."""
    if pull is None:
        pull = pull_of(None, problem, weights, quiet=quiet)
        _, tally = fit_depths(state, problem, fixed, pull, steps=0)
        pull = pull_of(tally, problem, weights, quiet=quiet)
    depth, tally = fit_depths(state, problem, fixed, pull)
    state = replace(state, depth=depth)
    large = tally.terms(problem)
    value = sum(
        weight * (large[name] if name in large else float(TERMS[name](state, problem)))
        for name, weight in weights.items()
    )
    return _Visit(state, value, pull_of(tally, problem, weights, quiet=quiet))


def _encode(state: State, problem: Problem, *, shared_focal: bool, dtype: torch.dtype) -> Raw:
    """Raw parameters of a state."""
    scale = state.pair_scale[:, None, None]
    pair = scale * torch.cat([state.pair_rotation, state.pair_translation[..., None]], dim=2)
    pose = compose(state.rotation, state.translation)
    estimate = Estimate(pose, state.focal, state.depth.double(), pair)
    prior = problem.prior.double()
    log_unit = float(state.log_unit)
    log_unit = log_unit if math.isfinite(log_unit) else 0.0
    raw = encode(estimate, prior=prior, shared_focal=shared_focal, log_unit=log_unit)
    return {name: value.to(dtype) for name, value in raw.items()}
