"""Cameras that are known: exactly, roughly, or only some of them; focal lengths likewise."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from optim_problem import World, depth_error, make_world
from torch.testing import assert_close

from align3r.config import AlignOptions
from align3r.errors import UsageError
from align3r.optim import align
from align3r.optim.constraints import RoughPoses, near_origin, rough_distance, rough_poses
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import move, pose_blocks
from align3r.types import KnownCameras, Solution

N, DEGREES, LENGTH = 6, 1.0, 0.04
SOLVERS = ["adam", "gauss-newton"]
NEWTON = AlignOptions(solver="gauss-newton", pixels=300)
NO_FLOW = replace(NEWTON, flow_weight=0.0)


def shaken(
    world: World, *, degrees: float = DEGREES, length: float = LENGTH, seed: int = 5
) -> np.ndarray:
    """The true poses with errors of these standard deviations."""
    rng = np.random.default_rng(seed)
    poses = world.world_from_cam.copy()
    for pose in poses:
        turn = np.radians(degrees) * rng.standard_normal(3)
        pose[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(turn)[0]
        pose[:3, 3] += length * rng.standard_normal(3)
    return poses


def rough(poses: np.ndarray, degrees: float = DEGREES, length: float = LENGTH) -> KnownCameras:
    sigma = np.tile([degrees, length], (len(poses), 1))
    return KnownCameras(world_from_cam=poses, pose_sigma=sigma)


def solved(world: World, known: KnownCameras, options: AlignOptions = NEWTON) -> Solution:
    return align(world.predictions, n_frames=N, options=options, flows=world.flows, known=known)


def relative_errors(world: World, poses: np.ndarray, *, unit: bool) -> np.ndarray:
    """RMS error of all relative poses: position (after one scale if `unit`), degrees."""
    both = [
        (np.linalg.inv(poses[i]) @ poses[j], np.linalg.inv(true[i]) @ true[j])
        for true in [world.world_from_cam]
        for i in range(N)
        for j in range(i)
    ]
    have, want = (np.array(side)[:, :3] for side in zip(*both, strict=True))
    a, b = have[:, :, 3], want[:, :, 3]
    scale = (a * b).sum() / (a * a).sum() if unit else 1.0
    turn = have[:, :, :3].transpose(0, 2, 1) @ want[:, :, :3]
    angle = [np.degrees(np.linalg.norm(cv2.Rodrigues(one)[0])) for one in turn]
    return np.sqrt([((scale * a - b) ** 2).sum(1).mean(), np.mean(np.square(angle))])


def some_state() -> tuple[State, RoughPoses]:
    """Three cameras away from the two that are known."""
    world = make_world(3, step=0.5)
    pose = torch.from_numpy(world.world_from_cam)
    given = torch.from_numpy(shaken(world, degrees=20.0, length=0.3))[[2, 0]]
    state = State(
        depth=torch.ones(3, 5, dtype=torch.float64),
        rotation=pose[:, :3, :3],
        translation=pose[:, :3, 3],
        focal=torch.ones(3, dtype=torch.float64),
        pair_scale=torch.ones(1, dtype=torch.float64),
        pair_rotation=torch.eye(3, dtype=torch.float64)[None],
        pair_translation=torch.zeros(1, 3, dtype=torch.float64),
        log_unit=torch.tensor(0.2, dtype=torch.float64),
    )
    spread = torch.tensor([0.2, 0.1], dtype=torch.float64)
    return state, RoughPoses(torch.tensor([2, 0]), given, turn=spread, place=spread)


def test_the_term_is_the_angle_and_the_distance_in_standard_deviations() -> None:
    state, known = some_state()
    total = 0.0
    for number, given, turn, place in zip(
        known.view, known.world_from_cam.numpy(), known.turn, known.place, strict=True
    ):
        there = given[:3, :3].T @ state.rotation[number].numpy()
        angle = float(np.linalg.norm(cv2.Rodrigues(there)[0]))
        far = np.linalg.norm(
            state.translation[number].numpy() / math.exp(state.log_unit) - given[:3, 3]
        )
        square = (2 * math.sin(angle / 2) / turn) ** 2 + (far / place) ** 2
        total += math.sqrt(1 + square) - 1
    assert float(rough_distance(state, known)) == pytest.approx(total / 3)


def test_its_blocks_are_products_of_its_derivatives() -> None:
    state, known = some_state()
    nan = torch.full((3, 4, 4), torch.nan, dtype=torch.float64)
    free = Fixed(nan, nan[:, 0, 0], torch.full((3, 5), torch.nan, dtype=torch.float64))

    def misses(step: torch.Tensor) -> torch.Tensor:
        return torch.cat(known.misses(move(state, step, free)), dim=1)

    h, size = 1e-6, 7 * 4 + 1
    slope = torch.stack(
        [(misses(h * e) - misses(-h * e)) / (2 * h) for e in torch.eye(size).double()], 1
    )
    products, view = pose_blocks(state, known, 0.5)
    now = misses(torch.zeros(size).double())
    for k, number in enumerate(view.tolist()):
        own = [*range(7 * number, 7 * number + 7), size - 1]
        columns = torch.cat([slope[k, own], now[k : k + 1]])
        pull = 0.5 / 3 / (1 + now[k].square().sum()).sqrt()
        assert_close(products[k], pull * columns @ columns.T, atol=1e-6, rtol=1e-6)
        assert not slope[k, [i for i in range(size) if i not in own]].any()


def test_rough_poses_make_the_solve_better_than_both() -> None:
    given, free, both = [], [], []
    for seed in range(3):
        world = make_world(N, noise=0.05, step=0.3, seed=seed)
        poses = shaken(world, seed=seed)
        given.append(relative_errors(world, poses, unit=False))
        alone = solved(world, KnownCameras(), NO_FLOW).world_from_cam
        free.append(relative_errors(world, alone, unit=True))
        found = solved(world, rough(poses), NO_FLOW)
        both.append(relative_errors(world, found.world_from_cam, unit=False))
        assert np.abs(np.median(found.depth / world.depth) - 1) < 0.2
    assert (np.mean(both, 0) < 0.8 * np.mean(given, 0)).all()
    assert (np.mean(both, 0) < 0.9 * np.mean(free, 0)).all()


def test_both_solvers_come_to_the_same_poses() -> None:
    world = make_world(N, noise=0.02, step=0.3)
    known = rough(shaken(world))
    adam = solved(world, known, AlignOptions(solver="adam", steps=200, pixels=300))
    newton = solved(world, known)
    assert newton.losses["total"] <= 1.001 * adam.losses["total"]
    assert newton.losses["pose"] == pytest.approx(adam.losses["pose"], rel=0.05)
    np.testing.assert_allclose(newton.world_from_cam, adam.world_from_cam, atol=0.02)


@pytest.mark.parametrize("solver", SOLVERS)
def test_some_poses_exact_some_rough_some_free(solver: str) -> None:
    world = make_world(N, noise=0.01, step=0.3)
    poses = shaken(world, length=0.02)
    poses[[0, 3]] = world.world_from_cam[[0, 3]]
    poses[[2, 5]] = np.nan
    sigma = np.tile([DEGREES, 0.02], (N, 1))
    sigma[[0, 3]] = np.nan
    options = AlignOptions(solver=solver, steps=100, pixels=300)  # type: ignore[arg-type]
    found = solved(world, KnownCameras(world_from_cam=poses, pose_sigma=sigma), options)
    np.testing.assert_array_equal(found.world_from_cam[[0, 3]], poses[[0, 3]])
    miss = np.linalg.norm(found.world_from_cam[:, :3, 3] - world.world_from_cam[:, :3, 3], axis=1)
    assert (miss[[1, 4]] > 0).all() and miss.max() < 0.06
    assert "pose" in found.losses and depth_error(world, found.depth) < 0.02


def test_a_rough_pose_that_is_wrong_does_not_spoil_the_others() -> None:
    world = make_world(N, noise=0.01, step=0.3)
    poses = shaken(world)
    poses[2, :3, 3] += 3.0
    found = solved(world, rough(poses))
    miss = np.linalg.norm(found.world_from_cam[:, :3, 3] - world.world_from_cam[:, :3, 3], axis=1)
    assert miss.max() < 0.2


def test_sharp_poses_are_met_and_blunt_ones_are_not() -> None:
    world = make_world(N, noise=0.05, step=0.3)
    poses = shaken(world)
    sharp = solved(world, rough(poses, 1e-3, 1e-5)).world_from_cam
    np.testing.assert_allclose(sharp, poses, atol=1e-3)
    blunt = relative_errors(world, solved(world, rough(poses, 100, 10)).world_from_cam, unit=True)
    free = relative_errors(world, solved(world, KnownCameras()).world_from_cam, unit=True)
    np.testing.assert_allclose(blunt, free, rtol=0.05)


@pytest.mark.parametrize("known_roughly", [True, False])
def test_a_distant_origin_costs_nothing(known_roughly: bool) -> None:
    world = make_world(N, noise=0.02, step=0.3)
    near = rough(shaken(world)) if known_roughly else KnownCameras(None, shaken(world))
    assert near.world_from_cam is not None
    away = np.array([5e5, 4.6e6, 300.0])
    far = replace(near, world_from_cam=near.world_from_cam.copy())
    assert far.world_from_cam is not None
    far.world_from_cam[:, :3, 3] += away
    first, second = solved(world, near), solved(world, far)
    moved = second.world_from_cam.copy()
    moved[:, :3, 3] -= away
    np.testing.assert_allclose(moved, first.world_from_cam, atol=1e-5)
    np.testing.assert_allclose(second.depth, first.depth, rtol=1e-3)
    assert first.world_from_pair is not None and second.world_from_pair is not None
    pair = second.world_from_pair.copy()
    pair[:, :, 3] -= away
    np.testing.assert_allclose(pair, first.world_from_pair, atol=1e-4)


def test_poses_are_centred_and_unknown_ones_stay_unknown() -> None:
    poses = np.repeat(np.eye(4)[None], 3, axis=0)
    poses[:, 0, 3] = 10.0, 20.0, np.nan
    near, origin = near_origin(KnownCameras(None, poses))
    assert near.world_from_cam is not None
    np.testing.assert_array_equal(origin, [15.0, 0.0, 0.0])
    np.testing.assert_array_equal(near.world_from_cam[:, 0, 3], [-5.0, 5.0, np.nan])
    assert poses[0, 0, 3] == 10.0


@pytest.mark.parametrize("sigma", [(0.0, 0.1), (1.0, -0.1), (np.inf, 0.1)])
def test_standard_deviations_are_positive(sigma: tuple[float, float]) -> None:
    world = make_world(N)
    with pytest.raises(UsageError, match=r"pose of frame 0 has standard deviations"):
        solved(world, rough(world.world_from_cam, *sigma))


def test_exact_poses_alone_are_no_rough_ones() -> None:
    poses = np.repeat(np.eye(4)[None], 2, axis=0)
    exact = KnownCameras(None, poses, np.full((2, 2), np.nan))
    assert rough_poses(exact, torch.device("cpu")) is None
    kept = exact.exact.world_from_cam
    assert kept is not None
    np.testing.assert_array_equal(kept, poses)
    assert rough(poses).exact.world_from_cam is None


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("lens", ["shared", "per-frame"])
def test_the_focal_length_of_some_frames_is_known(solver: str, lens: str) -> None:
    world = make_world(N, noise=0.005)
    height, width = world.depth.shape[1:]
    matrix = np.array(
        [[world.focal, 0, (width - 1) / 2], [0, world.focal, (height - 1) / 2], [0, 0, 1.0]]
    )
    known = np.full((N, 3, 3), np.nan)
    known[[1, 4]] = matrix
    options = AlignOptions(solver=solver, focal=lens, steps=100, pixels=300)  # type: ignore[arg-type]
    found = solved(world, KnownCameras(intrinsics=known), options)
    np.testing.assert_allclose(found.focal[[1, 4]], world.focal, rtol=1e-12)
    rest = found.focal[[0, 2, 3, 5]]
    assert len(set(rest.round(9))) == (1 if lens == "shared" else 4)
    np.testing.assert_allclose(rest, world.focal, rtol=0.02)
    assert (rest != world.focal).all()


@pytest.mark.parametrize(("solver", "tolerance"), [("adam", 0.05), ("gauss-newton", 1e-3)])
def test_the_focal_lengths_of_a_zoom_are_found_frame_by_frame(
    solver: str, tolerance: float
) -> None:
    """The last frame comes first in no pair; it starts from its neighbour's focal length."""
    world = make_world(4, zoom=0.06)
    options = AlignOptions(solver=solver, focal="per-frame", pixels=300)  # type: ignore[arg-type]
    found = align(world.predictions, n_frames=4, options=options, flows=world.flows)
    truth = world.focal * 1.06 ** np.arange(4)
    np.testing.assert_allclose(found.focal, truth, rtol=tolerance)


