"""Filling in: the smoother against a direct solve, and what completion promises."""

from __future__ import annotations

import numpy as np
from scipy.sparse import diags
from scipy.sparse.linalg import spsolve

from align3r.geometry.smoothing import _smooth_rows, edge_aware_smooth
from align3r.pairwise.geometric.completion import complete, place_objects

RNG = np.random.default_rng(0)


def two_halves(height: int = 40, width: int = 60) -> np.ndarray:
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 200
    return image


def test_smoothing_of_rows_equals_a_direct_sparse_solve() -> None:
    link = RNG.uniform(0, 50, (3, 29))
    maps = RNG.normal(size=(3, 30, 2))
    fast = _smooth_rows(maps, link)
    for row in range(3):
        laplacian = diags([np.r_[link[row], 0] + np.r_[0, link[row]]], [0]) - diags(
            [link[row], link[row]], [-1, 1]
        )
        system = (diags([np.ones(30)], [0]) + laplacian).tocsc()
        np.testing.assert_allclose(fast[row], spsolve(system, maps[row]), rtol=1e-9)


def test_one_row_image_equals_three_direct_solves() -> None:
    image = RNG.integers(0, 255, (1, 25, 3), np.uint8)
    values = RNG.normal(size=(1, 25, 1))
    step = np.linalg.norm(np.diff(image[0].astype(float) / 255, axis=0), axis=-1)
    expected = values[0]
    for k in range(3):
        link = 1.5 * 2000.0 * 4.0 ** (2 - k) / 63 * np.exp(-step / 0.1)
        laplacian = diags([np.r_[link, 0] + np.r_[0, link]], [0]) - diags([link, link], [-1, 1])
        system = (diags([np.ones(25)], [0]) + laplacian).tocsc()
        expected = spsolve(system, expected)[:, None]
    found = edge_aware_smooth(image, values, edge=0.1)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


def test_smoothing_keeps_constants_and_edges() -> None:
    image = RNG.integers(0, 255, (20, 30, 3), np.uint8)
    constant = np.full((20, 30, 1), 3.25)
    np.testing.assert_allclose(edge_aware_smooth(image, constant), constant, rtol=1e-5)
    image = two_halves()
    values = (image[..., :1] > 100).astype(float) + RNG.normal(0, 0.2, (40, 60, 1))
    smooth = edge_aware_smooth(image, values)[..., 0]
    assert smooth[:, :30].max() < 0.1 and smooth[:, 30:].min() > 0.9


def test_completion_fills_a_region_from_its_own_side_of_the_edge() -> None:
    image = two_halves()
    truth = np.where(image[..., 0] > 100, 0.8, 0.2).astype(np.float32)
    trust = np.ones(truth.shape, np.float32)
    trust[10:30, 15:45] = 0
    broken = np.where(trust > 0, truth, 50.0).astype(np.float32)
    filled = complete(image, broken, trust)
    np.testing.assert_allclose(filled, truth, rtol=0.02)
    assert filled.dtype == np.float32


def test_completion_gives_every_pixel_a_value_even_from_one() -> None:
    image = np.full((30, 40, 3), 90, np.uint8)
    trust = np.zeros((30, 40), np.float32)
    trust[15, 20] = 1
    filled = complete(image, np.full((30, 40), 0.7, np.float32), trust)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled, 0.7, rtol=1e-3)


def test_objects_are_put_in_front_of_what_they_hide() -> None:
    v = np.linspace(0.1, 0.9, 80)[:, None]
    static = np.broadcast_to(v, (80, 100)).astype(np.float32)  # a floor that comes nearer
    moving = np.zeros((80, 100), bool)
    moving[20:50, 20:40] = True
    moving[30:40, 70:85] = True
    placed = place_objects(static, moving)
    np.testing.assert_array_equal(placed[~moving], static[~moving])
    assert (placed[moving] >= static[moving] - 1e-6).mean() > 0.9
    for region in (np.s_[20:50, 20:40], np.s_[30:40, 70:85]):
        assert placed[region].max() <= static.max() and placed[region].min() > 0
    np.testing.assert_array_equal(place_objects(static, np.zeros_like(moving)), static)
    everything = np.ones_like(moving)
    assert np.isfinite(place_objects(static, everything)).all()
