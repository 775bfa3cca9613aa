"""The solver of the paper: Adam on all unknowns at once, resumable to the bit."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from align3r.errors import SolveError
from align3r.optim.journal import SAVE_EVERY, Arrays
from align3r.optim.residuals import Problem, objective
from align3r.optim.state import Fixed, Raw, decode

log = logging.getLogger(__name__)

BETAS = (0.9, 0.9)
LAST_RATE = 1e-6
FLOW_START = 0.1
"""Share of the steps before the flow term joins: it needs cameras that are nearly right."""


@dataclass(frozen=True)
class Recipe:
    """How one solve is run."""

    steps: int
    rate: float
    camera_share: float
    """Learning rate of everything but the depth maps, as a share of `rate`."""
    weights: dict[str, float]
    """Weight of each term by name; `flow` joins after `FLOW_START`."""
    warm: bool = False
    """The cameras are nearly right from the start: flow joins at once."""


def cosine_rate(step: int, steps: int, first: float, last: float = LAST_RATE) -> float:
    """Learning rate before step `step` of `steps`."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def adam(
    raw: Raw,
    problem: Problem,
    fixed: Fixed,
    recipe: Recipe,
    *,
    resume: Arrays | None = None,
    save: Callable[[Arrays], None] | None = None,
    tick: Callable[[int], None] | None = None,
) -> tuple[Raw, dict[str, float]]:
    """Minimise the objective.

    Args:
        raw: Starting values of the raw parameters.
        problem: Data.
        fixed: What is not solved for.
        recipe: Steps, learning rate, parametrisation, weights.
        resume: Arrays handed to `save` before, to go on from there.
        save: Called every `SAVE_EVERY` steps and after the last.
        tick: Called after each step with the number of steps done.

    Returns:
        Final raw parameters, final value of each term and their weighted `total`.

    Raises:
        SolveError: The objective is not finite.
    """
    values = {name: value.detach().clone().requires_grad_() for name, value in raw.items()}
    maps = [value for name, value in values.items() if name == "log_map"]
    cameras = [value for name, value in values.items() if name != "log_map"]
    groups = [{"params": maps, "share": 1.0}, {"params": cameras, "share": recipe.camera_share}]
    optimiser = torch.optim.Adam(groups, lr=recipe.rate, betas=BETAS, foreach=True)
    first = _restore(values, optimiser, resume) if resume else 0
    for step in range(first, recipe.steps):
        weights = dict(recipe.weights)
        if step < FLOW_START * recipe.steps and not recipe.warm:
            weights.pop("flow", None)
        optimiser.zero_grad()
        state = decode(values, fixed, problem.surface)
        total, _ = objective(state, problem, weights)
        total.backward()
        if step % SAVE_EVERY == 0 and log.isEnabledFor(logging.DEBUG):
            log.debug("step %d/%d: objective %.6f", step, recipe.steps, float(total.detach()))
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * cosine_rate(step, recipe.steps, recipe.rate)
        optimiser.step()
        if save and ((step + 1) % SAVE_EVERY == 0 or step + 1 == recipe.steps):
            save(_snapshot(values, optimiser, step + 1))
        if tick:
            tick(step + 1)
    final = {name: value.detach() for name, value in values.items()}
    return final, final_losses(final, problem, fixed, recipe)


def as_started(
    raw: Raw,
    problem: Problem,
    fixed: Fixed,
    recipe: Recipe,
    *,
    resume: Arrays | None = None,
    save: Callable[[Arrays], None] | None = None,
    tick: Callable[[int], None] | None = None,
) -> tuple[Raw, dict[str, float]]:
    """No refinement: what the pairs agree on; see `adam` for the arguments.

    Raises:
        SolveError: The objective is not finite.
    """
    if tick:
        tick(recipe.steps)
    return raw, final_losses(raw, problem, fixed, recipe, hint="look at the pair predictions")


def final_losses(
    raw: Raw,
    problem: Problem,
    fixed: Fixed,
    recipe: Recipe,
    *,
    hint: str = "lower --align.learning-rate",
) -> dict[str, float]:
    """Every term and their weighted `total` at the end of a solve.

    Raises:
        SolveError: One is not finite.
    """
    with torch.no_grad():
        state = decode(raw, fixed, problem.surface)
        total, parts = objective(state, problem, recipe.weights)
    losses = {name: float(value) for name, value in parts.items()} | {"total": float(total)}
    if not all(math.isfinite(value) for value in losses.values()):
        named = ", ".join(f"{name} {value}" for name, value in losses.items())
        raise SolveError(
            f"the alignment of {len(problem.centred)} frames is not finite after "
            f"{recipe.steps} steps ({named})",
            hint=hint,
        )
    return losses


def _snapshot(values: Raw, optimiser: torch.optim.Optimizer, step: int) -> Arrays:
    """Everything the next step depends on."""
    arrays = {"step": np.array(step)}
    for name, value in values.items():
        moments = optimiser.state[value]
        arrays[f"value/{name}"] = value.detach().cpu().numpy().copy()
        arrays[f"mean/{name}"] = moments["exp_avg"].cpu().numpy().copy()
        arrays[f"square/{name}"] = moments["exp_avg_sq"].cpu().numpy().copy()
    return arrays


def _restore(values: Raw, optimiser: torch.optim.Optimizer, arrays: Arrays) -> int:
    """Put a snapshot back; returns the step to go on with."""
    step = int(arrays["step"])
    with torch.no_grad():
        for name, value in values.items():
            value.copy_(torch.from_numpy(arrays[f"value/{name}"]))
    for name, value in values.items():
        if f"mean/{name}" not in arrays:  # a finished stage keeps its values only
            continue
        optimiser.state[value] = {
            "step": torch.tensor(float(step)),
            "exp_avg": torch.from_numpy(arrays[f"mean/{name}"].copy()).to(value),
            "exp_avg_sq": torch.from_numpy(arrays[f"square/{name}"].copy()).to(value),
        }
    return step
