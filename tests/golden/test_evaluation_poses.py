"""Pose metrics against evo, VGGT's and LoFTR's numbers, and against evo itself."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from evo.core import metrics as evo_metrics
from evo.core import sync as evo_sync
from evo.core import trajectory as evo_trajectory
from scipy.spatial.transform import Rotation

from align3r.errors import SolveError
from align3r.evaluate.metrics import (
    align_trajectory,
    area_under_recall,
    associate,
    average_rows,
    pair_errors,
    pose_from_matches,
    reciprocal_matches,
    relative_pose_scores,
    trajectory_errors,
    trajectory_residuals,
    two_view_error,
)
from align3r.evaluate.metrics.trajectory import statistics

HERE = Path(__file__).parent / "evaluation"


def read(name: str) -> dict:
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


TRAJECTORIES, UMEYAMA, RELATIVE = (read(n) for n in ("trajectories", "umeyama", "relative_pose"))
PAIRS, TWO_VIEW = RELATIVE["multi_view"], RELATIVE["two_view"]
REAL = ["fr3_walk_xyz", "fr3_sitting_static"]
SEQUENCES = ["synth_arc", "synth_line", "synth_walk", *REAL]
CASES = [(name, align) for name in SEQUENCES for align in ("sim3", "se3", "scale", "none")]
CASES += [("association", "sim3")]


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    with np.load(HERE / "trajectories.npz") as data:
        return dict(data)


@pytest.fixture(scope="module")
def views() -> dict[str, np.ndarray]:
    with np.load(HERE / "relative_pose.npz") as data:
        return dict(data)


def poses(rows: np.ndarray) -> np.ndarray:
    out = np.tile(np.eye(4), (len(rows), 1, 1))
    out[:, :3, :3] = Rotation.from_quat(rows[:, 4:]).as_matrix()
    out[:, :3, 3] = rows[:, 1:4]
    return out


def sequence(rows: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    key = "assoc" if name == "association" else name
    gt, est = rows[f"{key}_gt"], rows[f"{key}_est"]
    if len(gt) != len(est):
        within = TRAJECTORIES[name].get("max_diff", 0.01)
        i, j = associate(gt[:, 0], est[:, 0], within=within)
        gt, est = gt[i], est[j]
    return poses(gt), poses(est)


@pytest.mark.parametrize(("name", "align"), CASES)
def test_every_statistic_of_evo(name: str, align: str, rows: dict[str, np.ndarray]) -> None:
    expected = TRAJECTORIES[name]
    if name == "association":
        want = expected["evo_after_association"]
    else:
        want = expected["evo"]["scale_only" if align == "scale" else align]
    gt, est = sequence(rows, name)
    for key, options in {
        "delta1": {},
        "delta5": {"delta": 5},
        "delta5_consecutive": {"delta": 5, "all_pairs": False},
    }.items():
        found = trajectory_residuals(gt, est, align=align, **options)  # type: ignore[arg-type]
        assert statistics(found.position) == pytest.approx(want["ate"], rel=1e-7)
        got = statistics(found.translation)
        assert got == pytest.approx(want[f"rpe_trans_{key}"], rel=1e-7, abs=1e-12)
        got = statistics(found.rotation_deg)
        assert got == pytest.approx(want[f"rpe_rot_deg_{key}"], rel=1e-7, abs=1e-9)
    if align in ("sim3", "se3"):
        matrix = np.eye(4)
        matrix[:3, :3] = found.fit.scale * found.fit.rotation
        matrix[:3, 3] = found.fit.translation
        np.testing.assert_allclose(matrix, want["alignment_sim3"], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["synth_arc", "synth_line", "synth_walk"])
def test_every_error_of_a_pose(name: str, rows: dict[str, np.ndarray]) -> None:
    found, want = trajectory_residuals(*sequence(rows, name)), TRAJECTORIES[name]["evo"]["sim3"]
    np.testing.assert_allclose(found.position, want["ate_errors"], rtol=1e-7)
    np.testing.assert_allclose(found.translation, want["rpe_trans_errors"], rtol=1e-7)
    np.testing.assert_allclose(found.rotation_deg, want["rpe_rot_deg_errors"], rtol=1e-7)
    printed, upstream = (
        trajectory_errors(*sequence(rows, name)),
        TRAJECTORIES[name]["upstream_eval_metrics"],
    )
    assert printed["ate_m"] == pytest.approx(upstream["ate"], rel=1e-9)
    assert printed["rpe_trans_m"] == pytest.approx(upstream["rpe_trans"], rel=1e-9)
    assert printed["rpe_rot_deg"] == pytest.approx(upstream["rpe_rot_deg"], rel=1e-9)


@pytest.mark.parametrize("name", REAL)
def test_evo_itself_on_real_trajectories(name: str, rows: dict[str, np.ndarray]) -> None:
    def theirs(table: np.ndarray) -> evo_trajectory.PoseTrajectory3D:
        return evo_trajectory.PoseTrajectory3D(
            positions_xyz=table[:, 1:4],
            orientations_quat_wxyz=table[:, [7, 4, 5, 6]],
            timestamps=table[:, 0],
        )

    gt, est = evo_sync.associate_trajectories(
        theirs(rows[f"{name}_gt"]), theirs(rows[f"{name}_est"]), max_diff=0.02
    )
    assert gt.num_poses == len(sequence(rows, name)[0]) == TRAJECTORIES[name]["n_matched"]
    est.align(gt, correct_scale=True)
    got, relation = trajectory_errors(*sequence(rows, name)), evo_metrics.PoseRelation
    for key, metric in {
        "ate_m": evo_metrics.APE(relation.translation_part),
        "rpe_trans_m": evo_metrics.RPE(relation.translation_part, all_pairs=True),
        "rpe_rot_deg": evo_metrics.RPE(relation.rotation_angle_deg, all_pairs=True),
    }.items():
        metric.process_data((gt, est))
        want = metric.get_statistic(evo_metrics.StatisticsType.rmse)
        assert got[key] == pytest.approx(want, rel=1e-7), key


@pytest.mark.parametrize("within", ["0.01", "0.004", "0.02"])
def test_association(within: str, rows: dict[str, np.ndarray]) -> None:
    want = TRAJECTORIES["association"]["matching"][within]
    i, j = associate(rows["assoc_gt"][:, 0], rows["assoc_est"][:, 0], within=float(within))
    assert (i.tolist(), j.tolist()) == (want["gt_ids"], want["est_ids"])
    j, i = associate(rows["assoc_est"][:, 0], rows["assoc_gt"][:, 0], within=float(within))
    assert (i.tolist(), j.tolist()) == (want["gt_ids"], want["est_ids"])


def test_what_evo_refuses_is_refused_where_asked() -> None:
    line = np.linspace(0, 1, 10)[:, None] * np.array([1.0, 2.0, 3.0])
    gt = np.random.default_rng(0).normal(size=(10, 3))
    assert "Degenerate" in TRAJECTORIES["degenerate"]["collinear_points"]
    for est in (line, np.ones((10, 3))):
        with pytest.raises(SolveError, match="on a line or in one place"):
            align_trajectory(gt, est, refuse_lines=True)
    assert np.isfinite(align_trajectory(gt, line).scale)


@pytest.mark.parametrize("case", list(UMEYAMA["cases"]))
@pytest.mark.parametrize("solve", ["with_scale", "no_scale"])
def test_umeyama(case: str, solve: str) -> None:
    want = UMEYAMA["cases"][case]["result"][solve]
    with np.load(HERE / "umeyama.npz") as data:
        x, y = data[f"{case}_x"].T, data[f"{case}_y"].T
    fit = align_trajectory(y, x, scale=None if solve == "with_scale" else 1.0)
    assert fit.scale == pytest.approx(want["c"], rel=1e-9)
    np.testing.assert_allclose(fit.rotation, want["r"], atol=1e-9)
    np.testing.assert_allclose(fit.translation, want["t"], atol=1e-9)
    errors = fit.scale * x @ fit.rotation.T + fit.translation - y
    rmse = np.sqrt((errors**2).sum(1).mean())
    assert rmse == pytest.approx(want["rmse"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scene", [f"s{k}" for k in range(6)])
def test_pairs_of_views(scene: str, views: dict[str, np.ndarray]) -> None:
    want = PAIRS[scene]
    gt, est = views[f"{scene}_gt_w2c"], views[f"{scene}_pred_w2c"]
    for convention, suffix in (("between_cameras", ""), ("first_camera", "_convention")):
        key = "_first_camera" + suffix if suffix else ""
        rotation, translation = pair_errors(gt, est, convention=convention)  # type: ignore[arg-type]
        np.testing.assert_allclose(rotation, want[f"rot_err_deg{key}"], rtol=1e-7)
        i, j = np.triu_indices(len(gt), k=1)
        # Between two cameras in one place the direction is the rounding of theirs; ours is 90.
        apart = np.linalg.norm((gt[i] @ np.linalg.inv(gt[j]))[:, :3, 3], axis=1) > 1e-9
        close = translation[apart], np.array(want[f"trans_err_deg{key}"])[apart]
        np.testing.assert_allclose(*close, rtol=1e-7)
        scores = relative_pose_scores(rotation, translation, areas=(3, 5, 15, 30))
        for t in (3, 5, 15, 30):
            name = f"AUC@{t}_np{key}"
            assert scores[f"auc@{t}"] == pytest.approx(want[name], rel=1e-9), name
    rotation, translation = pair_errors(gt, est)
    scores = relative_pose_scores(rotation, translation)
    for t in (5, 15, 30):
        assert scores[f"rra@{t}"] == pytest.approx(want[f"RRA@{t}"], rel=1e-9)
        assert scores[f"rta@{t}"] == pytest.approx(want[f"RTA@{t}"], rel=1e-9)
    worst = np.maximum(rotation, translation)
    for t in (3, 5, 15, 30):
        area = area_under_recall(worst, t, rule="histc")
        assert area == pytest.approx(want[f"AUC@{t}_torch_histc"], rel=1e-9)


def test_scenes_pooled_and_averaged(views: dict[str, np.ndarray]) -> None:
    found = [pair_errors(views[f"s{k}_gt_w2c"], views[f"s{k}_pred_w2c"]) for k in range(6)]
    areas = (3, 5, 15, 30)
    pooled = relative_pose_scores(
        *(np.concatenate(part) for part in zip(*found, strict=True)), areas=areas
    )
    mean = average_rows([relative_pose_scores(*errors, areas=areas) for errors in found])
    for got, want in ((pooled, PAIRS["pooled_pairs"]), (mean, PAIRS["mean_over_scenes"])):
        wanted = {key.lower().removesuffix("_np"): value for key, value in want.items()}
        assert got == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("case", TWO_VIEW["error_auc"], ids=lambda case: case["name"])
def test_areas_of_two_view_errors(case: dict) -> None:
    for t in (5, 10, 20):
        area = area_under_recall(np.array(case["errors"]), t, rule="recall")
        assert area == pytest.approx(case["auc"][f"auc@{t}"], rel=1e-9)


def test_errors_of_relative_poses() -> None:
    for case in TWO_VIEW["relative_pose_error"]:
        pose = (np.array(case[key]) for key in ("T_0to1", "R", "t"))
        # arccos, which they take, gives 2e-6 degrees for equal rotations.
        want = pytest.approx((case["R_err_deg"], case["t_err_deg"]), rel=1e-9, abs=3e-6)
        assert two_view_error(*pose) == want


def test_pose_from_matches(views: dict[str, np.ndarray]) -> None:
    for case in TWO_VIEW["estimate_pose"]["cases"]:
        k = case["case"]
        cv2.setRNGSeed(0)
        pose = pose_from_matches(
            (views[f"{k}_kpts0"], views[f"{k}_kpts1"]), (views["K0"], views["K1"])
        )
        assert pose is not None
        turn, shift = two_view_error(views[f"{k}_T_0to1"], pose.rotation, pose.translation)
        # Which inliers it finds hangs on the build of OpenCV.
        assert turn <= max(2 * case["R_err_deg"], 1.0)
        assert shift <= max(2 * case["t_err_deg"], 3.0)
        assert pose.inliers == pytest.approx(case["n_inliers"], rel=0.2)


def test_reciprocal_matches(views: dict[str, np.ndarray]) -> None:
    one, two = reciprocal_matches(views["P1"], views["P2"])
    np.testing.assert_array_equal(two, np.flatnonzero(views["reciprocal_in_P2"]))
    np.testing.assert_array_equal(one, views["nn2_in_P1"][two])
