"""What `align` promises, on a small world with exact truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from optim_problem import depth_error, make_world, path_error

from align3r.config import AlignOptions
from align3r.errors import SolveError, UsageError
from align3r.optim import align
from align3r.optim.keyframes import keyframes_linked
from align3r.types import KnownCameras, PairPredictions, Solution

QUICK = AlignOptions(steps=60, pixels=300)


def equal(a: Solution, b: Solution) -> bool:
    same = [
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("world_from_cam", "focal", "depth", "confidence")
    ]
    return all(same) and a.losses == b.losses


def with_points(predictions: PairPredictions, points: torch.Tensor) -> PairPredictions:
    return replace(predictions, points=points)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_clean_world_is_found(n: int) -> None:
    world = make_world(n)
    options = replace(QUICK, steps=300)
    found = align(world.predictions, n_frames=n, options=options, flows=world.flows)
    assert found.depth.shape == world.depth.shape and found.depth.dtype == np.float32
    assert found.world_from_cam.shape == (n, 4, 4) and found.world_from_cam.dtype == np.float64
    np.testing.assert_array_equal(found.world_from_cam[0], np.eye(4))
    rotation = found.world_from_cam[:, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), [np.eye(3)] * n, atol=1e-9)
    assert np.abs(found.focal / world.focal - 1).max() < 0.01
    assert path_error(world, found.world_from_cam) < 0.02
    assert depth_error(world, found.depth) < 0.002
    assert found.losses["total"] == pytest.approx(
        found.losses["pair"]
        + QUICK.flow_weight * found.losses["flow"]
        + QUICK.smooth_weight / (n - 1) * found.losses["smooth"]
    )


def test_without_flow_and_smoothness() -> None:
    world = make_world(4)
    options = replace(QUICK, smooth_weight=0.0)
    found = align(world.predictions, n_frames=4, options=options)
    assert set(found.losses) == {"pair", "total"}
    assert depth_error(world, found.depth) < 0.01


def test_half_precision_predictions_do() -> None:
    world = make_world(3, noise=0.02)
    half = replace(
        world.predictions,
        points=world.predictions.points.half(),
        confidence=world.predictions.confidence.half(),
    )
    fine = align(world.predictions, n_frames=3, options=QUICK, flows=world.flows)
    coarse = align(half, n_frames=3, options=QUICK, flows=world.flows)
    np.testing.assert_allclose(coarse.depth, fine.depth, rtol=0.02)


def test_a_static_camera_stays_where_it_is() -> None:
    world = make_world(4, step=0.0)
    found = align(world.predictions, n_frames=4, options=QUICK, flows=world.flows)
    assert np.abs(found.world_from_cam[:, :3, 3]).max() < 0.01 * np.median(found.depth)
    assert depth_error(world, found.depth) < 0.01


def test_one_wrong_pair_does_not_spoil_the_rest() -> None:
    world = make_world(5)
    points = world.predictions.points.clone()
    rng = np.random.default_rng(1)
    points[2] = torch.from_numpy(rng.standard_normal(points[2].shape)).float() + 1
    found = align(with_points(world.predictions, points), n_frames=5, options=QUICK)
    assert depth_error(world, found.depth) < 0.03


def test_a_region_and_a_pair_without_confidence() -> None:
    world = make_world(4)
    confidence = world.predictions.confidence.clone()
    confidence[:, :, :, :10] = 1.0
    confidence[1] = 1.0
    silent = replace(world.predictions, confidence=confidence)
    found = align(silent, n_frames=4, options=QUICK, flows=world.flows)
    assert depth_error(world, found.depth) < 0.02
    np.testing.assert_array_equal(found.confidence[:, :, :10], 1.0)


def test_parts_without_a_link_are_named() -> None:
    world = make_world(5, edges=[(0, 1), (2, 3), (3, 4)])
    with pytest.raises(SolveError, match=r"2 parts without a link: 0-1; 2-4"):
        align(world.predictions, n_frames=5, options=QUICK)


def test_no_pairs_is_an_error() -> None:
    world = make_world(2)
    none = PairPredictions(
        np.zeros((0, 2), np.int64),
        world.predictions.points[:0],
        world.predictions.confidence[:0],
        world.predictions.principal_point,
    )
    with pytest.raises(SolveError, match="no pairs between the 1 frames"):
        align(none, n_frames=1, options=QUICK)


@pytest.mark.parametrize("field", ["points", "confidence"])
def test_a_prediction_that_is_not_finite_is_named(field: str) -> None:
    world = make_world(4)
    values = getattr(world.predictions, field).clone()
    values[3, 1, 2, 3] = torch.nan
    broken = replace(world.predictions, **{field: values})
    with pytest.raises(SolveError, match=r"pair \(1, 2\) has [13] values that are not finite"):
        align(broken, n_frames=4, options=QUICK)


def test_a_solve_that_leaves_the_numbers_is_an_error() -> None:
    world = make_world(3)
    with pytest.raises(SolveError, match="not finite"):
        align(
            world.predictions, n_frames=3, options=replace(QUICK, learning_rate=1e30, solver="adam")
        )


def test_scale_map_and_depth_map_are_one_objective_when_every_pixel_takes_part() -> None:
    world = make_world(3, noise=0.03)
    rng = np.random.default_rng(0)
    prior = (world.depth * np.exp(0.3 * rng.standard_normal(world.depth.shape))).astype(np.float32)
    options = AlignOptions(steps=300, pixels=0)
    call: dict[str, Any] = {"n_frames": 3, "flows": world.flows, "prior": prior}
    depth = align(world.predictions, options=options, **call)
    scale = align(world.predictions, options=replace(options, geometry="scale"), **call)
    assert scale.losses["total"] == pytest.approx(depth.losses["total"], rel=2e-3)
    np.testing.assert_allclose(scale.depth, depth.depth, rtol=0.05)
    assert np.median(np.abs(scale.depth / depth.depth - 1)) < 1e-3


def test_scale_map_on_a_grid_keeps_the_detail_of_the_prior() -> None:
    world = make_world(3, noise=0.04)
    prior = (1.7 * world.depth).astype(np.float32)
    options = replace(QUICK, geometry="scale")
    scale = align(world.predictions, n_frames=3, options=options, prior=prior, flows=world.flows)
    plain = align(world.predictions, n_frames=3, options=QUICK, flows=world.flows)
    assert depth_error(world, scale.depth) < 0.03
    ratio = np.log(scale.depth / world.depth)
    rough = np.log(plain.depth / world.depth)
    assert np.abs(np.diff(ratio, axis=2)).mean() < 1.1 * np.abs(np.diff(rough, axis=2)).mean()


def test_scale_map_without_a_prior_is_an_error() -> None:
    world = make_world(2)
    with pytest.raises(UsageError, match="prior"):
        align(world.predictions, n_frames=2, options=replace(QUICK, geometry="scale"))


def test_known_intrinsics_are_kept() -> None:
    world = make_world(4, noise=0.02)
    width, height = world.depth.shape[2], world.depth.shape[1]
    matrix = np.array(
        [[world.focal, 0, (width - 1) / 2], [0, world.focal, (height - 1) / 2], [0, 0, 1.0]]
    )
    known = KnownCameras(intrinsics=np.repeat(matrix[None], 4, axis=0))
    found = align(world.predictions, n_frames=4, options=QUICK, flows=world.flows, known=known)
    np.testing.assert_allclose(found.focal, world.focal, rtol=1e-12)


@pytest.mark.parametrize("which", [[0, 1, 2, 3], [1, 3], [0, 2]])
def test_known_poses_are_kept_and_give_the_unit(which: list[int]) -> None:
    world = make_world(4, noise=0.01, step=0.3)
    given = world.world_from_cam.copy()
    given[:, :3, 3] += np.array([3.0, -2.0, 1.0])  # a world of its own
    poses = np.full((4, 4, 4), np.nan)
    poses[which] = given[which]
    found = align(
        world.predictions,
        n_frames=4,
        options=replace(QUICK, steps=150),
        flows=world.flows,
        known=KnownCameras(world_from_cam=poses),
    )
    np.testing.assert_array_equal(found.world_from_cam[which], given[which])
    assert np.abs(found.world_from_cam[:, :3, 3] - given[:, :3, 3]).max() < 0.05
    assert np.mean(np.abs(found.depth / world.depth - 1)) < 0.05


class Memory:
    """A checkpoint that can also stop the run, as a kill would."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.arrays: dict[str, np.ndarray] | None = None
        self.saves = 0
        self.stop_at = stop_at

    def load(self) -> dict[str, np.ndarray] | None:
        return self.arrays

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = {name: value.copy() for name, value in arrays.items()}
        self.saves += 1
        if self.saves == self.stop_at:
            raise KeyboardInterrupt