def test_rough_poses_of_keyframes_first_and_groups_after() -> None:
    keyed = [(0, 3), (0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5), (2, 3)]
    world = make_world(N, edges=keyed, noise=0.01, step=0.3)
    poses = shaken(world, length=0.01)
    known = rough(poses, DEGREES, 0.01)
    options = replace(NEWTON, schedule="keyframes")
    found = align(
        world.predictions,
        n_frames=N,
        options=options,
        flows=world.flows,
        known=known,
        keyframes=np.array([0, 3]),
    )
    miss = np.linalg.norm(found.world_from_cam[:, :3, 3] - world.world_from_cam[:, :3, 3], axis=1)
    assert miss.max() < 0.1 and "pose" in found.losses
    poses[3] = np.nan
    with pytest.raises(UsageError, match="fewer than two of the 2 keyframes"):
        align(
            world.predictions,
            n_frames=N,
            options=options,
            known=rough(poses),
            keyframes=np.array([0, 3]),
        )


def test_a_second_solve_goes_on_from_the_first_in_the_frame_of_the_poses() -> None:
    world = make_world(N, noise=0.03, step=0.3)
    poses = shaken(world)
    poses[:, :3, 3] += [900.0, -40.0, 7.0]
    first = solved(world, rough(poses))
    second = align(
        world.predictions,
        n_frames=N,
        options=NEWTON,
        flows=world.flows,
        known=rough(poses),
        start=first,
    )
    assert second.losses["total"] <= first.losses["total"] * (1 + 1e-4)
    np.testing.assert_allclose(second.world_from_cam, first.world_from_cam, atol=0.02)
