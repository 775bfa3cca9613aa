"""The flow bundle adjustment against central differences, a dense twin and known worlds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from geometric_worlds import CENTRE, FOCAL, angle_deg, shape_error, world

from align3r.pairwise.geometric.bundle import (
    Adjustment,
    Cameras,
    _jacobians,
    _moved,
    _Normal,
    adjust,
    project,
    robust_cost,
    robust_weight,
    skew,
)
from align3r.pairwise.geometric.observations import Observations

H = 1e-6


def numeric_jacobian(cameras: Cameras, obs: Observations) -> np.ndarray:
    """(2 M, 6 N + 1 + A) by central differences of the residual, one unknown at a time."""
    n, n_anchor = obs.n_frames, len(obs.anchor_frame)

    def residual(delta: np.ndarray) -> np.ndarray:
        moved = _moved(cameras, delta[: 6 * n + 1], delta[6 * n + 1 :])
        return project(moved, obs)[0].ravel()

    columns = []
    for unknown in np.eye(6 * n + 1 + n_anchor):
        columns.append((residual(H * unknown) - residual(-H * unknown)) / (2 * H))
    return np.stack(columns, 1)


def rough(cameras: Cameras, rng: np.random.Generator, *, size: float) -> Cameras:
    """The cameras and depths, disturbed; the first camera stays."""
    n = len(cameras.cam_from_world)
    delta = rng.normal(0, size, 6 * n + 1)
    delta[:6] = 0
    moved = _moved(cameras, delta, np.zeros(len(cameras.inverse_depth)))
    noise = np.exp(rng.normal(0, 3 * size, len(cameras.inverse_depth)))
    return replace(moved, inverse_depth=cameras.inverse_depth * noise)


def test_skew_is_the_cross_product() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 7, 3))
    np.testing.assert_allclose(np.einsum("mab,mb->ma", skew(a), b), np.cross(a, b), atol=1e-12)


def test_true_cameras_have_no_residual() -> None:
    cameras, obs = world()
    residual, z = project(cameras, obs)
    assert np.abs(residual).max() < 1e-9 and (z > 0).all()


def test_a_point_behind_a_camera_is_an_outlier() -> None:
    cameras, obs = world(3, gap=2)
    turned = cameras.cam_from_world.copy()
    turned[2, :3, :3] = np.diag([-1.0, 1.0, -1.0])
    residual, z = project(replace(cameras, cam_from_world=turned), obs)
    behind = z < 1e-3
    assert behind.any()
    assert (robust_weight(residual[behind], 3.0) < 1e-9).all()


def test_jacobians_equal_central_differences() -> None:
    cameras, obs = world(4, spacing=24)
    cameras = rough(cameras, np.random.default_rng(1), size=0.02)
    pose_i, pose_j, focal, depth = _jacobians(cameras, obs)
    numeric = numeric_jacobian(cameras, obs).reshape(len(obs.anchor), 2, -1)
    first_depth = 6 * obs.n_frames + 1
    for row in range(len(obs.anchor)):
        i, j = int(obs.source[row]), int(obs.target[row])
        expected = np.zeros_like(numeric[row])
        expected[:, 6 * i : 6 * i + 6] = pose_i[row]
        expected[:, 6 * j : 6 * j + 6] = pose_j[row]
        expected[:, first_depth - 1] = focal[row]
        expected[:, first_depth + obs.anchor[row]] = depth[row]
        np.testing.assert_allclose(numeric[row], expected, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("damping", [1e-4, 0.3])
@pytest.mark.parametrize("prior", [0.0, 50.0])
def test_step_equals_a_dense_one_without_elimination(damping: float, prior: float) -> None:
    cameras, obs = world(4, spacing=24, noise_px=0.3, outliers=0.1)
    cameras = rough(cameras, np.random.default_rng(2), size=0.003)
    options = Adjustment(
        scale_px=2.0, focal_prior=float(np.log(FOCAL)) + 0.1, focal_prior_weight=prior
    )
    fast = _Normal(cameras, obs, options).step(damping)
    assert fast is not None

    residual, _ = project(cameras, obs)
    weight = np.repeat(robust_weight(residual, options.scale_px), 2)
    jacobian = numeric_jacobian(cameras, obs)
    hessian = jacobian.T @ (weight[:, None] * jacobian)
    gradient = jacobian.T @ (weight * residual.ravel())
    lens = 6 * obs.n_frames
    diagonal = np.diag(hessian).copy()
    hessian += damping * np.diag(diagonal)
    depths = np.arange(lens + 1, len(gradient))
    hessian[depths, depths] += 1e-6 * np.median(diagonal[depths])
    hessian[lens, lens] += prior
    gradient[lens] += prior * (np.log(cameras.focal) - options.focal_prior)
    free = np.arange(6, len(gradient))
    delta = np.zeros(len(gradient))
    delta[free] = -np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
    slow = _moved(cameras, delta[: lens + 1], delta[lens + 1 :])

    start = cameras.cam_from_world
    step = np.abs(slow.cam_from_world - start).max()
    assert step > 1e-3, "a step of nothing proves nothing"
    np.testing.assert_allclose(
        fast.cam_from_world - start, slow.cam_from_world - start, atol=1e-3 * step
    )
    np.testing.assert_allclose(np.log(fast.focal), np.log(slow.focal), atol=1e-5)
    np.testing.assert_allclose(fast.inverse_depth, slow.inverse_depth, rtol=1e-3)


def test_adjust_recovers_cameras_and_focal_among_outliers() -> None:
    true, obs = world(6, spacing=10, gap=4, noise_px=0.1, outliers=0.2, seed=3)
    start = rough(true, np.random.default_rng(4), size=0.01)
    start = replace(start, focal=1.06 * FOCAL)
    found = start
    for scale in (8.0, 3.0, 1.0):
        found = adjust(found, obs, Adjustment(scale_px=scale), steps=25)
    assert abs(start.focal / FOCAL - 1) > 0.05
    assert abs(found.focal / FOCAL - 1) < 0.005
    assert angle_deg(found.cam_from_world, true.cam_from_world) < 0.05
    assert shape_error(found.cam_from_world, true.cam_from_world) < 0.005
    np.testing.assert_array_equal(found.cam_from_world[0], start.cam_from_world[0])


def test_adjust_never_makes_it_worse_and_keeps_what_is_not_free() -> None:
    true, obs = world(5, noise_px=0.2, outliers=0.1)
    start = rough(true, np.random.default_rng(5), size=0.01)
    free = np.array([False, True, False, True, True])
    options = Adjustment(scale_px=2.0, free_pose=free, free_focal=False)
    found = adjust(start, obs, options, steps=8)
    before = robust_cost(project(start, obs)[0], 2.0)
    assert robust_cost(project(found, obs)[0], 2.0) < 0.5 * before
    np.testing.assert_array_equal(found.cam_from_world[~free], start.cam_from_world[~free])
    assert found.focal == start.focal


def test_turning_camera_finds_focal_though_no_depth_is_told() -> None:
    true, obs = world(5, spacing=10, gap=4, noise_px=0.1, step=0.0, seed=6)
    poses = true.cam_from_world.copy()
    poses[:, :3, 3] = 0
    true = replace(true, cam_from_world=poses)
    residual, _ = project(true, obs)
    obs = replace(obs, pixel=obs.pixel + residual)  # what a camera that only turns would see
    start = replace(rough(true, np.random.default_rng(7), size=0.005), focal=1.1 * FOCAL)
    start.cam_from_world[:, :3, 3] = 0
    found = adjust(start, obs, Adjustment(free_translation=False), steps=30)
    assert abs(found.focal / FOCAL - 1) < 0.01
    assert angle_deg(found.cam_from_world, true.cam_from_world) < 0.05
    assert not found.cam_from_world[:, :3, 3].any()


def test_focal_prior_decides_where_nothing_else_does() -> None:
    cameras, obs = world(3)
    nothing = obs.among(np.zeros(3, bool))
    assert not len(nothing.anchor)
    blank = Observations(
        obs.anchor_frame, obs.anchor_pixel, obs.anchor[:1], obs.target[:1], obs.pixel[:1], 3
    )
    options = Adjustment(
        free_pose=np.zeros(3, bool), focal_prior=float(np.log(100.0)), focal_prior_weight=1e4
    )
    found = adjust(cameras, blank, options, steps=20)
    assert abs(found.focal - 100.0) < 0.5 and found.centre == CENTRE