KEYED_EDGES = [(0, 3), *[(i, j) for i in range(3) for j in range(i + 1, 3)], (3, 4), (3, 5), (4, 5)]


@pytest.mark.parametrize("schedule", ["joint", "keyframes"])
@pytest.mark.parametrize("stop_at", [1, 2, 3, 5])
def test_an_interrupted_solve_goes_on_to_the_same_bits(schedule: Any, stop_at: int) -> None:
    world = make_world(6, edges=KEYED_EDGES, noise=0.02)
    call: dict[str, Any] = {
        "n_frames": 6,
        "options": replace(QUICK, schedule=schedule),
        "flows": world.flows,
        "keyframes": np.array([0, 3]),
    }
    whole = align(world.predictions, **call)
    memory = Memory(stop_at)
    if schedule == "joint" and stop_at > 3:
        pytest.skip("a joint solve of 60 steps saves three times")
    with pytest.raises(KeyboardInterrupt):
        align(world.predictions, checkpoint=memory, **call)
    assert equal(align(world.predictions, checkpoint=memory, **call), whole)


def test_a_checkpoint_of_another_problem_is_not_used() -> None:
    memory = Memory()
    small, large = make_world(2), make_world(3)
    align(small.predictions, n_frames=2, options=QUICK, checkpoint=memory)
    fresh = align(large.predictions, n_frames=3, options=QUICK)
    assert equal(align(large.predictions, n_frames=3, options=QUICK, checkpoint=memory), fresh)


