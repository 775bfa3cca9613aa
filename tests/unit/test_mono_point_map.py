"""Laws of the point map: what cancels, what is constant, and how it follows its image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align3r.io.fitting import centre_square_plan, network_plan
from align3r.mono.point_map import fit_point_map, point_map


def values(seed: int = 0, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 9, shape).astype(np.float32)


def obvious(depth: np.ndarray, focal: float) -> np.ndarray:
    """Pixel by pixel, with the focal length left in."""
    height, width = depth.shape
    points = np.zeros((height, width, 3))
    for v, u in np.ndindex(depth.shape):
        z = float(depth[v, u])
        points[v, u] = (u - width / 2) * z / focal, (v - height / 2) * z / focal, z
    points -= points.min((0, 1))
    return points / points.max((0, 1))


@pytest.mark.parametrize("focal", [20.0, 200.0, 3000.0])
def test_the_focal_length_cancels(focal: float) -> None:
    np.testing.assert_allclose(point_map(values()), obvious(values(), focal), atol=5e-7)


@given(st.floats(1e-3, 1e3), st.integers(0, 99))
def test_a_scale_of_the_values_cancels(scale: float, seed: int) -> None:
    scaled = np.float32(scale) * values(seed)
    np.testing.assert_allclose(point_map(scaled), point_map(values(seed)), atol=1e-6)


def test_every_axis_spans_zero_to_one() -> None:
    points = point_map(values())
    assert (points.shape, points.dtype) == ((48, 64, 3), np.float32)
    np.testing.assert_array_equal(points.min((0, 1)), 0)
    np.testing.assert_array_equal(points.max((0, 1)), 1)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e4])
def test_values_without_extent(level: float) -> None:
    points = point_map(np.full((48, 64), level, np.float32))
    assert np.isfinite(points).all()
    assert (points[..., 2] == 0).all()
    assert (points[..., 0] == points[:1, :, 0]).all(), "columns are alike"


def test_the_input_is_left_alone() -> None:
    given_values = values()
    point_map(given_values)
    np.testing.assert_array_equal(given_values, values())


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("size", [(96, 72), (72, 96), (100, 67), (640, 480), (96, 96)])
def test_point_maps_follow_their_image(size: tuple[int, int], crop: bool) -> None:
    """Of a plane the x of a point tells the column, so both steps can be read off."""
    width, height = size
    plan = network_plan(size, 128)
    points = fit_point_map(point_map(np.ones((height, width), np.float32)), plan, crop=crop)
    assert points.shape == (*plan.size[::-1], 3)
    shown = plan.size if crop else plan.resized
    for axis in (0, 1):
        line = points[20, :, 0] if axis == 0 else points[:, 20, 1]
        offset = plan.box[axis] if crop else 0
        step = shown[axis] / plan.size[axis]
        resized = (np.arange(plan.size[axis]) + 0.5) * step - 0.5 + offset
        source = (resized + 0.5) * size[axis] / plan.resized[axis] - 0.5
        inner = slice(5, -5)  # filters reach over the border
        np.testing.assert_allclose(line[inner], source[inner] / (size[axis] - 1), atol=2e-3)


def test_centre_squares_of_point_maps() -> None:
    plan = centre_square_plan((128, 96), 64)
    assert fit_point_map(point_map(values(shape=(96, 128))), plan, crop=True).shape == (64, 64, 3)


def test_a_point_map_at_its_size_is_a_copy() -> None:
    points = point_map(values())
    np.testing.assert_array_equal(fit_point_map(points, network_plan((64, 48), 64)), points)
