"""What real videos do to an aligner: wrong pairs, cameras that stand, silence, holes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optim_problem
import pytest
import torch
from optim_problem import World, depth_error, make_world, path_error

from align3r.config import AlignOptions
from align3r.errors import SolveError
from align3r.optim import align
from align3r.optim.stages import SMOOTH_WITHOUT_FLOW
from align3r.types import Solution

NEWTON = AlignOptions(solver="gauss-newton", pixels=300)
FLOW = pytest.mark.parametrize("flow", [True, False], ids=["flow", "no-flow"])
Camera = Callable[[int, float, np.random.Generator], np.ndarray]
full_camera = optim_problem._camera


def solve(world: World, *, flow: bool = True, **given: Any) -> Solution:
    n = len(world.depth)
    # Smoothness counts more without flow, and pulls on paths as short as these.
    alike = NEWTON.smooth_weight / SMOOTH_WITHOUT_FLOW
    options = NEWTON if flow else replace(NEWTON, smooth_weight=alike)
    flows = world.flows if flow else None
    found = align(world.predictions, n_frames=n, options=options, flows=flows, **given)
    assert np.isfinite(found.depth).all() and found.depth.min() > 0
    return found


def turn_error(world: World, found: Solution) -> float:
    """Largest angle between true and found rotations, degrees."""
    apart = found.world_from_cam[:, :3, :3].swapaxes(1, 2) @ world.world_from_cam[:, :3, :3]
    cosine = (np.trace(apart, axis1=1, axis2=2) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


def farthest(found: Solution) -> float:
    """Largest distance of a camera from the first, in median depths."""
    return float(np.abs(found.world_from_cam[:, :3, 3]).max() / np.median(found.depth))


def assert_exact(world: World, found: Solution) -> None:
    """All there is to find, where all but a few predictions are exact."""
    assert depth_error(world, found.depth) < 1e-3
    assert path_error(world, found.world_from_cam) < 0.01
    assert turn_error(world, found) < 0.1
    assert np.abs(found.focal / world.focal - 1).max() < 1e-3


def with_predictions(world: World, **changed: Any) -> World:
    return replace(world, predictions=replace(world.predictions, **changed))


def noise_points(points: torch.Tensor) -> torch.Tensor:
    """Not a scene at all."""
    return torch.from_numpy(np.random.default_rng(1).standard_normal(points.shape)).float() + 1


def other_scene(points: torch.Tensor) -> torch.Tensor:
    """A scene, but another one, upside down and twice as deep."""
    _, height, width, _ = points.shape
    other = make_world(2, size=(width, height), seed=9, step=0.5).predictions.points[0]
    return other.flip(1) * torch.tensor([1.0, 1.0, 2.0])


@FLOW
@pytest.mark.parametrize("wrong", [noise_points, other_scene])
@pytest.mark.parametrize("which", [0, 2, 9])
def test_a_pair_that_is_wrong_and_sure(which: int, wrong: Any, flow: bool) -> None:
    world = make_world(5)
    points, confidence = world.predictions.points.clone(), world.predictions.confidence.clone()
    points[which], confidence[which] = wrong(points[which]), 10.0
    bad = with_predictions(world, points=points, confidence=confidence)
    assert_exact(world, solve(bad, flow=flow))


@FLOW
def test_a_wrong_pair_among_noisy_ones(flow: bool) -> None:
    world = make_world(5, size=(64, 48), noise=0.03)
    points = world.predictions.points.clone()
    points[2] = noise_points(points[2])
    right = solve(world, flow=flow)
    found = solve(with_predictions(world, points=points), flow=flow)
    # A tenth of the pairs is lost, and not much more.
    assert depth_error(world, found.depth) < 1.4 * depth_error(world, right.depth)
    assert turn_error(world, found) < turn_error(world, right) + 1


@FLOW
@pytest.mark.parametrize(
    ("noise", "depth", "turn", "away"), [(0, 1e-3, 0.05, 1e-3), (0.03, 0.02, 1, 0.01)]
)
def test_a_camera_that_stands(
    noise: float, depth: float, turn: float, away: float, flow: bool
) -> None:
    world = make_world(4, step=0.0, noise=noise)
    found = solve(world, flow=flow)
    assert depth_error(world, found.depth) < depth
    assert turn_error(world, found) < turn and farthest(found) < away


@FLOW
@pytest.mark.parametrize(
    ("noise", "depth", "turn", "away"), [(0, 1e-3, 0.05, 1e-3), (0.03, 0.02, 1, 0.01)]
)
def test_a_camera_that_only_turns(
    noise: float,
    depth: float,
    turn: float,
    away: float,
    flow: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def turning(i: int, step: float, rng: np.random.Generator) -> np.ndarray:
        pose = full_camera(i, step, rng)
        pose[:3, 3] = 0
        return pose

    world = world_of(turning, monkeypatch, n=4, noise=noise, step=0.4)
    found = solve(world, flow=flow)
    assert depth_error(world, found.depth) < depth
    assert turn_error(world, found) < turn and farthest(found) < away


def world_of(camera: Camera, monkeypatch: pytest.MonkeyPatch, *, n: int, **how: Any) -> World:
    monkeypatch.setattr(optim_problem, "_camera", camera)
    return make_world(n, **how)


@FLOW
def test_frames_that_come_twice(flow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    number = (0, 1, 1, 2, 2)

    def twin(i: int, step: float, rng: np.random.Generator) -> np.ndarray:
        return full_camera(number[i], step, np.random.default_rng(number[i]))

    world = world_of(twin, monkeypatch, n=5)
    found = solve(world, flow=flow)
    assert_exact(world, found)
    for one, other in ((1, 2), (3, 4)):
        apart = found.world_from_cam[one] - found.world_from_cam[other]
        assert np.abs(apart[:3, 3]).max() < 1e-3 * np.median(found.depth)
        np.testing.assert_allclose(found.depth[one], found.depth[other], rtol=2e-3)


@FLOW
def test_a_region_and_a_pair_without_confidence(flow: bool) -> None:
    world = make_world(4)
    confidence = world.predictions.confidence.clone()
    confidence[:, :, :, :10] = 1.0
    confidence[1] = 1.0
    found = solve(with_predictions(world, confidence=confidence), flow=flow)
    assert_exact(world, found)
    np.testing.assert_array_equal(found.confidence[:, :, :10], 1.0)


@FLOW
def test_a_pair_without_confidence_does_not_shrink_the_others(flow: bool) -> None:
    """Only the product of the scales is held: one that nothing speaks of could take it all."""
    world = make_world(4, noise=0.03)
    confidence = world.predictions.confidence.clone()
    confidence[1] = 1.0
    silent = solve(with_predictions(world, confidence=confidence), flow=flow)
    whole = solve(world, flow=flow)
    assert np.abs(np.log(silent.depth / whole.depth)).mean() < 0.05
    assert depth_error(world, silent.depth) < 1.3 * depth_error(world, whole.depth)


def test_no_confidence_at_all_is_an_error() -> None:
    world = make_world(3)
    nothing = torch.ones_like(world.predictions.confidence)
    with pytest.raises(SolveError, match="all 3 pairs have a confidence of 1 everywhere"):
        solve(with_predictions(world, confidence=nothing))


def test_parts_without_a_link_are_named() -> None:
    world = make_world(5, edges=[(0, 1), (2, 3), (3, 4)])
    with pytest.raises(SolveError, match=r"2 parts without a link: 0-1; 2-4"):
        solve(world)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["points", "confidence"])
def test_a_prediction_that_is_not_finite_is_named(field: str, value: float) -> None:
    world = make_world(4)
    values = getattr(world.predictions, field).clone()
    values[3, 1, 2, 3] = value
    with pytest.raises(SolveError, match=r"pair \(1, 2\) has [13] values that are not finite"):
        solve(with_predictions(world, **{field: values}))


def test_holes_in_the_flow_have_no_say() -> None:
    """Regions that are nan, one way that is nan altogether, and wild values that are not valid."""
    world = make_world(4)
    forward, backward = world.flows.forward.copy(), world.flows.backward.copy()
    valid = world.flows.forward_valid.copy()
    forward[:, 5:15, 5:20] = np.nan
    backward[2] = np.nan
    forward[1, 15:], valid[1, 15:] = 1e4, False
    flows = replace(world.flows, forward=forward, backward=backward, forward_valid=valid)
    found = solve(replace(world, flows=flows))
    assert_exact(world, found)
    assert found.losses["flow"] < 1e-3


@FLOW
@pytest.mark.parametrize(("noise", "depth", "path"), [(0.0, 1e-3, 0.01), (0.03, 0.03, 0.1)])
def test_two_frames(noise: float, depth: float, path: float, flow: bool) -> None:
    world = make_world(2, noise=noise)
    found = solve(world, flow=flow)
    assert depth_error(world, found.depth) < depth
    assert path_error(world, found.world_from_cam) < path
    assert np.abs(found.focal / world.focal - 1).max() < 0.01


@FLOW
def test_a_chain_has_no_second_opinion_and_still_holds(flow: bool) -> None:
    world = make_world(6, [(i, i + 1) for i in range(5)])
    assert_exact(world, solve(world, flow=flow))