def test_the_same_call_gives_the_same_bits() -> None:
    world = make_world(3, noise=0.02)
    first = align(world.predictions, n_frames=3, options=QUICK, flows=world.flows)
    threads = torch.get_num_threads()
    second = align(world.predictions, n_frames=3, options=QUICK, flows=world.flows)
    assert equal(first, second) and torch.get_num_threads() == threads


@pytest.mark.parametrize("solver", ["gauss-newton", "adam"])
def test_groups_share_the_scale_and_pose_of_their_keyframes(solver: Any) -> None:
    world = make_world(6, edges=KEYED_EDGES, noise=0.0)
    seen: list[tuple[int, int]] = []
    found = align(
        world.predictions,
        n_frames=6,
        options=replace(QUICK, solver=solver, schedule="keyframes", steps=120),
        flows=world.flows,
        keyframes=np.array([3, 0]),
        progress=lambda stage, done, total: seen.append((done, total)),
    )
    done = [step for step, total in seen if total == 360]
    assert len(done) == len(seen) and done == sorted(done) and done[-1] == 360
    assert solver == "gauss-newton" or len(seen) == 360
    assert depth_error(world, found.depth) < 0.02
    assert path_error(world, found.world_from_cam) < 0.06
    ratio = np.median(found.depth / world.depth, axis=(1, 2))
    assert np.ptp(np.log(ratio)) < 0.03


def test_keyframes_schedule_needs_keyframes() -> None:
    world = make_world(3)
    with pytest.raises(UsageError, match="at least two keyframes and has 0"):
        align(world.predictions, n_frames=3, options=replace(QUICK, schedule="keyframes"))


def test_unlinked_keyframes_are_an_error() -> None:
    world = make_world(3, edges=[(0, 1), (1, 2)])
    options = replace(QUICK, schedule="keyframes")
    with pytest.raises(SolveError, match="no pairs between the 2 frames"):
        align(world.predictions, n_frames=3, options=options, keyframes=np.array([0, 2]))


def test_a_focal_length_per_frame() -> None:
    world = make_world(4)
    options = replace(QUICK, focal="per-frame")
    found = align(world.predictions, n_frames=4, options=options, flows=world.flows)
    assert len(set(found.focal)) > 1
    assert np.abs(found.focal / world.focal - 1).max() < 0.03


def test_stretched_pixels_of_known_intrinsics() -> None:
    """fx is not fy: the same world seen by a camera with tall pixels."""
    tall = make_world(3, aspect=1.25)
    focal, vertical = tall.focal, tall.focal / 1.25
    height, width = tall.depth.shape[1:]
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, vertical, (height - 1) / 2], [0, 0, 1.0]])
    known = KnownCameras(intrinsics=np.repeat(matrix[None], 3, axis=0))
    found = align(tall.predictions, n_frames=3, options=QUICK, flows=tall.flows, known=known)
    assert depth_error(tall, found.depth) < 0.01
    assert path_error(tall, found.world_from_cam) < 0.05
    assert found.losses["flow"] < 0.05


