"""Depth and confidence at full size, once cameras and pairs are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from optim_problem import World, make_world
from scipy.optimize import minimize_scalar

from align3r.io.storage import MappedFiles, Storage
from align3r.optim import depth as module
from align3r.optim.dense import as_solved
from align3r.optim.depth import between_samples, depth_along_rays, full_depth
from align3r.optim.sampling import choose_grid
from align3r.optim.state import Estimate
from align3r.types import PairPredictions


def test_depth_along_a_ray_is_the_least_distance() -> None:
    rng = np.random.default_rng(0)
    rays = np.concatenate([0.4 * rng.standard_normal((2, 30)), np.ones((1, 30))])
    points = rays * (3 + 0.3 * rng.standard_normal((6, 1, 30)))
    points += 0.1 * rng.standard_normal(points.shape)
    points[0] *= 2.5  # a wrong prediction
    weight = rng.uniform(0.1, 2, (6, 30))
    found = depth_along_rays(*(torch.from_numpy(x) for x in (points, rays, weight))).numpy()

    def cost(depth: float, pixel: int) -> float:
        miss = depth * rays[:, pixel] - points[:, :, pixel]
        return float(weight[:, pixel] @ np.linalg.norm(miss, axis=1))

    for pixel in range(30):
        best = minimize_scalar(cost, bounds=(0.1, 9), args=(pixel,), method="bounded")
        assert cost(found[pixel], pixel) <= best.fun * 1.002


def truth(world: World, sigma: np.ndarray) -> tuple[Estimate, torch.Tensor]:
    """The true estimate, given the scale of each pair, and the centred pixels."""
    pose = torch.from_numpy(world.world_from_cam)
    first = pose[torch.from_numpy(world.predictions.edges[:, 0])]
    linear = torch.from_numpy(sigma)[:, None, None] * first[:, :3, :3]
    n, height, width = world.depth.shape
    v, u = np.mgrid[:height, :width]
    pixels = np.stack([u - (width - 1) / 2, v - (height - 1) / 2]).reshape(1, 2, -1)
    estimate = Estimate(
        pose,
        torch.full((n,), world.focal, dtype=torch.float64),
        torch.from_numpy(world.depth).flatten(1),
        torch.cat([linear, first[:, :3, 3:]], dim=2),
    )
    return estimate, torch.from_numpy(pixels).float().expand(n, -1, -1)


def pair_scales(world: World) -> np.ndarray:
    z = world.predictions.points[:, 0, ..., 2].numpy()
    return np.median(world.depth[world.predictions.edges[:, 0]] / z, axis=(1, 2))


def test_exact_predictions_give_exact_depth() -> None:
    world = make_world(4)
    estimate, centred = truth(world, pair_scales(world))
    depth, confidence = full_depth(world.predictions, estimate, centred)
    np.testing.assert_allclose(depth, world.depth, rtol=1e-4)
    assert depth.dtype == confidence.dtype == np.float32
    assert (confidence > 9).all()


def test_a_few_pixels_at_a_time_or_all_at_once_in_memory_or_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(4, noise=0.05)
    estimate, centred = truth(world, pair_scales(world))
    depth, confidence = full_depth(world.predictions, estimate, centred)
    monkeypatch.setattr(module, "AT_ONCE", 100)
    storage = Storage(MappedFiles(tmp_path), frozenset({"solution"}))
    mapped = full_depth(world.predictions, estimate, centred, storage=storage)
    assert isinstance(mapped[0], np.memmap) and isinstance(mapped[1], np.memmap)
    np.testing.assert_allclose(mapped[0], depth, rtol=1e-5)
    np.testing.assert_allclose(mapped[1], confidence, rtol=1e-4)


def test_one_wrong_prediction_moves_no_depth_but_lowers_confidence() -> None:
    world = make_world(4)
    estimate, centred = truth(world, pair_scales(world))
    points = world.predictions.points.clone()
    points[:2, 0, :10] *= 1.5  # two of the three predictions of frame 0's upper third
    points[0, 0, :10] /= 1.5 * 1.5
    worse = PairPredictions(
        world.predictions.edges,
        points,
        world.predictions.confidence,
        world.predictions.principal_point,
    )
    depth, confidence = full_depth(worse, estimate, centred)
    np.testing.assert_allclose(depth[0], world.depth[0], rtol=1e-3)
    assert (confidence[0, :10] < 5).all() and (confidence[0, 10:] > 9).all()


def test_pixels_that_nobody_trusts_still_get_a_depth() -> None:
    world = make_world(3)
    world.predictions.confidence[:, :, 5:9] = 1.0
    estimate, centred = truth(world, pair_scales(world))
    depth, confidence = full_depth(world.predictions, estimate, centred)
    np.testing.assert_allclose(depth, world.depth, rtol=1e-3)
    np.testing.assert_allclose(confidence[:, 5:9], 1.0)


def test_a_field_between_samples_is_smooth_whatever_one_of_them_says() -> None:
    grid = choose_grid(36, 48, 100, np.random.default_rng(0))
    values = 0.2 * grid.pixels()[:, 0] / 48
    values[40] += 0.7  # one cell on an outlier
    field = between_samples(values, grid)
    assert field.shape == (36, 48) and field.dtype == np.float32
    assert np.abs(field - 0.2 * np.arange(48) / 48).max() < 0.04


def test_a_full_grid_is_the_field_itself() -> None:
    grid = choose_grid(4, 5, 0, np.random.default_rng(0))
    values = np.random.default_rng(1).normal(size=20)
    np.testing.assert_allclose(between_samples(values, grid), values.reshape(4, 5), rtol=1e-6)


def test_depth_of_pairs_is_moved_as_the_solved_pixels_were() -> None:
    grid = choose_grid(36, 48, 400, np.random.default_rng(0))
    v, u = np.mgrid[:36, :48]
    of_pairs = np.where(u < 20, 1.0, 3.0)
    by = 0.05 * np.sin(v / 10)
    solved = (of_pairs * np.exp(by)).reshape(-1)[grid.index]
    depth = as_solved(solved, of_pairs, grid)
    assert np.abs(np.log(depth / of_pairs) - by).max() < 0.01
    np.testing.assert_allclose(depth[:, 20] / depth[:, 19], 3.0, rtol=0.01)
