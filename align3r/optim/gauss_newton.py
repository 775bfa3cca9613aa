"""The default solver: Gauss-Newton with every depth eliminated (variable projection).

The norms are re-weighted squares (IRLS), the depth of each pixel leaves the normal equations by a
Schur complement, and Levenberg's damping guards every step: one is taken only if the objective,
with depths solved anew, becomes smaller.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from align3r.errors import SolveError
from align3r.geometry.rigid import compose
from align3r.optim.best_depth import fit_depths, pull_of
from align3r.optim.eliminate import reduced_blocks
from align3r.optim.fronts import Plan
from align3r.optim.journal import Arrays
from align3r.optim.linearise import Pull
from align3r.optim.normal_equations import freedom, normal_equations
from align3r.optim.path import Path
from align3r.optim.residuals import TERMS, Problem
from align3r.optim.solve import Recipe, final_losses
from align3r.optim.state import Estimate, Fixed, Raw, State, decode, encode

log = logging.getLogger(__name__)

ITERATIONS = 15
TRIES = 6
ENOUGH = 3e-5
"""Relative decrease of the objective below which it has converged."""
QUIET = 1e-4
"""Residual, in median depths, below which a norm is rounded."""
WITHOUT_FLOW = 2
"""Iterations before the flow term joins: it needs cameras that are nearly right."""
DAMPING = (1e-4, 1e-8, 1e4)
"""First, least and most."""
STRETCH = 1.4
"""Times the step of re-weighted squares, once one has been good: their curvature is that of a
majoriser, larger than the objective's."""
FOCALS = (0.03, 400.0)
"""Shortest and longest, in half image sides: predictions of nothing would go on without end."""


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
        resume: Arrays handed to `save` before, to go on from there.
        save: Called after each iteration and at the end.
        tick: Called after each iteration with the share of `recipe.steps` that is done.

    Returns:
        Final raw parameters, final value of each term and their weighted `total`.

    Raises:
        SolveError: The objective is not finite, or no prediction has any weight.
    """
    if resume is None or int(resume["step"]) < recipe.steps:
        solve = _Solve(problem, fixed.to(torch.float64), recipe, raw["focal"].shape[0] == 1)
        at = solve.restored(resume) if resume else solve.start(raw)
        while not at.finished:
            at = solve.iterate(at)
            step = recipe.steps * at.done // (ITERATIONS + 1)
            if save and not at.finished:
                save({"step": np.array(step), **solve.snapshot(at)})
            if tick:
                tick(step)
        raw = solve.encoded(at.visit.state)
        if save:
            save({"step": np.array(recipe.steps), **_values(raw)})
        if tick:
            tick(recipe.steps)
    return raw, final_losses(raw, problem, fixed, recipe, hint="use --align.solver adam")


@dataclass(frozen=True)
class _Visit:
    """A state with the best depths for its cameras and pairs."""

    state: State
    value: float
    """Of the objective."""
    pull: Pull
    """What observations count there."""


@dataclass(frozen=True)
class _Stand:
    """Where a solve stands after an iteration."""

    visit: _Visit
    damping: float
    least: float
    """Least damping to try: what failed once is not tried again."""
    done: int
    """Iterations."""
    early: bool
    """The flow term has not joined yet."""
    finished: bool = False
    plan: Plan | None = None
    """Of the normal equations."""


@dataclass(frozen=True)
class _Solve:
    """One solve: everything that does not change."""

    problem: Problem
    fixed: Fixed
    """Float64."""
    recipe: Recipe
    shared_focal: bool

    def start(self, raw: Raw) -> _Stand:
        """Before the first iteration.

        Raises:
            SolveError: No prediction has any weight.
        """
        if not self._pair_weight.any():
            raise SolveError(
                f"all {len(self._pair_weight)} pairs have a confidence of 1 everywhere: "
                "there is nothing to align",
                hint="this is a fault of the pair predictor, or the frames show nothing",
            )
        fine = {name: value.double() for name, value in raw.items()}
        state = decode(fine, self.fixed, self.problem.surface.to(torch.float64))
        state = replace(state, depth=state.depth.to(self.problem.centred))
        quiet = QUIET * float(state.depth.median())
        early = "flow" in self.recipe.weights and not self.recipe.warm
        return _Stand(self._arrive(state, quiet, early=early), *DAMPING[:2], 0, early)

    def iterate(self, at: _Stand) -> _Stand:
        """One step, as long as the damping allows that makes the objective smaller."""
        now, damping, least, most = at.visit, at.damping, at.least, DAMPING[2]
        free = freedom(
            now.state,
            self.fixed,
            pair_weight=self._pair_weight,
            shared_focal=self.shared_focal,
            anchored=self.problem.rough is not None,
        )
        system = normal_equations(
            reduced_blocks(now.state, self.problem, self.fixed, now.pull), free, at.plan
        )
        for _ in range(TRIES):
            step = system.step(damping)
            if step is not None:
                length = STRETCH if damping < DAMPING[0] else 1.0
                moved = self._path.move(now.state, length * step, self.fixed)
                trial = self._visit(moved, now.pull, early=at.early)
                if trial.value < now.value and self._is_lens(trial.state):
                    now, damping = trial, max(damping / 10, least)
                    break
            damping = least = min(damping * 10, most)
        done = at.done + 1
        log.debug("iteration %d: objective %.6f, damping %.1g", done, now.value, damping)
        converged = not at.visit.value - now.value > ENOUGH * at.visit.value
        if at.early and (converged or done >= WITHOUT_FLOW):
            joined = self._arrive(now.state, now.pull.quiet, early=False)
            return _Stand(joined, *DAMPING[:2], done, early=False)
        finished = converged or done >= ITERATIONS
        return _Stand(now, damping, least, done, at.early, finished, system.plan)

    def _is_lens(self, state: State) -> bool:
        """Whether the focal lengths that are solved for are some that a lens can have."""
        half = float(self.problem.centred.abs().max())
        focal = state.focal[self.fixed.focal.isnan()]
        shortest, longest = (half * ratio for ratio in FOCALS)
        return bool(((focal > shortest) & (focal < longest)).all())

    def _weights(self, *, early: bool) -> dict[str, float]:
        """Of the terms that have joined."""
        every = self.recipe.weights
        return {name: weight for name, weight in every.items() if not (early and name == "flow")}

    def _arrive(self, state: State, quiet: float, *, early: bool) -> _Visit:
        """Visit a state without one before it, from which the say of each flow is known."""
        weights = self._weights(early=early)
        pull = pull_of(state, None, self.problem, weights, quiet=quiet)
        _, tally = fit_depths(state, self.problem, self.fixed, pull, steps=0)
        pull = pull_of(state, tally, self.problem, weights, quiet=quiet)
        return self._visit(state, pull, early=early)

    def _visit(self, state: State, pull: Pull, *, early: bool) -> _Visit:
        """Solve for the depths of a state, with the say of each flow as it was before."""
        weights = self._weights(early=early)
        depth, tally = fit_depths(state, self.problem, self.fixed, pull)
        state = replace(state, depth=depth)
        large = tally.terms(self.problem)
        value = sum(
            weight * (large[name] if name in large else float(TERMS[name](state, self.problem)))
            for name, weight in weights.items()
        )
        pull = pull_of(state, tally, self.problem, weights, quiet=pull.quiet)
        return _Visit(state, value, pull)

    @cached_property
    def _pair_weight(self) -> np.ndarray:
        """(E,) weight of all predictions of each pair."""
        data = self.problem.pairs
        total = data.weight.new_zeros(len(data.edge) // 2)
        weight: np.ndarray = total.index_add_(0, data.edge, data.weight.sum(1)).cpu().numpy()
        return weight

    @cached_property
    def _path(self) -> Path:
        """What moves with what."""
        known = self.fixed.world_from_cam[:, 0, 0].isfinite().cpu().numpy()
        return Path.of(self.problem.pairs, self._pair_weight, known)

    def encoded(self, state: State) -> Raw:
        """Raw parameters of a state."""
        scale = state.pair_scale[:, None, None]
        pair = scale * torch.cat([state.pair_rotation, state.pair_translation[..., None]], dim=2)
        pose = compose(state.rotation, state.translation)
        raw = encode(
            Estimate(pose, state.focal, state.depth.double(), pair),
            self.problem.surface.to(torch.float64),
            shared_focal=self.shared_focal,
            log_unit=float(state.log_unit) if math.isfinite(float(state.log_unit)) else 0.0,
        )
        return {name: value.to(self.problem.centred) for name, value in raw.items()}

    def snapshot(self, at: _Stand) -> Arrays:
        """Everything that the next iteration depends on."""
        now = at.visit
        flow = torch.full((2,), torch.nan) if now.pull.flow is None else now.pull.flow
        where = [at.damping, at.least, at.done, at.early]
        numbers = [*where, now.value, now.pull.quiet, *flow.tolist()]
        state = {f"state/{name}": value.cpu().numpy() for name, value in vars(now.state).items()}
        return {**_values(self.encoded(now.state)), **state, "state": np.array(numbers)}

    def restored(self, arrays: Arrays) -> _Stand:
        """Where the solve stood at a snapshot."""
        damping, least, done, early, value, quiet, *flow = (float(x) for x in arrays["state"])
        device = self.problem.centred.device
        start = "state/"
        state = State(
            **{
                name[len(start) :]: torch.from_numpy(np.array(array)).to(device)
                for name, array in arrays.items()
                if name.startswith(start)
            }
        )
        weights = self._weights(early=bool(early))
        pull = pull_of(state, None, self.problem, weights, quiet=quiet)
        if pull.flow is not None:
            pull = replace(pull, flow=torch.tensor(flow).to(pull.flow))
        return _Stand(_Visit(state, value, pull), damping, least, int(done), bool(early))


def _values(raw: Raw) -> Arrays:
    """Raw parameters as arrays to keep."""
    return {f"value/{name}": value.cpu().numpy() for name, value in raw.items()}
