from __future__ import annotations

import numpy as np
import pytest
from evo.core import metrics as evo_metrics
from evo.core import trajectory as evo_trajectory
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from align3r.evaluate.metrics import (
    align_trajectory,
    depth_errors,
    mask_iou,
    path_length,
    trajectory_errors,
)


def wandering(n: int, seed: int, noise: float = 0.0) -> np.ndarray:
    """(n, 4, 4) poses of a path; the same seed with noise is an estimate of it."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    out = np.tile(np.eye(4), (n, 1, 1))
    turns = rng.normal(0, 0.1, (n, 3)).cumsum(0) + noise * other.normal(0, 1, (n, 3))
    out[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
    out[:, :3, 3] = rng.normal(0, 0.1, (n, 3)).cumsum(0) + noise * other.normal(0, 1, (n, 3))
    return out


def moved(poses: np.ndarray, scale: float, rotvec: np.ndarray, shift: np.ndarray) -> np.ndarray:
    turn = Rotation.from_rotvec(rotvec).as_matrix()
    out = poses.copy()
    out[:, :3, :3] = turn @ poses[:, :3, :3]
    out[:, :3, 3] = scale * poses[:, :3, 3] @ turn.T + shift
    return out


@given(st.integers(0, 50), st.floats(0.05, 20), st.integers(3, 30))
def test_a_similarity_of_the_truth_has_no_error(seed: int, scale: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    gt = wandering(n, seed)
    errors = trajectory_errors(gt, moved(gt, scale, rng.normal(size=3), rng.normal(size=3)))
    assert errors["ate_m"] < 1e-9
    assert errors["rpe_trans_m"] < 1e-9
    assert errors["rpe_rot_deg"] < 1e-6
    assert errors["scale"] == pytest.approx(1 / scale)


@pytest.mark.parametrize("seed", range(4))
def test_errors_equal_evo(seed: int) -> None:
    gt, est = wandering(40, seed), moved(wandering(40, seed, 0.02), 0.3, np.ones(3), np.ones(3))
    got = trajectory_errors(gt, est)
    reference = evo_trajectory.PosePath3D(poses_se3=list(gt))
    estimate = evo_trajectory.PosePath3D(poses_se3=list(est))
    estimate.align(reference, correct_scale=True)
    relation = evo_metrics.PoseRelation
    for key, metric in {
        "ate_m": evo_metrics.APE(relation.translation_part),
        "rpe_trans_m": evo_metrics.RPE(relation.translation_part, all_pairs=True),
        "rpe_rot_deg": evo_metrics.RPE(relation.rotation_angle_deg, all_pairs=True),
    }.items():
        metric.process_data((reference, estimate))
        want = metric.get_statistic(evo_metrics.StatisticsType.rmse)
        assert got[key] == pytest.approx(want, rel=1e-8), key


def test_no_other_similarity_has_a_smaller_ate() -> None:
    gt, est = wandering(20, 7)[:, :3, 3], wandering(20, 7, 0.05)[:, :3, 3]
    fit = align_trajectory(gt, est)

    def cost(scale: float, rotation: np.ndarray, translation: np.ndarray) -> float:
        return float(((scale * est @ rotation.T + translation - gt) ** 2).sum())

    best, rng = cost(*fit), np.random.default_rng(0)
    for _ in range(200):
        turn = Rotation.from_rotvec(rng.normal(0, 0.02, 3)).as_matrix() @ fit.rotation
        scale = fit.scale * (1 + rng.normal(0, 0.02))
        assert cost(scale, turn, fit.translation + rng.normal(0, 0.01, 3)) >= best


def test_a_straight_path_is_measured_like_any_other() -> None:
    gt = np.tile(np.eye(4), (10, 1, 1))
    gt[:, 0, 3] = np.linspace(0, 2, 10)
    est = moved(gt, 0.5, np.array([0.3, 0.2, 0.1]), np.ones(3))
    assert trajectory_errors(gt, est)["ate_m"] < 1e-9
    est[4, 1, 3] += 0.1
    assert 0.02 < trajectory_errors(gt, est)["ate_m"] < 0.2


def test_two_frames_and_one_frame() -> None:
    gt = wandering(2, 3)
    assert trajectory_errors(gt, moved(gt, 3.0, np.ones(3), np.ones(3)))["ate_m"] < 1e-9
    one = trajectory_errors(gt[:1], gt[1:], scale=1.0)
    assert (one["ate_m"], one["rpe_trans_m"], one["rpe_rot_deg"]) == (0.0, 0.0, 0.0)


def test_a_camera_that_stands_still_needs_a_given_scale() -> None:
    gt, est = wandering(6, 1), wandering(6, 2)
    gt[:, :3, 3] = 1.0
    with pytest.raises(ValueError, match="stands still"):
        trajectory_errors(gt, est)
    with pytest.raises(ValueError, match="stands still"):
        trajectory_errors(est, gt)
    spread = est[:, :3, 3] - est[:, :3, 3].mean(0)
    want = 2.0 * np.sqrt((spread**2).sum(1).mean())
    assert trajectory_errors(gt, est, scale=2.0)["ate_m"] == pytest.approx(want)


def test_positions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not two lists"):
        align_trajectory(np.zeros((3, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="not finite"):
        align_trajectory(np.full((3, 3), np.nan), np.zeros((3, 3)))


def test_path_length() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3], poses[2, :2, 3] = 3.0, (3.0, 4.0)
    assert path_length(poses) == 7.0
    assert path_length(poses[:1]) == 0.0


def depth_errors_by_loop(gt: np.ndarray, pred: np.ndarray, scale: float) -> dict[str, float]:
    """Obvious twin of `depth_errors` for a given scale."""
    relative, within, squares = [], [], []
    for g, p in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if not (np.isfinite(g) and g > 0):
            continue
        p = p * scale if np.isfinite(p) and p > 0 else 0.0
        relative.append(abs(p - g) / g)
        within.append(p > 0 and max(p / g, g / p) < 1.25)
        squares.append((p - g) ** 2)
    return {
        "abs_rel": float(np.mean(relative)),
        "delta1": float(np.mean(within)),
        "rmse": float(np.sqrt(np.mean(squares))),
    }


def test_depth_errors_equal_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(0)
    gt = rng.uniform(0.5, 6, (3, 8, 9))
    pred = 0.4 * gt * np.exp(rng.normal(0, 0.2, gt.shape))
    gt[0, :2], gt[1, 3, 3], gt[2, 0, 0] = np.nan, 0.0, np.inf
    pred[1, 0], pred[2, 5, :3], pred[2, 6, 6], pred[0, 7, 7] = np.nan, -1.0, np.inf, 0.0
    for align in ("median", "ratio", "l1", "none", 2.4):
        got = depth_errors(gt, pred, align=align)  # type: ignore[arg-type]
        for key, want in depth_errors_by_loop(gt, pred, got["scale"]).items():
            assert got[key] == pytest.approx(want, rel=1e-12), (align, key)


def test_a_missing_prediction_is_an_error_of_one_and_not_a_pixel_left_out() -> None:
    gt = np.full((10, 10), 2.0)
    pred = np.full((10, 10), 1.0)
    pred[:3] = np.nan
    got = depth_errors(gt, pred)
    assert got["scale"] == 2.0
    assert got["abs_rel"] == pytest.approx(0.3)
    assert got["delta1"] == pytest.approx(0.7)
    assert got["pixels"] == 100


def test_nothing_predicted_and_nothing_known() -> None:
    gt = np.ones((4, 4))
    nothing = depth_errors(gt, np.full((4, 4), np.nan))
    assert (nothing["abs_rel"], nothing["delta1"]) == (1.0, 0.0)
    unknown = depth_errors(np.full((4, 4), np.nan), gt)
    assert np.isnan(unknown["abs_rel"])
    assert unknown["pixels"] == 0


@pytest.mark.parametrize("align", ["median", "ratio", "l1"])
def test_the_scale_of_the_prediction_does_not_matter(align: str) -> None:
    rng = np.random.default_rng(1)
    gt = rng.uniform(1, 5, 999)
    pred = gt * np.exp(rng.normal(0, 0.1, 999))
    a, b = (depth_errors(gt, s * pred, align=align) for s in (1.0, 0.037))  # type: ignore[arg-type]
    assert a["abs_rel"] == pytest.approx(b["abs_rel"])
    assert b["scale"] == pytest.approx(a["scale"] / 0.037)


def test_one_scale_for_the_sequence_shows_a_scale_that_drifts() -> None:
    gt = np.full((10, 4, 4), 2.0)
    drifting = gt * np.linspace(0.8, 1.2, 10)[:, None, None]
    assert depth_errors(gt, drifting)["abs_rel"] > 0.08


def test_l1_scale_is_the_best_scale() -> None:
    rng = np.random.default_rng(2)
    gt, pred = rng.uniform(1, 5, 301), rng.uniform(1, 5, 301)
    best = depth_errors(gt, pred, align="l1")["scale"]
    costs = [np.abs(s * pred - gt).sum() for s in np.linspace(0.2, 3, 2000)]
    assert np.abs(best * pred - gt).sum() <= min(costs)


def test_the_two_medians() -> None:
    gt, pred = np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.25, 3.0])
    assert depth_errors(gt, pred, align="median")["scale"] == 2.0 / 0.5
    assert depth_errors(gt, pred, align="ratio")["scale"] == 9.0 / 3.0
    even = depth_errors(gt[:2], pred[:2], align="ratio")["scale"]
    assert even == 2.0, "the lower of the two in the middle"


def test_only_masked_pixels_count() -> None:
    gt, pred = np.ones((2, 3)), np.ones((2, 3))
    pred[0] = 1.5
    mask = np.zeros((2, 3), bool)
    mask[0] = True
    assert depth_errors(gt, pred, mask=mask, align=1.0)["abs_rel"] == pytest.approx(0.5)
    assert depth_errors(gt, pred, mask=~mask, align=1.0)["abs_rel"] == 0.0


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        depth_errors(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="shapes differ"):
        mask_iou(np.ones((2, 3), bool), np.ones((3, 2), bool))


def test_mask_iou_is_pooled_over_frames() -> None:
    gt, pred = np.zeros((2, 10, 10), bool), np.zeros((2, 10, 10), bool)
    gt[0, :5], pred[0, :5] = True, True
    gt[1, :1], pred[1, 1:2] = True, True
    assert mask_iou(gt, pred) == pytest.approx(50 / 70)
    empty = np.zeros((2, 2), bool)
    assert mask_iou(empty, empty) == 1.0
    assert mask_iou(empty, ~empty) == 0.0
