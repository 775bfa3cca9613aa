"""The pieces of Gauss-Newton against slow twins: autograd, and the system with all depths in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from optim_problem import make_world
from torch import Tensor
from torch.testing import assert_close

from align3r.errors import SolveError
from align3r.optim import eliminate
from align3r.optim.best_depth import Tally, fit_depths, pull_of
from align3r.optim.depth_prior import depth_prior
from align3r.optim.eliminate import reduced_blocks
from align3r.optim.gauss_newton import gauss_newton
from align3r.optim.linearise import Pull
from align3r.optim.normal_equations import Freedom, NormalEquations, freedom, normal_equations
from align3r.optim.residuals import (
    Problem,
    cam_from_pair,
    camera_points,
    objective,
    pixel_from_source,
)
from align3r.optim.sampling import (
    choose_grid,
    flow_observations,
    point_observations,
    sample_predictions,
)
from align3r.optim.solve import Recipe
from align3r.optim.state import Fixed, State, encode, estimate_of
from align3r.optim.surface import Surface
from align3r.optim.tangents import move

N, ASPECT, QUIET = 3, 1.2, 1e-3
EDGES = [(0, 1), (1, 2), (2, 0), (0, 1)]  # a mirror, and one pair twice
PAIR_WEIGHT = np.array([1.0, 0.1, 3.0, 0.5])  # which of them is largest matters, no more
WEIGHTS = {"pair": 1.0, "flow": 0.01, "smooth": 0.02, "prior": 0.3}


@dataclass(frozen=True)
class Case:
    state: State
    problem: Problem
    fixed: Fixed
    pull: Pull


def tally(state: State, problem: Problem, fixed: Fixed) -> Tally:
    """Of these very depths."""
    pull = pull_of(state, None, problem, WEIGHTS, quiet=QUIET)
    return fit_depths(state, problem, fixed, pull, steps=0)[1]


def fitted(c: Case, times: int) -> State:
    """The state with its best depths."""
    state, near = c.state, c.problem.near
    assert near is not None
    for _ in range(times):
        pull = replace(c.pull, tie=near.tie(state.depth, WEIGHTS["prior"]))
        state = replace(state, depth=fit_depths(state, c.problem, c.fixed, pull)[0])
    return state


def case(known: str = "nothing", *, n_pixels: int = 20) -> Case:
    """Everything in float64, away from the minimum."""
    world = make_world(N, EDGES, size=(20, 16), noise=0.05, aspect=ASPECT)
    grid = choose_grid(16, 20, n_pixels, np.random.default_rng(0))
    samples = sample_predictions(world.predictions, grid, torch.device("cpu"))
    centre = np.array(world.predictions.principal_point)
    plain = torch.from_numpy((grid.pixels() - centre).T).expand(N, -1, -1)
    centred = plain * torch.tensor([1.0, ASPECT])[:, None]
    pairs = point_observations(samples, N)
    flow = flow_observations(world.flows, plain, grid, None)
    problem = Problem(
        centred=centred,
        aspect=ASPECT,
        pairs=replace(pairs, points=pairs.points.double(), weight=pairs.weight.double()),
        flow=replace(flow, target=flow.target.double(), keep=flow.keep.double()),
        surface=Surface(torch.ones(N, len(grid.index), dtype=torch.float64)),
    )
    rng = torch.Generator().manual_seed(0)
    wavy = problem.centred[:, 0].sin() / 10
    static = np.random.default_rng(1).random(wavy.shape) < 0.7
    problem = replace(problem, near=depth_prior(wavy, static))

    def noise(*shape: int) -> Tensor:
        return 0.05 * torch.randn(*shape, generator=rng, dtype=torch.float64)

    pose = torch.from_numpy(world.world_from_cam)
    depth = torch.from_numpy(world.depth.reshape(N, -1)[:, grid.index])
    fixed = Fixed(
        torch.full_like(pose, torch.nan),
        torch.full((N,), torch.nan, dtype=torch.float64),
        torch.full_like(depth, torch.nan),
    )
    if known in ("poses", "group"):
        fixed.world_from_cam[:2] = pose[:2]
        fixed.world_from_cam[:2, 0, 3] += 0.5
    if known in ("focal", "group"):
        fixed.focal[1:] = world.focal
    if known == "group":
        fixed.depth[0] = depth[0]
    first = torch.tensor([edge[0] for edge in EDGES])
    log_scale = noise(len(EDGES))
    state = State(
        depth=depth * (2 * noise(*depth.shape)).exp(),
        rotation=pose[:, :3, :3],
        translation=pose[:, :3, 3] + noise(N, 3),
        focal=torch.full((N,), 0.95 * world.focal, dtype=torch.float64),
        pair_scale=2 * (log_scale - log_scale.mean()).exp(),
        pair_rotation=pose[first, :3, :3],
        pair_translation=pose[first, :3, 3] / 2 + noise(len(EDGES), 3),
        log_unit=torch.tensor(0.1).double(),
    )
    start = torch.cat([noise(7 * (N + len(EDGES))), torch.zeros(1)])
    start[6::7] = 0  # keeps focal lengths and the product of the scales
    state = move(state, start, fixed)
    pull = pull_of(state, tally(state, problem, fixed), problem, WEIGHTS, quiet=QUIET)
    return Case(state, problem, fixed, pull)


def residuals(state: State, c: Case) -> Tensor:
    """All residuals in one vector, each exactly as the objective has it, unweighted."""
    points, problem = camera_points(state, c.problem), c.problem
    data, flow = problem.pairs, problem.flow
    assert flow is not None
    miss = points[data.view] - cam_from_pair(state, data) @ data.points
    ones = torch.ones_like(points[:, :1])
    moved = pixel_from_source(state, problem, flow) @ torch.cat([points, ones], 1)[flow.source]
    error = moved[:, :2] / (moved[:, 2:] + 1e-6) - flow.target
    turn = state.rotation[:-1].mT @ state.rotation[1:] - torch.eye(3)
    step = state.translation[1:] - state.translation[:-1]
    assert c.pull.tie is not None
    tie = state.depth.log() - c.pull.tie.centre
    return torch.cat([part.flatten() for part in (miss, error, turn, step, tie)])


def root_weights(c: Case) -> Tensor:
    """Roots of the re-weighting of each residual, frozen at the state of the case."""
    found, problem = residuals(c.state, c), c.problem
    data, flow = problem.pairs, problem.flow
    assert flow is not None
    depths = c.state.depth.numel()
    sizes = [3 * data.weight.numel(), flow.target.numel(), 9 * (N - 1), 3 * (N - 1), depths]
    miss, error, turn, step, _ = found.split(sizes)
    norm = (miss.view(-1, 3, data.weight.shape[1]).square().sum(1) + QUIET**2).sqrt()
    pair = (c.pull.pair * data.weight / norm)[:, None].expand(-1, 3, -1)
    size = error.view_as(flow.target).abs()
    huber = torch.where(size < 50.5, 1 / size.clamp(min=1.0), 0.0)
    share = c.pull.flow[flow.backward_flow.long()]
    projected = share[:, None, None] * flow.keep * huber
    turned = c.pull.smooth / (turn.view(-1, 9).square().sum(1) + 1e-8).sqrt()
    walked = c.pull.smooth / (step.view(-1, 3).square().sum(1) + QUIET**2).sqrt()
    assert c.pull.tie is not None
    tied = 2 * c.pull.tie.pull
    every = (pair, projected, turned[:, None].expand(-1, 9), walked[:, None].expand(-1, 3), tied)
    return torch.cat([part.flatten() for part in every]).sqrt()


def jacobians(c: Case) -> tuple[Tensor, Tensor]:
    """Derivatives of the residuals by all 7 N + 7 E + 1 unknowns (differences), and by depths."""
    size, h = 7 * (N + len(EDGES)) + 1, 1e-5

    def at(step: Tensor) -> Tensor:
        state = move(c.state, step, c.fixed)
        given = state.log_unit.exp() * c.fixed.world_from_cam[:, :3, 3]
        place = torch.where(given.isnan(), state.translation, given)
        return residuals(replace(state, translation=place), c)

    columns = [(at(h * e) - at(-h * e)) / (2 * h) for e in torch.eye(size).double()]
    by_depth = torch.autograd.functional.jacobian(
        lambda depth: residuals(replace(c.state, depth=depth), c), c.state.depth
    )
    return torch.stack(columns, 1), torch.as_tensor(by_depth).flatten(1)


def system(c: Case, *, shared: bool) -> NormalEquations:
    free = freedom(c.state, c.fixed, pair_weight=PAIR_WEIGHT, shared_focal=shared)
    return normal_equations(reduced_blocks(c.state, c.problem, c.fixed, c.pull), free)


def dense(c: Case) -> tuple[Tensor, Tensor]:
    """All blocks in one matrix over all 7 N + 7 E + 1 unknowns, and the gradient."""
    size = 7 * (N + len(EDGES)) + 2
    whole = torch.zeros(size, size, dtype=torch.float64)
    for product, index in reduced_blocks(c.state, c.problem, c.fixed, c.pull):
        many = product.reshape(-1, *product.shape[-2:]), index.reshape(-1, index.shape[-1])
        for one, at in zip(*many, strict=True):
            whole.index_put_((at[:, None], at[None]), one, accumulate=True)
    return whole[:-1, :-1], whole[:-1, -1]


def basis_of(free: Freedom) -> Tensor:
    """(7 N + 7 E + 1, n + B) all unknowns from the free ones."""
    inner = np.eye(len(free.node))[free.inner] * (free.inner >= 0)[:, None]
    return torch.from_numpy(np.concatenate([inner, free.border], axis=1))


KNOWN = ["nothing", "poses", "focal", "group"]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("known", KNOWN)
def test_the_reduced_system_is_the_full_one_without_depths(known: str, shared: bool) -> None:
    """Hessian, gradient and damped step; every column of the Jacobian enters them."""
    c = case(known)
    by_node, by_depth = jacobians(c)
    root = root_weights(c)
    found = system(c, shared=shared)
    basis = basis_of(found.free)
    # `move` itself makes known places follow the unit: no column of theirs may count twice.
    columns = by_node @ _own(basis, c)
    free = c.fixed.depth.flatten().isnan()
    left, right = root[:, None] * columns, root[:, None] * by_depth[:, free]
    miss = root * residuals(c.state, c)
    inside = right.T @ right
    hessian = left.T @ left - left.T @ right @ torch.linalg.solve(inside, right.T @ left)
    gradient = left.T @ miss - left.T @ right @ torch.linalg.solve(inside, right.T @ miss)
    every, slope = dense(c)
    scale = hessian.diagonal().sqrt().clamp(min=1e-12)
    reduced = basis.T @ every @ basis
    assert_close(
        reduced / scale / scale[:, None], hessian / scale / scale[:, None], atol=1e-7, rtol=0
    )
    assert_close(basis.T @ slope, gradient, atol=1e-7, rtol=1e-6)
    damping = 1e-2
    whole = torch.cat([left, right], 1)
    full = whole.T @ whole
    n = len(hessian)
    full[range(n), range(n)] += damping * hessian.diagonal()
    slow = _with_constraint(full, -whole.T @ miss, _scale_rows(basis))[:n]
    step = found.step(damping)
    assert step is not None
    assert_close(step, basis @ slow, atol=1e-6, rtol=1e-5)


def _scale_rows(basis: Tensor) -> Tensor:
    """(n,) how the free unknowns move the sum of the logarithms of the pair scales."""
    return basis[:-1].view(-1, 7, basis.shape[1])[N:, 6].sum(0)


def _with_constraint(matrix: Tensor, right: Tensor, row: Tensor) -> Tensor:
    """The solution of matrix x = right with row . x = 0, by a multiplier."""
    n = len(matrix)
    whole = torch.zeros(n + 1, n + 1, dtype=matrix.dtype)
    whole[:n, :n] = matrix
    whole[n, : len(row)] = whole[: len(row), n] = row
    return torch.linalg.solve(whole, torch.cat([right, right.new_zeros(1)]))[:n]


def _own(basis: Tensor, c: Case) -> Tensor:
    """The basis without the rows of known places, which `move` fills from the unit."""
    known = c.fixed.world_from_cam[:, 0, 0].isfinite()
    rows = torch.zeros(len(basis), dtype=torch.bool)
    rows[: 7 * N] = known.repeat_interleave(7) & (torch.arange(7).repeat(N) < 6)
    return torch.where(rows[:, None], 0.0, basis)


@pytest.mark.parametrize("known", KNOWN)
def test_the_gradient_is_that_of_the_objective(known: str) -> None:
    """At the best depths, by differences of the objective itself, norms not rounded."""
    c = case(known)
    c = replace(c, pull=replace(c.pull, quiet=1e-9))
    state = fitted(c, 30)
    found_there = tally(state, c.problem, c.fixed)
    c = replace(c, state=state, pull=pull_of(state, found_there, c.problem, WEIGHTS, quiet=1e-9))
    basis = basis_of(system(c, shared=False).free)
    # Along the scales of the pairs alone: their product stays.
    scales = _scale_rows(basis)
    basis = basis - basis @ scales[:, None] * scales / scales.square().sum()
    slopes, h = [], 1e-6
    for direction in basis.T:
        ends = []
        for sign in (1, -1):
            step = sign * h * direction
            moved = move(state, step, c.fixed)
            ends.append(float(objective(moved, c.problem, WEIGHTS)[0]))
        slopes.append((ends[0] - ends[1]) / (2 * h))
    gradient = (basis.T @ dense(c)[1]).numpy()
    np.testing.assert_allclose(gradient, slopes, atol=2e-4 * np.abs(slopes).max())


def test_what_is_pinned_does_not_move() -> None:
    c = case()
    step = system(c, shared=True).step(1e-3)
    assert step is not None
    assert not step[:6].any() and float(step[-1]) == 0
    scales = step[:-1].view(-1, 7)[N:, 6]
    assert float(scales.abs().max()) > 0 and abs(float(scales.sum())) < 1e-12
    assert len(step[:-1].view(-1, 7)[:N, 6].unique()) == 1


def test_the_scale_of_a_pair_without_weight_is_kept() -> None:
    c = case()
    free = freedom(c.state, c.fixed, pair_weight=np.array([1.0, 0.0, 3.0, 0.5]), shared_focal=True)
    blocks = reduced_blocks(c.state, c.problem, c.fixed, c.pull)
    step = normal_equations(blocks, free).step(1e-3)
    assert step is not None
    scales = step[:-1].view(-1, 7)[N:, 6]
    assert float(scales[1]) == 0 and scales[[0, 2, 3]].all() and abs(float(scales.sum())) < 1e-12


def test_best_depth_is_the_minimum_of_each_pixel() -> None:
    c = case("group")
    state = fitted(c, 15)
    assert torch.equal(state.depth[0], c.state.depth[0])  # it is known
    least = float(objective(state, c.problem, WEIGHTS)[0])
    for factor in (0.999, 1.001):
        for pixel in range(0, state.depth.shape[1], 3):
            depth = state.depth.clone()
            depth[1, pixel] *= factor
            other = objective(replace(state, depth=depth), c.problem, WEIGHTS)[0]
            assert float(other) > least - 1e-6


@pytest.mark.parametrize("known", ["nothing", "group"])
def test_the_sums_of_the_large_terms_are_those_of_the_objective(known: str) -> None:
    c = case(known)
    depth, sums = fit_depths(c.state, c.problem, c.fixed, c.pull)
    _, parts = objective(replace(c.state, depth=depth), c.problem, WEIGHTS)
    found = sums.terms(c.problem)
    assert found["pair"] == pytest.approx(float(parts["pair"]), rel=1e-9)
    assert found["flow"] == pytest.approx(float(parts["flow"]), rel=1e-9)
    assert sums.terms(c.problem, switch_off=1e-3)["flow"] == 0


@pytest.mark.parametrize("known", ["nothing", "group"])
def test_a_view_in_pieces_is_the_whole_view(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c = case(known)
    whole = reduced_blocks(c.state, c.problem, c.fixed, c.pull)
    monkeypatch.setattr(eliminate, "CHUNK", 7)
    pieces = reduced_blocks(c.state, c.problem, c.fixed, c.pull)
    for (one, _), (other, _) in zip(whole, pieces, strict=True):
        assert_close(one, other, rtol=1e-9, atol=1e-9 * float(one.abs().max()))


def test_the_number_of_threads_changes_no_bit() -> None:
    c, before = case("group", n_pixels=320), torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        depth, sums = fit_depths(c.state, c.problem, c.fixed, c.pull)
        blocks = reduced_blocks(c.state, c.problem, c.fixed, c.pull)
        results.append([depth, sums.pair, sums.flow, *(product for product, _ in blocks)])
    torch.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)


def test_values_that_are_not_finite_are_an_error() -> None:
    c = case()
    estimate = estimate_of(c.state, torch.tensor(1.0).double())
    raw = encode(estimate, c.problem.surface, shared_focal=True)
    raw["log_map"] = torch.full_like(raw["log_map"], torch.nan)
    recipe = Recipe(steps=300, rate=0.05, camera_share=0.2, weights=WEIGHTS)
    with pytest.raises(SolveError, match="not finite"):
        gauss_newton(raw, c.problem, c.fixed, recipe)


def test_a_damping_that_failed_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []
    real = NormalEquations.step

    def step(self: NormalEquations, damping: float) -> Tensor | None:
        tried.append(damping)
        return real(self, damping) if damping > 3e-6 else None

    monkeypatch.setattr(NormalEquations, "step", step)
    c = case()
    weights = {"pair": 1.0, "smooth": 0.02}
    recipe = Recipe(steps=300, rate=0.05, camera_share=0.2, weights=weights)
    estimate = estimate_of(c.state, torch.tensor(1.0).double())
    gauss_newton(encode(estimate, c.problem.surface, shared_focal=True), c.problem, c.fixed, recipe)
    failed = [damping for damping in tried if damping <= 3e-6]
    assert len(tried) >= 4 and 1 <= len(failed) == len(set(failed))
    assert min(tried[tried.index(failed[0]) + 1 :]) > failed[0]


def test_a_focal_length_stays_one_that_a_lens_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    c = case()
    half, first = float(c.problem.centred.abs().max()), c.state.focal
    estimate = estimate_of(c.state, torch.tensor(1.0).double())
    raw = encode(estimate, c.problem.surface, shared_focal=True)
    recipe = Recipe(steps=300, rate=0.05, camera_share=0.2, weights={"pair": 1.0})

    def change() -> float:
        found, _ = gauss_newton(raw, c.problem, c.fixed, recipe)
        return float((found["focal"] - raw["focal"]).abs().max())

    assert change() > 1e-3
    lens = [float(value) / half for value in (0.9999 * first.min(), 1.0001 * first.max())]
    monkeypatch.setattr("align3r.optim.gauss_newton.FOCALS", tuple(lens))
    assert change() <= 1e-3
