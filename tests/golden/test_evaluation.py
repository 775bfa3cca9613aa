"""Metrics against reference numbers (evo 1.38.1 for trajectories, MonST3R's depth evaluation)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.evaluate.metrics import align_trajectory, depth_errors, trajectory_errors

HERE = Path(__file__).parent / "evaluation"
EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(HERE / "arrays.npz") as data:
        return dict(data)


def poses(name: str) -> np.ndarray:
    rows = np.loadtxt(HERE / f"{name}.txt")
    out = np.tile(np.eye(4), (len(rows), 1, 1))
    out[:, :3, :3] = Rotation.from_quat(rows[:, 4:]).as_matrix()
    out[:, :3, 3] = rows[:, 1:4]
    return out


@pytest.mark.parametrize("name", ["synth_arc", "synth_line", "synth_walk"])
def test_trajectory(name: str) -> None:
    gt, est, want = poses(f"{name}_gt"), poses(f"{name}_est"), EXPECTED[name]
    got = trajectory_errors(gt, est)
    for key in ("ate_m", "rpe_trans_m", "rpe_rot_deg"):
        assert got[key] == pytest.approx(want[key], rel=1e-6), key
    fit = align_trajectory(gt[:, :3, 3], est[:, :3, 3])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = fit.scale * fit.rotation, fit.translation
    np.testing.assert_allclose(matrix, want["alignment"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", list(EXPECTED["umeyama"]))
@pytest.mark.parametrize("solve", ["with_scale", "no_scale"])
def test_umeyama(case: str, solve: str, arrays: dict[str, np.ndarray]) -> None:
    want = EXPECTED["umeyama"][case][solve]
    x, y = arrays[f"umeyama_{case}_x"].T, arrays[f"umeyama_{case}_y"].T
    fit = align_trajectory(y, x, scale=None if solve == "with_scale" else 1.0)
    assert fit.scale == pytest.approx(want["c"], rel=1e-9)
    np.testing.assert_allclose(fit.rotation, want["r"], atol=1e-9)
    np.testing.assert_allclose(fit.translation, want["t"], atol=1e-9)


def test_depth_with_the_ratio_of_medians(arrays: dict[str, np.ndarray]) -> None:
    want = EXPECTED["bonn_like"]["median"]
    gt = arrays["bonn_like_gt"]
    mask = gt < EXPECTED["bonn_like"]["max_depth"]
    got = depth_errors(gt, arrays["bonn_like_pred"], mask=mask, align="median")
    for key in ("abs_rel", "delta1", "rmse", "scale", "pixels"):
        # The reference sums in float32.
        assert got[key] == pytest.approx(want[key], rel=1e-4), key


def test_exact_l1_scale_beats_the_ten_step_reference(arrays: dict[str, np.ndarray]) -> None:
    gt, pred = (arrays[f"bonn_like_{s}"].astype(float) for s in ("gt", "pred"))
    mask = (gt > 0) & (gt < EXPECTED["bonn_like"]["max_depth"])
    scale = depth_errors(gt, pred, mask=mask, align="l1")["scale"]
    reference = EXPECTED["bonn_like"]["scale"]["scale"]
    # Ten reweighted steps do not arrive, so only the sum that both want small can be compared.
    assert scale == pytest.approx(reference, rel=1e-2)
    ours, theirs = (np.abs(s * pred[mask] - gt[mask]).sum() for s in (scale, reference))
    assert ours <= theirs
