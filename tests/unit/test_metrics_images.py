"""Laws of the metrics of single images, clouds and pairs of views."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from align3r.errors import SolveError, UsageError
from align3r.evaluate.metrics import (
    MogePrediction,
    MogeTruth,
    area_under_recall,
    boundary_f1,
    cloud_errors,
    moge_errors,
    pair_errors,
    pose_from_matches,
    reciprocal_matches,
    register_clouds,
    relative_pose_scores,
    share_below,
    two_view_error,
)
from align3r.evaluate.metrics.boundaries import JUMPS
from align3r.evaluate.metrics.moge import fov_x


def scene() -> MogeTruth:
    """A floor with a box that stands out."""
    v, u = np.mgrid[:48, :64].astype(float)
    depth = 8 - 0.08 * v
    segments = np.zeros((48, 64), int)
    depth[15:35, 20:40], segments[15:35, 20:40] = 3.0 + 0.01 * u[15:35, 20:40], 1
    points = np.stack([(u - 31.5) / 50, (v - 23.5) / 50, np.ones_like(u)], -1) * depth[..., None]
    mask = np.ones((48, 64), bool)
    mask[:5] = False
    return MogeTruth(depth, mask, points, 60.0, segments, sharp=True)


@pytest.mark.parametrize(
    ("kind", "scale", "shift", "perfect"),
    [
        ("metric", 1.0, 0.0, {"depth_metric", "points_metric"}),
        ("scale", 0.2, 0.0, {"depth_scale_invariant", "points_scale_invariant"}),
        ("affine", 0.2, 0.7, {"depth_affine_invariant", "points_affine_invariant"}),
    ],
)
def test_what_a_prediction_is_known_up_to_is_no_error(
    kind: str, scale: float, shift: float, perfect: set[str]
) -> None:
    truth = scene()
    assert truth.points is not None
    got = moge_errors(
        truth,
        MogePrediction(
            scale * truth.depth + shift,
            scale * truth.points + [0.1 * shift, 0, shift],
            60.0,
            kind,  # type: ignore[arg-type]
        ),
    )
    for name in perfect | {"local_points"}:
        assert got[f"{name}_rel"] < 1e-6 and got[f"{name}_delta1"] == 1.0, name
    assert got["fov_x_mae"] == 0.0
    assert all(got[f"boundary_f1_radius{r}"] == pytest.approx(1.0) for r in (1, 2, 3))


def test_disparity_is_known_up_to_scale_and_shift() -> None:
    truth = scene()
    got = moge_errors(truth, MogePrediction(5 / truth.depth + 2, kind="disparity"))
    assert got["disparity_affine_invariant_rel"] < 1e-6
    assert set(got) == {
        "disparity_affine_invariant_rel",
        "disparity_affine_invariant_delta1",
        *(f"boundary_f1_radius{r}" for r in (1, 2, 3)),
    }


@pytest.mark.parametrize("kind", ["metric", "scale", "affine", "disparity"])
def test_an_image_without_truth_has_no_errors(kind: str) -> None:
    truth = scene()
    empty = MogeTruth(truth.depth, np.zeros_like(truth.mask), truth.points, 60.0, truth.segments)
    prediction = MogePrediction(truth.depth, truth.points, 61.0, kind)  # type: ignore[arg-type]
    got = moge_errors(empty, prediction)
    assert got.pop("fov_x_deviation") == got.pop("fov_x_mae") == 1.0
    assert got and all(np.isnan(value) for value in got.values())


@pytest.mark.parametrize("kind", ["metric", "scale", "affine", "disparity"])
def test_a_prediction_with_holes_has_no_numbers(kind: str) -> None:
    truth = scene()
    assert truth.points is not None
    depth, points = truth.depth.copy(), truth.points.copy()
    depth[20], points[20] = np.nan, np.nan
    got = moge_errors(truth, MogePrediction(depth, points, kind=kind))  # type: ignore[arg-type]
    rel = [value for name, value in got.items() if name.endswith("_rel")]
    assert rel and np.isnan(rel).all()


def test_predictions_that_do_not_fit_are_refused() -> None:
    truth = scene()
    with pytest.raises(UsageError, match="'relative' does not exist"):
        moge_errors(truth, MogePrediction(truth.depth, kind="relative"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="predicted depth"):
        moge_errors(truth, MogePrediction(truth.depth[:4]))


def test_field_of_view() -> None:
    k = np.array([[0.5, 0, 0.5], [0, 0.7, 0.5], [0, 0, 1]])
    assert fov_x(k) == pytest.approx(90.0)


def boundary_by_loop(gt: np.ndarray, pred: np.ndarray, mask: np.ndarray, radius: int) -> float:
    """Obvious twin of `boundary_f1`."""
    scores, (height, width) = [], gt.shape
    for jump in JUMPS:
        true = found = both = 0
        for y in range(radius, height - radius):
            for x in range(radius, width - radius):
                for dy in range(-radius, radius + 1):
                    for dx in range(-radius, radius + 1):
                        valid = mask[y, x] and mask[y + dy, x + dx]
                        if dy * dy + dx * dx > radius * radius or not valid:
                            continue
                        a = gt[y + dy, x + dx] / gt[y, x] > 1 + jump
                        b = pred[y + dy, x + dx] / pred[y, x] > 1 + jump
                        true, found, both = true + a, found + b, both + (a and b)
        precision, recall = both / max(found, 1), both / max(true, 1)
        scores.append(2 * precision * recall / max(precision + recall, 1e-12))
    return float(np.average(scores, weights=JUMPS))


@pytest.mark.parametrize("radius", [1, 2])
def test_boundaries_equal_a_loop_over_pairs(radius: int) -> None:
    rng = np.random.default_rng(radius)
    gt, mask = rng.uniform(1, 1.5, (9, 10)), rng.random((9, 10)) < 0.8
    pred = gt * rng.uniform(0.9, 1.1, gt.shape)
    want = boundary_by_loop(gt, pred, mask, radius)
    assert 0.2 < want < 0.95
    assert boundary_f1(gt, pred, mask=mask, radius=radius) == pytest.approx(want)
    assert boundary_f1(gt, 7 * pred, mask=mask, radius=radius) == pytest.approx(want)


def test_boundaries_of_little_images() -> None:
    flat = np.ones((8, 8))
    assert boundary_f1(flat, flat) == 0.0, "no boundary is there to be found"
    assert np.isnan(boundary_f1(flat, flat, mask=np.zeros((8, 8), bool)))
    assert np.isnan(boundary_f1(flat[:2, :2], flat[:2, :2], radius=3))


def clouds_by_loop(gt: np.ndarray, pred: np.ndarray) -> tuple[float, float]:
    """Obvious twin of `cloud_errors`."""
    table = np.array([[np.linalg.norm(g - p) for p in pred] for g in gt])
    return float(table.min(0).mean()), float(table.min(1).mean())


def test_clouds_equal_a_table_of_distances() -> None:
    rng = np.random.default_rng(0)
    gt, pred = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))
    want = clouds_by_loop(gt, pred)
    with_nan = np.vstack([pred, np.full((2, 3), np.nan)])
    got = cloud_errors(gt, with_nan)
    assert (got["accuracy"], got["completeness"]) == pytest.approx(want)
    assert "normals_accuracy" not in got
    turn, shift = Rotation.from_rotvec([1, 2, 3]).as_matrix(), [4, 5, 6]
    moved = cloud_errors(gt @ turn.T + shift, pred @ turn.T + shift)
    assert moved["accuracy"] == pytest.approx(want[0])


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_an_empty_cloud_has_no_errors(n: int, m: int) -> None:
    clouds = np.ones((n, 3)), np.ones((m, 3))
    got = cloud_errors(*clouds, normals=clouds)
    assert len(got) == 9 and all(np.isnan(value) for value in got.values())


def test_a_cloud_is_registered() -> None:
    rng = np.random.default_rng(0)
    gt = rng.uniform(0, 1, (2000, 3))
    turn = Rotation.from_rotvec([0.02, -0.01, 0.02]).as_matrix()
    pred = (gt[::2] - [0.01, 0.0, -0.01]) @ turn
    fit = register_clouds(gt, pred, within=0.1)
    assert cloud_errors(gt, pred)["accuracy"] > 0.01
    assert cloud_errors(gt, pred @ fit.rotation.T + fit.translation)["accuracy"] < 1e-6
    with pytest.raises(SolveError, match="only 0 of 1000 points"):
        register_clouds(gt, pred + 10)
    with pytest.raises(SolveError, match="only 0 of 0"):
        register_clouds(np.empty((0, 3)), np.empty((0, 3)))


def views(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.tile(np.eye(4), (n, 1, 1))
    out[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 1, (n, 3))).as_matrix()
    out[:, :3, 3] = rng.normal(0, 1, (n, 3))
    return out


@pytest.mark.parametrize("convention", ["between_cameras", "first_camera"])
@given(st.integers(0, 20), st.floats(0.1, 10))
def test_a_similarity_of_the_world_is_no_error(convention: str, seed: int, scale: float) -> None:
    gt, world = views(5, seed), views(1, seed + 100)[0]
    est = gt @ np.linalg.inv(world)
    est[:, :3, 3] *= scale
    rotation, translation = pair_errors(gt, est, convention=convention)  # type: ignore[arg-type]
    assert len(rotation) == 10
    assert rotation.max() < 1e-6 and translation.max() < 1e-5
    assert relative_pose_scores(rotation, translation)["auc@30"] == 1.0


def test_degenerate_views() -> None:
    gt, est = views(4, 0), views(4, 0)
    est[2, 0, 0] = np.nan
    rotation, translation = pair_errors(gt, est)
    lost = [1, 3, 5]
    assert np.isinf(rotation[lost]).all() and np.isinf(translation[lost]).all()
    assert np.isfinite(np.delete(rotation, lost)).all()
    assert share_below(rotation, 5) == 0.5
    assert np.isinf(pair_errors(gt, est[[2, 0, 1, 3]], convention="first_camera")[0]).all()
    still = np.tile(np.eye(4), (3, 1, 1))
    assert pair_errors(still, still)[1].tolist() == [90, 90, 90]
    alone = relative_pose_scores(*pair_errors(gt[:1], gt[:1]))
    assert all(np.isnan(value) for value in alone.values())
    with pytest.raises(ValueError, match="not two lists"):
        pair_errors(gt, est[:3])
    with pytest.raises(UsageError, match="does not exist"):
        pair_errors(gt, est, convention="world")  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["degrees", "histc", "recall"])
def test_areas(rule: str) -> None:
    errors = np.array([np.nan, np.inf, 45.0, 90.0])
    assert area_under_recall(errors, 30, rule=rule) == 0.0
    assert area_under_recall(np.zeros(4), 30, rule=rule) == pytest.approx(1.0)
    assert np.isnan(area_under_recall(np.empty(0), 30, rule=rule))
    rng = np.random.default_rng(0)
    many = rng.uniform(0, 60, 20000)
    # Recall rises to one half along a straight line.
    assert area_under_recall(many, 30, rule=rule) == pytest.approx(0.25, abs=0.02)
    assert area_under_recall(np.sort(many)[::-1], 30, rule=rule) == pytest.approx(
        area_under_recall(many, 30, rule=rule)
    )
    with pytest.raises(UsageError, match="does not exist"):
        area_under_recall(many, 30, rule="simpson")


def test_a_pose_is_found_from_matches() -> None:
    rng = np.random.default_rng(0)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.1, 0.3, -0.1]).as_matrix()
    pose[:3, 3] = [0.5, 0.1, 0.2]
    points = rng.uniform((-1, -1, 3), (1, 1, 5), (200, 3))
    k = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])

    def project(p: np.ndarray) -> np.ndarray:
        return (p / p[:, 2:] @ k.T)[:, :2]

    first, second = project(points), project(points @ pose[:3, :3].T + pose[:3, 3])
    second[:40] = rng.uniform(0, 480, (40, 2))
    cv2.setRNGSeed(0)
    found = pose_from_matches((first, second), (k, k))
    assert found is not None and found.inliers >= 158
    assert max(two_view_error(pose, found.rotation, found.translation)) < 0.01
    # The direction has no sign; without a true baseline it has no error.
    assert two_view_error(pose, pose[:3, :3], -pose[:3, 3])[1] < 1e-6
    assert two_view_error(np.eye(4), np.eye(3), pose[:3, 3]) == (0.0, 0.0)
    assert pose_from_matches((first[:4], second[:4]), (k, k)) is None


def test_reciprocal_matches_by_a_table() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    one[4], two[[0, 7]] = np.nan, np.inf
    table = np.linalg.norm(one[:, None] - two[None], axis=2)
    table = np.where(np.isfinite(table), table, np.inf)
    want = [
        (i, j)
        for j in range(20)
        for i in range(30)
        if np.isfinite(table[i, j]) and table[i, j] == table[i].min() == table[:, j].min()
    ]
    found = reciprocal_matches(one, two)
    assert list(zip(*(k.tolist() for k in found), strict=True)) == want and len(want) > 5


def test_reciprocal_matches_of_nothing() -> None:
    assert [len(k) for k in reciprocal_matches(np.empty((0, 3)), np.ones((2, 3)))] == [0, 0]
