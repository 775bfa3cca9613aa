"""Parametrisations of depth: free maps, and a smooth spline on a prior."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from optim_problem import depth_error, make_world, path_error

from align3r.config import AlignOptions
from align3r.errors import UsageError
from align3r.optim import align
from align3r.optim.sampling import Grid, choose_grid
from align3r.optim.surface import (
    SURFACES,
    Surface,
    away_from_edges,
    spline_axes,
    spline_depth,
)

SIZE = (30, 40)
GRID = AlignOptions(geometry="scale-grid", cells=4, pixels=300, solver="gauss-newton")


def whole(size: tuple[int, int] = SIZE) -> Grid:
    return Grid(np.arange(size[0] * size[1]), size, size)


def smooth_prior(depth: np.ndarray, *, size: float = 0.2) -> np.ndarray:
    """(N, h, w) the depth with a scale and a slow error of its own in each frame."""
    rng = np.random.default_rng(1)
    v, u = np.mgrid[-1 : 1 : depth.shape[1] * 1j, -1 : 1 : depth.shape[2] * 1j]
    error = [a * u + b * v + c * u * v + d for a, b, c, d in rng.normal(0, size, (len(depth), 4))]
    return np.asarray(depth * np.exp(error), np.float32)


def test_splines_are_a_partition_of_one_and_cells_are_about_square() -> None:
    rows, columns = spline_axes((288, 512), 9)
    assert rows.shape == (288, 5 + 3) and columns.shape == (512, 9 + 3)
    for axis in (rows, columns):
        np.testing.assert_allclose(axis.sum(1), 1.0)
        assert axis.min() >= 0 and (axis > 0).sum(1).max() <= 4
    rows, _ = spline_axes((512, 100), 1)
    assert rows.shape == (512, 4)


def test_a_field_comes_back_and_full_size_is_the_same_surface() -> None:
    torch.manual_seed(0)
    prior = torch.rand(2, 1200, dtype=torch.float64) + 0.5
    surface = SURFACES["scale-grid"](prior, whole(), 4)
    field = torch.randn(surface.shape, dtype=torch.float64)
    depth = surface.depth(field)
    # The ridge of 1e-6 moves what pixels decide by about as much.
    torch.testing.assert_close(surface.depth(surface.field(depth)), depth, rtol=1e-3, atol=0)
    full = spline_depth(field[1].numpy(), prior[1].reshape(SIZE).numpy(), 4)
    np.testing.assert_allclose(full, depth[1].reshape(SIZE).numpy(), rtol=1e-6)
    few = choose_grid(*SIZE, 60, np.random.default_rng(0))
    thin = SURFACES["scale-grid"](prior[:, few.index], few, 4)
    torch.testing.assert_close(thin.depth(field), depth[:, few.index])


def test_free_maps_have_a_value_for_each_pixel() -> None:
    torch.manual_seed(0)
    prior = torch.rand(2, 1200) + 0.5
    assert torch.equal(SURFACES["depth"](prior, whole(), 4).prior, torch.ones_like(prior))
    scale = SURFACES["scale"](prior, whole(), 4)
    assert scale.shape == (2, 1200)
    torch.testing.assert_close(scale.depth(scale.field(3 * prior)), 3 * prior)


def test_pixels_near_a_step_of_the_prior() -> None:
    prior = np.ones((1, 64, 256))
    prior[:, :, 100:] = 1.5
    smooth = away_from_edges(prior)
    assert not smooth[0, :, 98:102].any() and smooth[0, :, :98].all() and smooth[0, :, 102:].all()
    gentle = np.broadcast_to(np.exp(np.linspace(0, 1, 256)), (1, 64, 256)).copy()
    assert away_from_edges(gentle).all()


@pytest.mark.parametrize("solver", ["adam", "gauss-newton"])
def test_a_smooth_error_of_the_prior_is_taken_out(solver: Any) -> None:
    world = make_world(4)
    prior = smooth_prior(world.depth)
    call: dict[str, Any] = {"n_frames": 4, "flows": world.flows, "prior": prior}
    found = align(world.predictions, options=replace(GRID, solver=solver), **call)
    assert depth_error(world, prior) > 0.1
    assert depth_error(world, found.depth) < 0.002
    assert path_error(world, found.world_from_cam) < 0.02
    assert np.abs(found.focal / world.focal - 1).max() < 0.01


def test_both_solvers_find_one_minimum_and_a_prior_helps_against_noise() -> None:
    world = make_world(4, noise=0.05)
    call: dict[str, Any] = {"n_frames": 4, "flows": world.flows}
    call["prior"] = smooth_prior(world.depth)
    newton = align(world.predictions, options=GRID, **call)
    adam = align(world.predictions, options=replace(GRID, solver="adam"), **call)
    assert newton.losses["total"] <= adam.losses["total"]
    assert newton.losses["total"] == pytest.approx(adam.losses["total"], rel=0.01)
    free = align(world.predictions, options=replace(GRID, geometry="depth"), **call)
    assert free.losses["total"] < newton.losses["total"]  # it may fit the noise
    assert depth_error(world, newton.depth) < depth_error(world, free.depth)


def test_groups_against_keyframes() -> None:
    edges = [(a, b) for a in (0, 3) for b in range(a + 1, a + 3)] + [(0, 3), (1, 2), (4, 5)]
    world = make_world(6, edges)
    found = align(
        world.predictions,
        n_frames=6,
        options=replace(GRID, schedule="keyframes"),
        flows=world.flows,
        prior=smooth_prior(world.depth),
        keyframes=np.array([0, 3]),
    )
    assert depth_error(world, found.depth) < 0.01


def test_without_a_prior_it_is_refused() -> None:
    world = make_world(2)
    with pytest.raises(UsageError, match="needs a prior"):
        align(world.predictions, n_frames=2, options=GRID)


def test_eliminating_a_spline_is_eliminating_its_coefficients_one_by_one() -> None:
    from align3r.optim.eliminate import _Spline

    torch.manual_seed(0)
    basis = torch.randn(50, 6, dtype=torch.float64)
    rows, slope = torch.randn(9, 50, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    bent = torch.rand(50, dtype=torch.float64) + 0.1
    spline = _Spline.over(basis, 9)
    assert spline is not None
    for start in (0, 20):
        px = slice(start, 20 if start == 0 else 50)
        spline.add(px, rows[:, px], bent[px], slope[px])
    # The whole normal matrix, others first, and its Schur complement by inverting the rest.
    columns = slope[:, None] * basis
    corner = columns.T @ torch.diag(bent) @ columns
    expected = rows @ columns @ torch.linalg.inv(corner) @ (rows @ columns).T
    torch.testing.assert_close(spline.taken(), expected, rtol=1e-4, atol=1e-4)


def test_a_surface_of_some_views() -> None:
    surface = Surface(torch.rand(3, 5))
    assert torch.equal(surface.part(torch.tensor([2, 0])).prior, surface.prior[[2, 0]])
    assert torch.equal(surface.row(1).prior, surface.prior[1:2])
