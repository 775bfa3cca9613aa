"""Exact fits against slow and obvious twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from align3r.evaluate.metrics import least_absolute
from align3r.evaluate.metrics.cells import nearest_in_cells
from align3r.evaluate.metrics.least_absolute import (
    least_absolute_line,
    least_absolute_line_of_chunks,
)
from align3r.evaluate.metrics.point_fits import fit_scale_and_shift, fit_shift
from align3r.evaluate.metrics.selection import StreamedMedian, lower_median, weighted_median

# Few different numbers, so that ties are everywhere.
LUMPY = st.lists(st.sampled_from([-7.5, -1.0, -0.0, 0.0, 1e-300, 0.25, 1.0, 1.5, 1e9]), min_size=1)


def distance(values: np.ndarray, weights: np.ndarray, x: float, pull: float = 0.0) -> float:
    return float((weights * np.abs(x - values)).sum() + pull * x)


@given(LUMPY, st.integers(0, 9), st.floats(-0.9, 0.9))
def test_no_value_is_better_than_the_median(values: list[float], seed: int, part: float) -> None:
    v = np.array(values)
    w = np.random.default_rng(seed).integers(0, 4, len(v)).astype(float)
    if not w.any():
        assert np.isnan(weighted_median(v, w))
        return
    assert np.isnan(weighted_median(v, w, pull=1.01 * w.sum())), "there is no end"
    pull = part * w.sum()
    best = weighted_median(v, w, pull=pull)
    cost = distance(v, w, best, pull)
    rounding = 1e-13 * distance(v, w, 0.0)
    assert all(cost <= distance(v, w, x, pull) + rounding for x in v[w > 0])


@given(LUMPY, st.integers(0, 9), st.integers(1, 5))
def test_a_streamed_median_is_the_median(values: list[float], seed: int, parts: int) -> None:
    v, rng = np.array(values), np.random.default_rng(seed)
    v = np.where(rng.random(len(v)) < 0.5, v, rng.normal(0, 100, len(v))) + 0.0
    w = rng.integers(0, 4, len(v)).astype(float)
    plain, weighted = StreamedMedian(), StreamedMedian()
    for chunk in np.array_split(np.arange(len(v)), parts):
        plain.weigh(v[chunk])
        weighted.weigh(v[chunk], w[chunk])
    for chunk in np.array_split(np.arange(len(v)), parts):
        plain.gather(v[chunk])
        weighted.gather(v[chunk], w[chunk])
    assert plain.median() == lower_median(v) == sorted(v.tolist())[(len(v) - 1) // 2]
    np.testing.assert_equal(weighted.median(), weighted_median(v, w))


def test_a_median_of_nothing() -> None:
    empty = StreamedMedian()
    assert np.isnan(empty.median())
    empty.weigh(np.empty(0))
    empty.gather(np.empty(0))
    assert np.isnan([empty.median(), lower_median(np.empty(0))]).all()


def line_by_linear_programme(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, pull: tuple[float, float] = (0.0, 0.0)
) -> float:
    """The least sum, from minimising errors e with -e <= a x + b - y <= e."""
    n = len(x)
    line = np.stack([x, np.ones(n)], axis=1)
    above, below = np.hstack([line, -np.eye(n)]), np.hstack([-line, -np.eye(n)])
    done = linprog(
        np.concatenate([pull, w]),
        A_ub=np.vstack([above, below]),
        b_ub=np.concatenate([y, -y]),
        bounds=[(None, None)] * 2 + [(0, None)] * n,
    )
    assert done.status == 0
    return float(done.fun)


@pytest.mark.parametrize("seed", range(12))
def test_the_line_is_that_of_a_linear_programme(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    x, y = rng.normal(3, 2, n), rng.normal(5, 3, n)
    if seed % 3 == 0:
        x, y = np.round(x), np.round(y)
    w = rng.integers(0, 3, n).astype(float) if seed % 2 else np.ones(n)
    w[:2] = 1.0
    line = least_absolute_line(x, y, w)
    cost = float((w * np.abs(line.scale * x + line.shift - y)).sum())
    assert cost == pytest.approx(line_by_linear_programme(x, y, w), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_the_pulled_line_is_that_of_a_linear_programme(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 20
    x, y, w = rng.normal(3, 2, n), rng.normal(5, 3, n), rng.uniform(0.5, 2, n)
    # The pull of values far from the line, as the streamed search makes it.
    side = rng.choice([-1.0, 1.0], 6)
    far = rng.normal(3, 2, 6)
    pull = (float(side @ far), float(side.sum()))
    line = least_absolute_line(x, y, w, pull=pull)
    errors = w @ np.abs(line.scale * x + line.shift - y)
    cost = float(errors + pull[0] * line.scale + pull[1] * line.shift)
    assert cost == pytest.approx(line_by_linear_programme(x, y, w, pull), rel=1e-8)


# A narrow first band puts values on the wrong side, which has to be noticed.
@pytest.mark.parametrize("width", [12.0, 0.5, 0.01])
@pytest.mark.parametrize("seed", range(6))
def test_a_line_through_chunks_is_the_line(
    seed: int, width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(least_absolute, "SAMPLE", 100)
    monkeypatch.setattr(least_absolute, "_WIDTH", width)
    rng = np.random.default_rng(seed)
    x = rng.lognormal(0, 0.5, 3000)
    # Half of a kind comes first, and one part in ten has nothing to do with the rest.
    y = 3 * x - 0.4 + rng.laplace(0, 0.2, 3000) * (1 + (np.arange(3000) > 1500))
    y = np.where(rng.random(3000) < 0.1, rng.uniform(0, 50, 3000), y)
    if seed == 0:
        x, y = np.sort(x), y[np.argsort(x)]
    want = least_absolute_line(x, y)
    parts = np.array_split(np.arange(3000), 7)
    got = least_absolute_line_of_chunks(lambda: ((y[k], x[k]) for k in parts))
    assert tuple(got) == pytest.approx(tuple(want), rel=1e-9)


def test_exact_data_and_data_without_a_slope() -> None:
    x = np.random.default_rng(0).uniform(1, 5, 200)
    assert least_absolute_line(x, 2 * x - 1) == pytest.approx((2.0, -1.0))
    assert least_absolute_line(np.ones(5), np.array([1.0, 2, 2, 2, 9])) == (2.0, 0.0)
    assert least_absolute_line(np.array([2.0]), np.array([3.0])) == (1.5, 0.0)
    assert least_absolute_line(np.zeros(3), np.array([1.0, 2.0, 3.0])) == (1.0, 2.0)
    assert np.isnan(least_absolute_line(np.empty(0), np.empty(0))).all()
    assert np.isnan(least_absolute_line_of_chunks(lambda: iter([]))).all()


def fit_by_trying_all(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, moving: np.ndarray
) -> tuple[float, float]:
    """Least sum and scale over all points that the fit may go through: obvious twin."""
    best = (np.inf, np.nan)
    for i in range(len(x)):
        dx, dy = x - np.where(moving, x[i], 0), y - np.where(moving, y[i], 0)
        for scale in (dy[dx != 0] / dx[dx != 0]).tolist():
            best = min(best, (float(w @ np.abs(scale * dx - dy).sum(1)), scale))
    return best


@pytest.mark.parametrize("shifted", [(True, True, True), (False, False, True), (False,) * 3])
@pytest.mark.parametrize("seed", range(6))
def test_points_are_fitted_as_by_trying_all(seed: int, shifted: tuple[bool, bool, bool]) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.normal((0, 0, 4), 1, (25, 3)), rng.uniform(0.1, 1, 25)
    y = 2.5 * x + rng.laplace(0, 0.2, (25, 3)) + np.where(shifted, [0.3, -0.2, 1.0], 0.0)
    if seed == 1:
        x, y = np.round(x), np.round(y)
    if seed == 2:
        y = rng.normal(0, 1, (25, 3))
    w[3] = 0.0
    moving = np.array(shifted)
    fit = fit_scale_and_shift(x, y, w, shifted=shifted)
    kept = w > 0
    want, scale = fit_by_trying_all(x[kept], y[kept], w[kept], moving)
    cost = float(w @ np.abs(fit.apply(x) - y).sum(1))
    assert cost == pytest.approx(want, rel=1e-9)
    if seed not in (1, 2):
        assert fit.scale == pytest.approx(scale, rel=1e-9)
    assert (fit.shift[~moving] == 0).all()


def test_points_that_fit_exactly_and_no_points() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (3000, 3))
    fit = fit_scale_and_shift(x, 0.7 * x + [1.0, 2.0, 3.0], np.ones(3000))
    assert fit.scale == pytest.approx(0.7)
    np.testing.assert_allclose(fit.shift, [1.0, 2.0, 3.0], rtol=1e-9)
    nothing = fit_scale_and_shift(np.empty((0, 3)), np.empty((0, 3)), np.empty(0))
    assert np.isnan(nothing.scale) and np.isnan(nothing.shift).all()
    assert np.isnan(fit_shift(np.empty((0, 3)), np.empty((0, 3)), np.empty(0)).shift).all()
    one = fit_scale_and_shift(np.ones((1, 3)), np.ones((1, 3)), np.ones(1))
    assert np.isnan(one.scale), "one point fixes no scale and shift"


def cells_by_loop(mask: np.ndarray, size: int) -> np.ndarray:
    """Whether a cell has a valid pixel within it: obvious twin where cells are whole pixels."""
    step = len(mask) // size
    return np.array(
        [
            [mask[i * step : (i + 1) * step, j * step : (j + 1) * step].any() for j in range(size)]
            for i in range(size)
        ]
    )


def test_cells_of_whole_pixels() -> None:
    mask = np.random.default_rng(0).random((24, 24)) < 0.2
    cells = nearest_in_cells(mask, (8, 8))
    np.testing.assert_array_equal(cells.known, cells_by_loop(mask, 8))
    image = np.arange(24 * 24).reshape(24, 24)
    assert mask[cells.row[cells.known], cells.column[cells.known]].all()
    assert len(cells.of(image)) == cells.known.sum()
    assert not nearest_in_cells(np.zeros((9, 9), bool)).known.any()
