"""Metrics of single images and clouds against MoGe's and CUT3R's numbers (float32)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from align3r.evaluate.metrics import MogePrediction, MogeTruth, cloud_errors, moge_errors
from align3r.evaluate.metrics.cells import nearest_in_cells
from align3r.evaluate.metrics.least_absolute import least_absolute_line
from align3r.evaluate.metrics.moge import affine_depth, affine_disparity, fov_x, scale_depth
from align3r.evaluate.metrics.point_fits import fit_scale_and_shift, fit_shift

HERE = Path(__file__).parent / "evaluation"
MOGE, CLOUDS = (
    json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")) for name in ("moge", "clouds")
)
KINDS = {
    "scale_invariant_points_and_depth": "scale",
    "metric": "metric",
    "affine_depth_only": "affine",
    "affine_disparity_only": "disparity",
}
SECOND = {
    "scale_invariant": "scale",
    "depth_scale_only": "scale",
    "affine": "affine",
    "metric": "metric",
    "disparity": "disparity",
}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(HERE / "moge.npz") as data:
        return dict(data)


def flat(nested: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"boundary_f1_{key.removesuffix('_f1')}" if what == "boundary" else f"{what}_{key}": value
        for what, entry in nested.items()
        for key, value in entry.items()
    }


def check(got: dict[str, float], want: dict[str, float], *, loose: dict[str, float]) -> None:
    assert set(got) == set(want)
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=loose.get(name, 1e-5)), name


@pytest.mark.parametrize("name", KINDS)
def test_moge(name: str, arrays: dict[str, np.ndarray]) -> None:
    truth = MogeTruth(
        depth=arrays["gt_depth"],
        mask=arrays["gt_mask"],
        points=arrays["gt_points"],
        fov_x_deg=fov_x(arrays["gt_intrinsics"]),
        segments=arrays["segmentation"].astype(int),
        sharp=True,
    )
    depth, points, fov = (
        arrays["pred_depth"],
        arrays["pred_points"],
        fov_x(arrays["pred_intrinsics"]),
    )
    prediction = {
        "scale": MogePrediction(depth, points, fov, "scale"),
        "metric": MogePrediction(
            depth / np.float32(0.37), points / np.float32(0.37), fov, "metric"
        ),
        "affine": MogePrediction(depth * 2 - np.float32(0.3), kind="affine"),
        "disparity": MogePrediction(arrays["pred_disparity"], kind="disparity"),
    }[KINDS[name]]
    # One pair of pixels is on a threshold, where their float32 disparity falls on the other side.
    loose = dict.fromkeys((f"boundary_f1_radius{r}" for r in (1, 2, 3)), 2e-4)
    check(
        moge_errors(truth, prediction),
        flat(MOGE["compute_metrics"][name]),
        loose=loose if KINDS[name] == "disparity" else {},
    )


@pytest.mark.parametrize("name", SECOND)
def test_moge_on_a_second_image(name: str, arrays: dict[str, np.ndarray]) -> None:
    image = {key[7:]: value for key, value in arrays.items() if key.startswith("metric.")}
    truth = MogeTruth(
        depth=image["gt_depth"],
        mask=image["mask"],
        points=image["gt_points"],
        fov_x_deg=fov_x(image["gt_K"]),
        sharp=True,
    )
    kind = SECOND[name]
    with_points, with_fov = (
        name not in ("depth_scale_only", "disparity"),
        kind
        in (
            "metric",
            "scale",
        ),
    )
    prediction = MogePrediction(
        depth=1 / image["pred_depth"] if kind == "disparity" else image["pred_depth"],
        points=image["pred_points"] if with_points else None,
        fov_x_deg=fov_x(image["pred_K"]) if with_fov and with_points else None,
        kind=kind,  # type: ignore[arg-type]
    )
    # Their float32 sums are the same for two neighbouring lines; the next test has the sums.
    loose = {"depth_affine_invariant_rel": 2e-5}
    if kind == "affine":
        loose |= dict.fromkeys((f"boundary_f1_radius{r}" for r in (1, 2, 3)), 2e-4)
    check(moge_errors(truth, prediction), flat(MOGE["second"][name]), loose=loose)


def test_the_affine_line_is_at_least_as_good(arrays: dict[str, np.ndarray]) -> None:
    cells = nearest_in_cells(arrays["metric.mask"])
    gt, pred = (cells.of(arrays[f"metric.{s}_depth"]).astype(float) for s in ("gt", "pred"))
    want = MOGE["second"]["intermediate"]
    assert len(gt) == want["num_lr_samples"]
    assert scale_depth(gt, pred)[0] == pytest.approx(want["depth_scale"], rel=1e-6)

    def cost(scale: float, shift: float) -> float:
        return float((np.abs(scale * pred + shift - gt) / gt).sum())

    ours, theirs = cost(*affine_depth(gt, pred)), cost(*want["depth_affine"])
    assert ours <= theirs and ours == pytest.approx(theirs, rel=1e-7)
    scale, shift = want["depth_affine"]
    mask = arrays["metric.mask"]
    whole, given = (arrays[f"metric.{s}_depth"][mask].astype(float) for s in ("gt", "pred"))
    rel = (np.abs(scale * given + shift - whole) / (whole + 1e-6)).mean()
    want_rel = MOGE["second"]["affine"]["depth_affine_invariant"]["rel"]
    assert rel == pytest.approx(want_rel, rel=1e-6)


def test_alignments(arrays: dict[str, np.ndarray]) -> None:
    want = MOGE["alignment"]
    x, y, w = (arrays[f"align_{k}"].astype(float) for k in "xyw")
    line = least_absolute_line(x, y, w)
    assert tuple(line) == pytest.approx(want["align_depth_affine"], rel=1e-6)
    cost = float((w * np.abs(line.scale * x + line.shift - y)).sum())
    assert cost == pytest.approx(want["affine_objective_value"], rel=1e-6)
    fit = affine_disparity(1 / y, x)
    assert tuple(fit) == pytest.approx(want["align_affine_lstsq"], rel=1e-6)
    p, q, w = (arrays[f"align_{k}"].astype(float) for k in ("P", "Q", "wp"))
    column = x[:, None] * [1.0, 0.0, 0.0], y[:, None] * [1.0, 0.0, 0.0]
    scale = fit_scale_and_shift(*column, arrays["align_w"], shifted=(False, False, False)).scale
    assert scale == pytest.approx(want["align_depth_scale"], rel=1e-6)
    for name, shifted in {
        "align_points_scale": (False, False, False),
        "align_points_scale_xyz_shift": (True, True, True),
        "align_points_scale_z_shift": (False, False, True),
    }.items():
        wanted = want[name] if any(shifted) else (want[name], [0.0, 0.0, 0.0])
        found = fit_scale_and_shift(p, q, w, shifted=shifted)
        assert found.scale == pytest.approx(wanted[0], rel=1e-6)
        np.testing.assert_allclose(found.shift, wanted[1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit_shift(p, q, w).shift, want["align_points_xyz_shift"], rtol=1e-6)


@pytest.mark.parametrize("name", ["40x50", "300x200", "image"])
def test_cells(name: str, arrays: dict[str, np.ndarray]) -> None:
    keys = [f"resize_{name}_{k}" for k in ("mask", "lrmask", "row", "col")]
    if name == "image":
        keys = ["gt_mask", "lr_mask", "lr_row", "lr_col"]
    mask, known, row, column = (arrays[key] for key in keys)
    cells = nearest_in_cells(mask)
    np.testing.assert_array_equal(cells.known, known)
    np.testing.assert_array_equal(cells.row[known], row[known])
    np.testing.assert_array_equal(cells.column[known], column[known])


def test_clouds() -> None:
    with np.load(HERE / "clouds.npz") as data:
        got = cloud_errors(
            data["gt"], data["pred"], normals=(data["gt_normals"], data["pred_normals"])
        )
    accuracy, completion = CLOUDS["accuracy"], CLOUDS["completion"]
    want = {
        "accuracy": accuracy["mean"],
        "accuracy_median": accuracy["median"],
        "normals_accuracy": accuracy["nc1_mean"],
        "normals_accuracy_median": accuracy["nc1_median"],
        "completeness": completion["mean"],
        "completeness_median": completion["median"],
        "normals_completeness": completion["nc2_mean"],
        "normals_completeness_median": completion["nc2_median"],
        "completeness_ratio": CLOUDS["completion_ratio_005"],
    }
    assert got == pytest.approx(want, rel=1e-6)
