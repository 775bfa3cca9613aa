"""Warping and the forward-backward test, on flows that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from align3r.flow.warp import backward_warp, consistent, forward_backward_error, pixel_grid


def constant(flow: tuple[float, float], shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.broadcast_to(np.float32(flow), (*shape, 2)).copy()


def test_the_grid_holds_columns_then_rows_and_nobody_writes_into_it() -> None:
    grid = pixel_grid(3, 5)
    assert grid.shape == (3, 5, 2) and grid.dtype == np.float32
    assert grid[2, 4].tolist() == [4, 2]
    with pytest.raises(ValueError, match="read-only"):
        grid[0, 0] = 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [(), (2,), (3,)])
def test_a_shift_is_undone_and_the_border_repeats(
    dtype: type[np.generic], channels: tuple[int, ...]
) -> None:
    source = np.random.default_rng(0).integers(0, 255, (20, 30, *channels)).astype(dtype)
    target = np.roll(source, (2, 4), (0, 1))  # pixel (u, v) of source is (u + 4, v + 2) there
    warped = backward_warp(target, constant((4, 2)))
    np.testing.assert_array_equal(warped[:-2, :-4], source[:-2, :-4])
    np.testing.assert_array_equal(warped[:-2, -4:], np.repeat(target[2:, -1:], 4, 1))


def test_half_a_pixel_is_the_mean_of_two() -> None:
    image = np.random.default_rng(1).random((20, 30)).astype(np.float32)
    warped = backward_warp(image, constant((0.5, 0)))
    np.testing.assert_allclose(warped[:, :-1], (image[:, :-1] + image[:, 1:]) / 2, atol=1e-6)


def test_there_and_back_again() -> None:
    error = forward_backward_error(constant((4, 2)), constant((-4, -2)))
    assert (error[:-2, :-4] == 0).all()
    assert np.isinf(error[-2:]).all() and np.isinf(error[:, -4:]).all()
    error = forward_backward_error(constant((4, 2)), constant((-1, 2)))
    np.testing.assert_allclose(error[:-2, :-4], 5.0)


@pytest.mark.parametrize(
    ("move", "miss", "kept"), [(0, 0.9, True), (0, 1.1, False), (12, 1.2, True), (12, 1.3, False)]
)
def test_the_tolerance_grows_with_the_displacement(move: float, miss: float, kept: bool) -> None:
    valid = consistent(constant((move, 0)), constant((-move, miss)))
    assert (valid[:, : 30 - move] == kept).all()
    assert not valid[:, 30 - move :].any()