def test_auto_takes_groups_only_for_long_videos_with_linked_keyframes() -> None:
    keys = np.array([0, 3])
    assert keyframes_linked(np.array(KEYED_EDGES), 6, keys)
    assert not keyframes_linked(np.array([(0, 1), (1, 3)]), 6, keys)
    assert not keyframes_linked(np.array(KEYED_EDGES), 6, keys[:1])
    world = make_world(6, edges=KEYED_EDGES)
    steps: list[int] = []
    align(
        world.predictions,
        n_frames=6,
        options=QUICK,
        keyframes=keys,
        progress=lambda stage, done, total: steps.append(total),
    )
    assert set(steps) == {QUICK.steps}


@pytest.mark.parametrize("solver", ["adam", "gauss-newton"])
def test_an_earlier_solution_is_a_start(solver: Any) -> None:
    world = make_world(4, noise=0.02)
    options = replace(QUICK, solver=solver, steps=300)
    poses = 3.0 * world.world_from_cam
    poses[:, :3, :3] /= 3.0
    poses[:, 3, 3] = 1.0
    poses[2:] = np.nan
    for known in (None, KnownCameras(world_from_cam=poses)):
        call: dict[str, Any] = {"n_frames": 4, "flows": world.flows, "known": known}
        first = align(world.predictions, options=options, **call)
        # One step from the cold start stays behind; from the solution it stays at the minimum.
        again = align(
            world.predictions,
            options=replace(options, steps=1, learning_rate=1e-6, solver="adam"),
            start=first,
            **call,
        )
        assert again.losses["total"] == pytest.approx(first.losses["total"], rel=5e-3)
        np.testing.assert_allclose(again.world_from_cam, first.world_from_cam, atol=1e-3)
        cold = align(
            world.predictions,
            options=replace(options, steps=1, learning_rate=1e-6, solver="adam"),
            **call,
        )
        assert cold.losses["total"] > 1.02 * first.losses["total"]


def test_flow_has_its_say_from_the_start_where_there_is_one() -> None:
    world = make_world(4, noise=0.02)
    call: dict[str, Any] = {"n_frames": 4, "flows": world.flows, "options": QUICK}
    first = align(world.predictions, **call)
    ticks: list[int] = []
    again = align(
        world.predictions, start=first, progress=lambda *told: ticks.append(told[1]), **call
    )
    assert again.losses["total"] <= first.losses["total"] * (1 + 1e-6)
    assert len(ticks) <= 4  # an iteration or two, none of them without flow


def test_a_start_of_other_pairs_is_refused() -> None:
    world = make_world(3)
    first = align(world.predictions, n_frames=3, options=QUICK, flows=world.flows)
    other = make_world(4)
    with pytest.raises(ValueError, match="not a solution of these pairs"):
        align(other.predictions, n_frames=4, options=QUICK, start=first)


def test_the_working_size_does_not_change_what_flow_weighs() -> None:
    small = make_world(3, size=(160, 120), noise=0.03)
    points = small.predictions.points.repeat_interleave(2, 2).repeat_interleave(2, 3)
    sure = small.predictions.confidence.repeat_interleave(2, 1 + 1).repeat_interleave(2, 3)
    twice = {
        name: 2 * getattr(small.flows, name).repeat(2, 1).repeat(2, 2)
        for name in ("forward", "backward")
    }
    valid = np.ones(points.shape[:1] + points.shape[2:4], bool)
    flows = replace(small.flows, **twice, forward_valid=valid, backward_valid=valid)
    cx, cy = small.predictions.principal_point
    large = replace(
        small.predictions,
        points=points,
        confidence=sure,
        # A pixel becomes a block of four, whose middle is where it was.
        principal_point=(2 * cx + 0.5, 2 * cy + 0.5),
    )
    call: dict[str, Any] = {"n_frames": 3, "options": replace(QUICK, pixels=0)}
    one = align(small.predictions, flows=small.flows, **call)
    two = align(large, flows=flows, **call)
    assert two.losses["flow"] == pytest.approx(one.losses["flow"], rel=0.05)
    np.testing.assert_allclose(two.focal / 2, one.focal, rtol=0.01)
