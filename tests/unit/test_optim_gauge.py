"""Which unit of length a scene is told in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optim_problem import depth_error, make_world

from align3r.config import AlignOptions
from align3r.optim import align
from align3r.optim.gauge import in_metres
from align3r.types import KnownCameras, Solution

N = 4
OPTIONS = AlignOptions(solver="gauss-newton", pixels=300)


def test_everything_grows_by_the_factor_that_most_frames_agree_on() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (5, 5, 8))
    pose = np.tile(np.eye(4), (5, 1, 1))
    pose[:, :3, 3] = rng.normal(size=(5, 3))
    pair = rng.normal(size=(2, 3, 4))
    metric = 3 * depth * np.array([1.0, 1.02, 0.98, 1.0, 9.0])[:, None, None]
    metric[:, :2] *= 5  # things the depth network misjudges
    plain = Solution(pose, np.full(5, 30.0), (4, 2.5), depth.copy(), depth, {}, pair)
    found = in_metres(plain, metric)
    assert found.is_metric
    np.testing.assert_allclose(found.depth, 3 * depth)
    np.testing.assert_allclose(found.world_from_pair, 3 * pair)
    np.testing.assert_allclose(found.world_from_cam[:, :3, 3], 3 * pose[:, :3, 3])
    np.testing.assert_array_equal(found.world_from_cam[:, :3, :3], pose[:, :3, :3])


def test_a_metric_prior_gives_the_unit() -> None:
    world = make_world(N, noise=0.02, step=0.3)
    rng = np.random.default_rng(1)
    off = np.array([1.0, 1.1, 0.9, 1.0])[:, None, None] * rng.lognormal(0, 0.1, world.depth.shape)
    metric = (world.depth * off).astype(np.float32)
    call = {"n_frames": N, "options": OPTIONS, "flows": world.flows}
    plain = align(world.predictions, **call)  # type: ignore[arg-type]
    found = align(world.predictions, metric=metric, **call)  # type: ignore[arg-type]
    assert found.is_metric and not plain.is_metric
    assert np.median(found.depth / world.depth) == pytest.approx(1, abs=0.02)
    factor = np.median(found.depth / plain.depth)
    np.testing.assert_allclose(found.depth, factor * plain.depth, rtol=1e-5)
    assert depth_error(world, found.depth) == pytest.approx(
        depth_error(world, plain.depth), rel=1e-6
    )
    for ours, theirs in (
        (found.world_from_cam[:, :3, 3], plain.world_from_cam[:, :3, 3]),
        (found.world_from_pair, plain.world_from_pair),
    ):
        np.testing.assert_allclose(ours, factor * theirs, rtol=1e-3, atol=1e-6)
    again = align(world.predictions, metric=metric, start=found, **call)  # type: ignore[arg-type]
    np.testing.assert_allclose(again.depth, found.depth, rtol=0.02)


@pytest.mark.parametrize("sigma", [None, np.full((N, 2), 0.5)])
def test_poses_win_over_a_metric_prior(sigma: np.ndarray | None) -> None:
    world = make_world(N, noise=0.01, step=0.3)
    known = KnownCameras(world_from_cam=world.world_from_cam, pose_sigma=sigma)
    call = {"n_frames": N, "options": OPTIONS, "flows": world.flows, "known": known}
    metric = (7 * world.depth).astype(np.float32)
    found = align(world.predictions, metric=metric, **call)  # type: ignore[arg-type]
    plain = align(world.predictions, **call)  # type: ignore[arg-type]
    assert not found.is_metric
    np.testing.assert_array_equal(found.depth, plain.depth)


def test_a_start_in_another_unit_is_the_same_start() -> None:
    world = make_world(N, noise=0.02, step=0.3)
    call = {"n_frames": N, "options": OPTIONS, "flows": world.flows}
    first = align(world.predictions, **call)  # type: ignore[arg-type]
    assert first.world_from_pair is not None
    poses = first.world_from_cam.copy()
    poses[:, :3, 3] *= 8
    larger = replace(
        first,
        world_from_cam=poses,
        depth=8 * first.depth,
        world_from_pair=8 * first.world_from_pair,
    )
    again = align(world.predictions, start=first, **call)  # type: ignore[arg-type]
    other = align(world.predictions, start=larger, **call)  # type: ignore[arg-type]
    assert other.losses["total"] == pytest.approx(again.losses["total"], rel=1e-4)
