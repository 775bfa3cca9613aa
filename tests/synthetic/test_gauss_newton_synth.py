"""Gauss-Newton on whole problems: never behind Adam, and at home where there is little to hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from optim_problem import World, depth_error, make_world, path_error

from align3r.config import AlignOptions
from align3r.geometry.rigid import compose
from align3r.optim import align, gauss_newton, path, stages
from align3r.optim.tangents import move
from align3r.types import KnownCameras, Solution

NEWTON = AlignOptions(solver="gauss-newton", pixels=300)
KEYED_EDGES = [(0, 3), (0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]


def solve(world: World, options: AlignOptions = NEWTON, **given: Any) -> Solution:
    call = {"flows": world.flows} | given
    n = len(world.depth)
    found = align(world.predictions, n_frames=n, options=options, **call)
    assert np.isfinite(found.depth).all() and found.depth.min() > 0
    return found


def equal(a: Solution, b: Solution) -> bool:
    names = ("world_from_cam", "focal", "depth", "confidence")
    same = [np.array_equal(getattr(a, name), getattr(b, name)) for name in names]
    return all(same) and a.losses == b.losses


@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_the_objective_is_never_above_adams(seed: int, flow: bool) -> None:
    world = make_world(6, size=(64, 48), noise=0.04, seed=seed)
    flows = world.flows if flow else None
    newton = solve(world, flows=flows)
    adam = solve(world, replace(NEWTON, solver="adam"), flows=flows)
    assert set(newton.losses) == set(adam.losses)
    assert newton.losses["total"] < adam.losses["total"]
    assert depth_error(world, newton.depth) < 1.1 * depth_error(world, adam.depth) + 1e-3


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_clean_world_is_found(n: int) -> None:
    world = make_world(n)
    found = solve(world)
    np.testing.assert_array_equal(found.world_from_cam[0], np.eye(4))
    assert np.abs(found.focal / world.focal - 1).max() < 0.005
    assert path_error(world, found.world_from_cam) < 0.01
    assert depth_error(world, found.depth) < 0.002


@pytest.mark.parametrize("turned", [0.1, 0.3])
def test_rotations_far_off_come_back(turned: float, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(5, size=(64, 48), noise=0.03, seed=2)
    right, first = solve(world), stages.initialise

    def wrong(*args: Any, **kwargs: Any) -> Any:
        start = first(*args, **kwargs)
        axis = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
        spin = torch.linalg.matrix_exp(_cross(turned * axis / axis.norm(dim=1, keepdim=True)))
        pose = start.estimate.world_from_cam
        bent = compose(pose[:, :3, :3] @ spin, pose[:, :3, 3])
        return replace(start, estimate=replace(start.estimate, world_from_cam=bent))

    monkeypatch.setattr(stages, "initialise", wrong)
    found = solve(world)
    assert found.losses["total"] == pytest.approx(right.losses["total"], rel=2e-3)
    np.testing.assert_allclose(found.depth, right.depth, rtol=0.03)


def _cross(vector: torch.Tensor) -> torch.Tensor:
    x, y, z = vector.unbind(1)
    o = torch.zeros_like(x)
    rows = [torch.stack(row, 1) for row in ((o, -z, y), (z, o, -x), (-y, x, o))]
    return torch.stack(rows, 1)


@pytest.mark.parametrize("which", [[0, 1, 2, 3], [1, 3], [0, 2], [1]])
def test_known_poses_are_kept_and_give_the_unit(which: list[int]) -> None:
    world = make_world(4, noise=0.01, step=0.3)
    given = world.world_from_cam.copy()
    given[:, :3, 3] += np.array([3.0, -2.0, 1.0])  # a world of its own
    poses = np.full((4, 4, 4), np.nan)
    poses[which] = given[which]
    found = solve(world, known=KnownCameras(world_from_cam=poses))
    np.testing.assert_array_equal(found.world_from_cam[which], given[which])
    if len(which) > 1:  # one alone does not tell the unit
        assert np.abs(found.world_from_cam[:, :3, 3] - given[:, :3, 3]).max() < 0.05
        assert np.mean(np.abs(found.depth / world.depth - 1)) < 0.05


def test_known_focal_and_tall_pixels() -> None:
    tall = make_world(3, aspect=1.25)
    height, width = tall.depth.shape[1:]
    focal = tall.focal
    matrix = [[focal, 0, (width - 1) / 2], [0, focal / 1.25, (height - 1) / 2], [0, 0, 1.0]]
    known = KnownCameras(intrinsics=np.repeat(np.array([matrix]), 3, axis=0))
    found = solve(tall, known=known)
    np.testing.assert_allclose(found.focal, focal, rtol=1e-12)
    assert depth_error(tall, found.depth) < 0.01 and found.losses["flow"] < 0.05


def test_a_focal_length_per_frame() -> None:
    world = make_world(4)
    found = solve(world, replace(NEWTON, focal="per-frame"))
    assert len(set(found.focal)) > 1
    assert np.abs(found.focal / world.focal - 1).max() < 0.02


def test_a_scale_map_is_the_same_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but rounding tells one parametrisation from the other, at the minimum."""
    monkeypatch.setattr(gauss_newton, "ENOUGH", 1e-6)
    world = make_world(3, noise=0.03)
    rng = np.random.default_rng(0)
    prior = (world.depth * np.exp(0.3 * rng.standard_normal(world.depth.shape))).astype(np.float32)
    options = replace(NEWTON, pixels=0)
    depth = solve(world, options)
    scale = solve(world, replace(options, geometry="scale"), prior=prior)
    assert scale.losses["total"] == pytest.approx(depth.losses["total"], rel=1e-6)
    np.testing.assert_allclose(scale.depth, depth.depth, rtol=1e-4)


