"""MoGe's fits of scale and shift, and its loss of points, against the reference's own numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from align3r.evaluate.metrics.cells import nearest_in_cells
from align3r.evaluate.metrics.moge import affine_disparity
from align3r.evaluate.metrics.point_fits import fit_shift
from align3r.models.moge.alignment import Fit, fit_scale, fit_scale_and_shift
from align3r.models.moge.losses import global_loss

NUMERIC = np.load(Path(__file__).parent / "multiview" / "moge_numeric.npz")
CUT = pytest.mark.parametrize(("limit", "suffix"), [(math.inf, ""), (1.0, "_trunc")])


def given(name: str) -> Tensor:
    return torch.from_numpy(NUMERIC[name])


def check(found: Tensor, name: str, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(found, NUMERIC[name], rtol=1e-6, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("x", "limit", "name"),
    [
        ("align.x", math.inf, "align.notrunc"),
        ("align.x", 1.0, "align.trunc1"),
        ("align.signed_x", math.inf, "align.signed"),
    ],
)
def test_scales(x: str, limit: float, name: str) -> None:
    found = fit_scale(given(x), given("align.y"), given("align.w"), limit)
    check(found.scale, f"{name}.a")
    check(found.error, f"{name}.loss", 5e-6)


def test_the_scale_of_depth() -> None:
    y = given("align.y")
    check(fit_scale(given("align.x"), y, 1 / y.clamp(min=0.1)).scale, "depth_scale")


@CUT
def test_scale_and_shift_of_depth(limit: float, suffix: str) -> None:
    x, y = (given(f"affine.{name}")[..., None] for name in ("src", "tgt"))
    found = fit_scale_and_shift(x, y, given("affine.w"), shifted=(True,), limit=limit)
    check(found.scale, f"affine.out{suffix}.0")
    check(found.shift[:, 0], f"affine.out{suffix}.1")


def fit_points(target: str, shifted: tuple[bool, ...], limit: float) -> Fit:
    x, y, w = (given(f"points.{name}") for name in ("src", target, "w"))
    return fit_scale_and_shift(x, y, w, shifted=shifted, limit=limit)


@CUT
def test_scale_and_shift_of_points(limit: float, suffix: str) -> None:
    check(fit_points("tgt", (False,) * 3, limit).scale, f"points.scale{suffix}")
    along_z = fit_points("tgt", (False, False, True), limit)
    check(along_z.scale, f"points.scale_zshift{suffix}.0")
    check(along_z.shift, f"points.scale_zshift{suffix}.1")
    anyhow = fit_points("tgt2", (True,) * 3, limit)
    check(anyhow.scale, f"points.scale_xyzshift{suffix}.0")
    check(anyhow.shift, f"points.scale_xyzshift{suffix}.1")


@pytest.mark.parametrize("k", [0, 1])
def test_fits_of_the_evaluation(k: int) -> None:
    x, y, w = (NUMERIC[f"points.{name}"][k] for name in ("src", "tgt2", "w"))
    shift = fit_shift(x, y, w).shift
    np.testing.assert_allclose(shift, NUMERIC["points.xyzshift"][k], rtol=1e-6)
    assert shift[2] == pytest.approx(float(NUMERIC["points.zshift"][k, 2]), rel=1e-6)
    line = affine_disparity(1 / NUMERIC["affine.tgt"][k].astype(float), NUMERIC["affine.src"][k])
    truth = [NUMERIC[f"affine.lstsq.{part}"][k] for part in (0, 1)]
    np.testing.assert_allclose(line, truth, rtol=1e-5)


@pytest.mark.parametrize("k", [0, 1])
def test_the_nearest_of_a_mask(k: int) -> None:
    cells = nearest_in_cells(NUMERIC["mnr.mask"][k], (16, 16))
    known = NUMERIC["mnr.mask16"][k]
    np.testing.assert_array_equal(cells.known, known)
    np.testing.assert_array_equal(cells.row[known], NUMERIC["mnr.index_i"][k][known])
    np.testing.assert_array_equal(cells.column[known], NUMERIC["mnr.index_j"][k][known])
    finer = nearest_in_cells(NUMERIC["mnr.mask"][k], (64, 64)).known
    np.testing.assert_array_equal(finer, NUMERIC["mnr.mask64"][k])


def loss_of(points: Tensor, truth: Tensor, mask: np.ndarray, side: int, **how: object) -> Tensor:
    cells = [nearest_in_cells(m, (side, side)) for m in mask]
    samples = np.stack([(c.row * mask.shape[2] + c.column).ravel() for c in cells])
    return global_loss(
        points,
        truth,
        torch.from_numpy(mask),
        samples=torch.from_numpy(samples),
        sampled=torch.from_numpy(np.stack([c.known.ravel() for c in cells])),
        **how,  # type: ignore[arg-type]
    )


def test_the_loss_of_points_and_its_gradient() -> None:
    points, truth = given("loss.pred").requires_grad_(), given("loss.gt")
    loss = loss_of(points, truth, NUMERIC["focal.mask"], 32)
    np.testing.assert_allclose(loss.detach(), NUMERIC["loss.global32"], rtol=1e-5)
    loss.sum().backward()
    assert points.grad is not None
    wrong = np.abs(points.grad.numpy() - NUMERIC["loss.global32.grad"]) > 1e-8
    # Where the fit is exact the error is 0, and its slope whatever rounding makes of it.
    assert wrong.sum() <= 8


def test_the_loss_of_points_that_are_known_at_few_pixels() -> None:
    mask = NUMERIC["focal.mask"]
    loss = loss_of(given("loss.pred"), given("loss.gt"), mask, 16, beta=0.1, sparse=True)
    np.testing.assert_allclose(loss, NUMERIC["loss.global16_beta_sparse"], rtol=1e-5)


def test_points_behind_a_mirror_teach_nothing() -> None:
    points = (-given("loss.gt").nan_to_num(posinf=1)).requires_grad_()
    loss = loss_of(points, given("loss.gt"), NUMERIC["focal.mask"], 16)
    loss.sum().backward()
    assert points.grad is not None
    assert not loss.any() and not points.grad.any()


def test_images_without_a_valid_pixel_teach_nothing() -> None:
    points = given("loss.pred").requires_grad_()
    mask = np.zeros_like(NUMERIC["focal.mask"])
    loss = loss_of(points, given("loss.gt"), mask, 16, sparse=True)
    loss.sum().backward()
    assert points.grad is not None
    assert not loss.any() and not points.grad.any()


@pytest.mark.parametrize("limit", [math.inf, 0.7])
def test_the_best_of_all_ratios(limit: float) -> None:
    rng = np.random.default_rng(4)
    x, y, w = rng.normal(size=(3, 20, 9))
    w = np.abs(w)
    x[:, 0], w[:, 1] = 0, 0
    found = fit_scale(*map(torch.from_numpy, (x, y, w)), limit)
    a = (y / np.where(x == 0, 1, x))[:, :, None]
    sums = np.minimum(w[:, None] * np.abs(a * x[:, None] - y[:, None]), limit).sum(-1)
    np.testing.assert_allclose(found.error, sums[:, 1:].min(1), rtol=1e-9)


def test_fits_of_nothing() -> None:
    nothing = torch.zeros(2, 5)
    assert fit_scale(nothing, nothing + 1, nothing).scale.isnan().all()
    fit = fit_scale_and_shift(torch.rand(1, 5, 3), torch.rand(1, 5, 3), torch.zeros(1, 5))
    assert fit.scale.isnan().all() and not fit.shift.any()
