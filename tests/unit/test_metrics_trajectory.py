from __future__ import annotations

import numpy as np
import pytest
from evo.core import metrics as evo_metrics
from evo.core import trajectory as evo_trajectory
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from align3r.errors import SolveError, UsageError
from align3r.evaluate.metrics import (
    align_trajectory,
    associate,
    path_length,
    trajectory_errors,
    trajectory_residuals,
)
from align3r.evaluate.metrics.trajectory import statistics


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
    assert one["ate_m"] == 0.0
    assert np.isnan([one["rpe_trans_m"], one["rpe_rot_deg"]]).all(), "there is no motion"
    with pytest.raises(SolveError, match="of 1 poses"):
        trajectory_errors(gt[:1], gt[1:])


def test_a_camera_that_stands_still_needs_a_given_scale() -> None:
    gt, est = wandering(6, 1), wandering(6, 2)
    gt[:, :3, 3] = 1.0
    for one, two in ((gt, est), (est, gt)):
        with pytest.raises(SolveError, match="6 poses that stands still") as caught:
            trajectory_errors(one, two)
        assert "give the scale" in caught.value.hint
    spread = est[:, :3, 3] - est[:, :3, 3].mean(0)
    want = 2.0 * np.sqrt((spread**2).sum(1).mean())
    assert trajectory_errors(gt, est, scale=2.0)["ate_m"] == pytest.approx(want)


def test_positions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not two lists"):
        align_trajectory(np.zeros((3, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="not two lists"):
        align_trajectory(np.zeros((0, 3)), np.zeros((0, 3)))
    positions = np.random.default_rng(0).normal(size=(3, 3))
    lost = positions.copy()
    lost[1, 2] = np.nan
    with pytest.raises(SolveError, match="1 of 3 estimated positions are not finite"):
        align_trajectory(positions, lost)
    with pytest.raises(SolveError, match="1 of 3 true positions are not finite"):
        align_trajectory(lost, positions)
    with pytest.raises(UsageError, match="does not exist"):
        trajectory_errors(wandering(3, 0), wandering(3, 0), align="so3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        trajectory_residuals(wandering(3, 0), wandering(3, 0), delta=0)


def test_path_length() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3], poses[2, :2, 3] = 3.0, (3.0, 4.0)
    assert path_length(poses) == 7.0
    assert path_length(poses[:1]) == 0.0


def residuals_by_loop(gt: np.ndarray, est: np.ndarray, delta: int, step: int) -> list[float]:
    """Obvious twin of the rotation part of `trajectory_residuals`."""
    out = []
    for i in range(0, len(gt) - delta, step):
        true = gt[i, :3, :3].T @ gt[i + delta, :3, :3]
        found = est[i, :3, :3].T @ est[i + delta, :3, :3]
        out.append(np.degrees(np.linalg.norm(Rotation.from_matrix(true.T @ found).as_rotvec())))
    return out


@pytest.mark.parametrize(("delta", "all_pairs"), [(1, True), (3, True), (3, False), (50, True)])
def test_motions_over_several_frames(delta: int, all_pairs: bool) -> None:
    gt, est = wandering(20, 2), wandering(20, 2, 0.05)
    found = trajectory_residuals(gt, est, delta=delta, all_pairs=all_pairs)
    want = residuals_by_loop(gt, est, delta, 1 if all_pairs else delta)
    np.testing.assert_allclose(found.rotation_deg, want, rtol=1e-9)
    assert len(found.translation) == len(want)


def test_the_other_alignments() -> None:
    gt = wandering(30, 4)
    est = moved(gt, 0.5, np.array([0.2, 0.1, 0.4]), np.ones(3))
    assert trajectory_errors(gt, est, align="sim3")["ate_m"] < 1e-9
    rigid = moved(gt, 1.0, np.array([0.2, 0.1, 0.4]), np.ones(3))
    assert trajectory_errors(gt, rigid, align="se3")["ate_m"] < 1e-9
    assert trajectory_errors(gt, est, align="se3")["scale"] == 1.0
    assert trajectory_errors(gt, gt, align="none")["ate_m"] == 0.0
    assert trajectory_errors(gt, est, align="none")["ate_m"] > 0.1
    scaled = moved(gt, 0.5, np.zeros(3), np.zeros(3))
    assert trajectory_errors(gt, scaled, align="scale")["ate_m"] < 1e-9
    # Motions do not know the world, so scale alone repairs them.
    assert trajectory_errors(gt, est, align="scale")["rpe_trans_m"] < 1e-9


def test_statistics_of_nothing() -> None:
    assert all(np.isnan(value) for value in statistics(np.empty(0)).values())


@given(st.integers(0, 30), st.integers(1, 20), st.integers(1, 20))
def test_nearest_stamps_equal_a_search_by_hand(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = np.sort(rng.uniform(0, 5, n)), np.sort(rng.uniform(0, 5, m))
    i, j = associate(one, two, within=0.2)
    want = []
    if n < m:
        nearest = [(a, int(np.abs(two - t).argmin())) for a, t in enumerate(one)]
    else:
        nearest = [(int(np.abs(one - t).argmin()), b) for b, t in enumerate(two)]
    want = [(a, b) for a, b in nearest if abs(one[a] - two[b]) <= 0.2]
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == want


def test_greedy_association_takes_each_stamp_once() -> None:
    one, two = np.array([0.0, 0.10, 0.2]), np.array([0.09, 0.105, 0.5])
    i, j = associate(one, two, within=0.2, rule="greedy")
    # 0.1 with 0.105 first, then 0 with 0.09; 0.2 is left over.
    assert (i.tolist(), j.tolist()) == ([0, 1], [0, 1])
    assert len(associate(one, np.empty(0), within=1.0)[0]) == 0
    with pytest.raises(UsageError, match="does not exist"):
        associate(one, two, within=1.0, rule="first")  # type: ignore[arg-type]