def test_depths_stay_near_a_prior_that_has_weight() -> None:
    """Both solvers agree; the more weight, the nearer; one scale a frame is free."""
    world = make_world(4, noise=0.05)
    rng = np.random.default_rng(0)
    prior = world.depth * rng.uniform(0.5, 2, (4, 1, 1))
    options = replace(NEWTON, pixels=0, prior_weight=10.0)
    near = solve(world, options, prior=prior)
    adam = solve(world, replace(options, solver="adam"), prior=prior)
    assert near.losses["prior"] == pytest.approx(adam.losses["prior"], rel=0.05)
    assert near.losses["total"] < 1.0005 * adam.losses["total"]
    free = solve(world, replace(options, prior_weight=0.0), prior=prior)
    assert "prior" not in free.losses
    close = solve(world, replace(options, prior_weight=100.0), prior=prior)
    errors = [depth_error(world, found.depth) for found in (close, near, free)]
    assert errors[0] < errors[1] < 0.8 * errors[2]
    assert errors[0] < 0.005


def test_depths_stay_near_the_start_without_a_prior() -> None:
    world = make_world(4, noise=0.05)
    free, near = solve(world), solve(world, replace(NEWTON, prior_weight=1e3))
    start = solve(world, replace(NEWTON, prior_weight=1e6))
    apart = [np.abs(np.log(found.depth / start.depth)).mean() for found in (near, free)]
    assert near.losses["prior"] < 1e-4 and apart[0] < 0.5 * apart[1]


def test_groups_progress_and_the_same_bits_again() -> None:
    world = make_world(6, edges=KEYED_EDGES)
    options = replace(NEWTON, schedule="keyframes")
    seen: list[int] = []
    keys = np.array([3, 0])
    found = solve(
        world,
        options,
        keyframes=keys,
        progress=lambda stage, done, total: seen.append(done),
    )
    assert seen == sorted(seen) and seen[-1] == 3 * options.steps
    assert depth_error(world, found.depth) < 0.02
    assert path_error(world, found.world_from_cam) < 0.06
    assert equal(solve(world, options, keyframes=keys), found)


def test_the_number_of_threads_changes_no_bit() -> None:
    world, before = make_world(6, size=(64, 48), noise=0.02), torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(solve(world, replace(NEWTON, pixels=1500)))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert equal(*found)


class Memory:
    """A checkpoint that can stop the run, as a kill would."""

    def __init__(self, stop_at: int) -> None:
        self.arrays: dict[str, np.ndarray] | None = None
        self.left = stop_at

    def load(self) -> dict[str, np.ndarray] | None:
        return self.arrays

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = {name: value.copy() for name, value in arrays.items()}
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("schedule", ["joint", "keyframes"])
@pytest.mark.parametrize("stop_at", [1, 3, 8])
def test_an_interrupted_solve_goes_on_to_the_same_bits(schedule: Any, stop_at: int) -> None:
    world = make_world(6, edges=KEYED_EDGES, noise=0.02)
    options = replace(NEWTON, schedule=schedule)
    call: dict[str, Any] = {"options": options, "keyframes": np.array([0, 3])}
    seen: list[int] = []
    call["progress"] = lambda stage, done, total: seen.append(done)
    whole, memory = solve(world, **call), Memory(stop_at)
    all_of_it = list(seen)
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        solve(world, checkpoint=memory, **call)
    assert equal(solve(world, checkpoint=memory, **call), whole)
    # No iteration is taken twice.
    assert seen == sorted(seen) and len(all_of_it) - 2 <= len(seen) < len(all_of_it)


def test_a_bent_path_straightens_in_a_few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """By three radians over sixty frames; steps straight along their velocities take far longer."""
    n = 60
    edges = [(i, i + gap) for gap in (1, 2) for i in range(n - gap)]
    world = make_world(n, edges, size=(24, 18), noise=0.02, step=0.04)
    options = replace(NEWTON, pixels=100)
    right, first = solve(world, options), stages.initialise
    corner = torch.linalg.matrix_exp(_cross(torch.tensor([[0.0, 0.05, 0.0]]).double()))

    def wrong(*args: Any, **kwargs: Any) -> Any:
        start = first(*args, **kwargs)
        pose, pair = start.estimate.world_from_cam, start.estimate.world_from_pair
        bent = [pose[0]]
        for before, after in pairwise(pose):
            bend = compose(corner[0].to(pose), torch.zeros(3).to(pose))
            bent.append(bent[-1] @ torch.linalg.inv(before) @ after @ bend)
        poses = torch.stack(bent)
        motion = (poses @ torch.linalg.inv(pose))[[edge[0] for edge in edges]]
        pair = motion[:, :3, :3] @ pair + torch.cat(
            [torch.zeros_like(pair[:, :, :3]), motion[:, :3, 3:]], dim=2
        )
        estimate = replace(start.estimate, world_from_cam=poses, world_from_pair=pair)
        return replace(start, estimate=estimate)

    monkeypatch.setattr(stages, "initialise", wrong)
    monkeypatch.setattr(gauss_newton, "ITERATIONS", 8)
    found = solve(world, options)
    assert found.losses["total"] < 1.05 * right.losses["total"]
    monkeypatch.setattr(path.Path, "move", lambda self, *given: move(*given))
    straight = solve(world, options)
    assert straight.losses["total"] > 1.2 * right.losses["total"]
