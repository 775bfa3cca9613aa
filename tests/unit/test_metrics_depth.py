from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align3r.errors import UsageError
from align3r.evaluate.metrics import (
    DEPTH_METRICS,
    GAUGES,
    DepthRules,
    Gauge,
    average_rows,
    depth_errors,
    least_absolute,
    mask_iou,
    resize_depth,
    sequence_depth_errors,
)


def depth_errors_by_loop(
    gt: np.ndarray, pred: np.ndarray, scale: float, shift: float
) -> dict[str, float]:
    """Obvious twin of `depth_errors` for a given scale and shift."""
    rows = []
    for g, p in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if not (math.isfinite(g) and g > 0):
            continue
        p = p * scale + shift if math.isfinite(p) and p > 0 else 0.0
        q = max(p, 1e-5)
        log, factor = math.log(q) - math.log(g), max(q / g, g / q)
        within = [float(factor < 1.25**k) for k in (1, 2, 3)]
        squares = [(p - g) ** 2, log**2, (1 / q - 1 / g) ** 2]
        rows.append(
            [abs(p - g) / g, (p - g) ** 2 / g, abs(log) / math.log(10), log, *within, *squares]
        )
    rel, sq_rel, log10, log, d1, d2, d3, square, log_square, inverse = np.mean(rows, axis=0)
    return {
        "abs_rel": rel,
        "sq_rel": sq_rel,
        "rmse": math.sqrt(square),
        "log_rmse": math.sqrt(log_square),
        "log10": log10,
        "delta1": d1,
        "delta2": d2,
        "delta3": d3,
        "irmse": math.sqrt(inverse),
        "silog": 100 * math.sqrt(log_square - log**2),
        "pixels": len(rows),
    }


def test_depth_errors_equal_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(0)
    gt = rng.uniform(0.5, 6, (3, 8, 9))
    pred = 0.4 * gt * np.exp(rng.normal(0, 0.2, gt.shape))
    gt[0, :2], gt[1, 3, 3], gt[2, 0, 0] = np.nan, 0.0, np.inf
    pred[1, 0], pred[2, 5, :3], pred[2, 6, 6], pred[0, 7, 7] = np.nan, -1.0, np.inf, 0.0
    for align in (*set(GAUGES) - {"disp_lstsq"}, 2.4, Gauge(0.4, 0.3)):
        got = depth_errors(gt, pred, align=align)
        for key, want in depth_errors_by_loop(gt, pred, got["scale"], got["shift"]).items():
            assert got[key] == pytest.approx(want, rel=1e-10), (align, key)


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
        depth_errors(np.ones((2, 3)), np.ones((2, 3)), mask=np.ones((3, 2), bool))


def noisy(seed: int, frames: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gt = rng.uniform(0.5, 20, (frames, 12, 16))
    pred = np.maximum(0.3 * gt * np.exp(rng.normal(0, 0.2, gt.shape)) + 0.2, 0.01)
    gt[:, :2, :3], pred[:, 8, 5] = np.nan, np.nan
    return gt, pred


class Reread:
    """Frames that are there one at a time, and anew at each iteration."""

    def __init__(self, gt: np.ndarray, pred: np.ndarray) -> None:
        self.arrays, self.rounds = (gt, pred), 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self.rounds += 1
        for g, p in zip(*self.arrays, strict=True):
            yield g.copy(), p.copy()


@pytest.mark.parametrize("align", GAUGES)
def test_a_streamed_sequence_equals_one_image(align: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gt, pred = noisy(0)
    want = depth_errors(gt, pred, align=align)
    # Small, so that the exact line has to sort out samples and does not just hold all.
    monkeypatch.setattr(least_absolute, "SAMPLE", 64)
    frames = Reread(gt, pred)
    got = sequence_depth_errors(frames, DepthRules(align=align)).pooled()
    assert got == pytest.approx(want, rel=1e-9)
    assert frames.rounds <= 14


def test_an_iterator_is_refused() -> None:
    with pytest.raises(ValueError, match="several times"):
        sequence_depth_errors(iter([(np.ones((2, 2)), np.ones((2, 2)))]))


@given(st.integers(0, 20), st.floats(0.01, 50), st.floats(-5, 5))
def test_scale_and_shift_of_the_prediction_do_not_matter_where_they_are_fitted(
    seed: int, scale: float, shift: float
) -> None:
    gt, pred = noisy(seed, 1)
    for align in ("lstsq", "lad", "median", "l1", "ratio"):
        add = shift if align in ("lstsq", "lad") else 0.0
        rules = DepthRules(align=align, positive=False)
        one, two = (
            sequence_depth_errors([(gt, p)], rules).pooled() for p in (pred, scale * pred + add)
        )
        for name in DEPTH_METRICS:
            assert one[name] == pytest.approx(two[name], rel=1e-6, abs=1e-9), (align, name)


def test_least_errors_are_least() -> None:
    gt, pred = noisy(3, 1)
    rng = np.random.default_rng(0)
    known = np.isfinite(gt) & np.isfinite(pred)
    g, p = gt[known], pred[known]
    for align, power in (("lstsq", 2), ("lad", 1)):
        got = depth_errors(gt, pred, align=align)
        best = (np.abs(got["scale"] * p + got["shift"] - g) ** power).sum()
        for _ in range(300):
            s, t = got["scale"] * (1 + rng.normal(0, 0.05)), got["shift"] + rng.normal(0, 0.1)
            assert (np.abs(s * p + t - g) ** power).sum() >= best


def test_disparity_is_fitted_and_inverted() -> None:
    gt = np.random.default_rng(0).uniform(1, 10, (8, 8))
    got = depth_errors(gt, 3.0 / gt + 0.5, align="disp_lstsq")
    assert got["abs_rel"] < 1e-6
    assert Gauge(1.0, -0.5, inverse=True).apply(np.array([0.2, 0.5, 1.0])).tolist() == [0, 0, 2]


def test_a_scale_for_each_frame_removes_a_drift() -> None:
    gt = np.random.default_rng(0).uniform(1, 5, (6, 8, 8))
    drifting = gt * np.linspace(0.5, 2, 6)[:, None, None]
    frames = list(zip(gt, drifting, strict=True))
    whole = sequence_depth_errors(frames, DepthRules(align="median"))
    single = sequence_depth_errors(frames, DepthRules(align="median", per="frame"))
    assert whole.pooled()["abs_rel"] > 0.1
    assert single.pooled()["abs_rel"] < 1e-12 and "scale" not in single.pooled()
    assert [g.scale for g in single.gauges] == pytest.approx(1 / np.linspace(0.5, 2, 6))


def test_limits_masks_and_clips() -> None:
    gt = np.array([[0.5, 1.0, 2.0, 69.0, 70.0, 100.0]])
    pred = np.array([[0.5, 1.5, 2.0, 90.0, 70.0, 100.0]])
    rules = DepthRules(align="none", near=0.5, far=70.0)
    row = sequence_depth_errors([(gt, pred)], rules).pooled()
    assert row["pixels"] == 3, "both limits are left out themselves"
    assert row["abs_rel"] == pytest.approx((0.5 + 21 / 69) / 3)
    clipped = sequence_depth_errors([(gt, pred)], replace(rules, clip=(1e-5, 70.0))).pooled()
    assert clipped["abs_rel"] == pytest.approx((0.5 + 1 / 69) / 3)
    mask = np.array([[True, True, False, False, True, True]])
    masked = sequence_depth_errors([(gt, pred, mask)], rules).pooled()
    assert (masked["pixels"], masked["abs_rel"]) == (1, 0.5)


def test_what_the_papers_take_as_it_is() -> None:
    gt, pred = np.full((1, 4), 2.0), np.array([[2.0, 2.0, 2.0, -1.0]])
    ours, papers = (
        sequence_depth_errors([(gt, pred)], DepthRules(align="none", positive=p)).pooled()
        for p in (True, False)
    )
    assert ours["abs_rel"] == pytest.approx(1 / 4) and papers["abs_rel"] == pytest.approx(1.5 / 4)
    assert ours["delta3"] == papers["delta3"] == 0.75


@pytest.mark.parametrize("align", GAUGES)
@pytest.mark.parametrize("per", ["sequence", "frame"])
def test_nothing_to_align_is_no_error(align: str, per: str) -> None:
    empty, ones = np.full((3, 4), np.nan), np.ones((3, 4))
    rules = DepthRules(align=align, per=per)  # type: ignore[arg-type]
    none = sequence_depth_errors([], rules).pooled()
    assert none["pixels"] == 0 and np.isnan(none["abs_rel"])
    unknown = sequence_depth_errors([(empty, ones)], rules).pooled()
    assert unknown["pixels"] == 0 and np.isnan(unknown["rmse"])
    missing = sequence_depth_errors([(ones, empty)], rules).pooled()
    assert (missing["pixels"], missing["abs_rel"], missing["delta3"]) == (12, 1.0, 0.0)
    flat = sequence_depth_errors([(2 * ones, ones)], rules).pooled()
    assert np.isfinite(flat["abs_rel"])
    if align not in ("none", "disp_lstsq"):
        assert flat["abs_rel"] < 1e-9
    some = sequence_depth_errors([(empty, ones), (2 * ones, ones)], rules)
    assert some.pooled()["pixels"] == 12 and np.isnan(some.frames()[0]["abs_rel"])


def test_names_that_do_not_exist() -> None:
    frame = (np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(UsageError, match="alignment of depth 'best'"):
        depth_errors(*frame, align="best")
    with pytest.raises(UsageError, match="per 'pixel'"):
        sequence_depth_errors([frame], DepthRules(per="pixel"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="interpolation"):
        resize_depth(np.ones((2, 2)), (4, 4), "lanczos")


def test_averages_leave_out_what_is_not_there() -> None:
    rows = [{"a": 1.0, "b": np.nan, "n": 3}, {"a": 3.0, "b": 2.0, "n": 1}, {"a": 9.0, "n": 0}]
    assert average_rows(rows, weight="n") == {"a": 1.5, "b": 2.0, "n": 4.0}
    plain = average_rows([{key: row[key] for key in row if key != "n"} for row in rows])
    assert plain == pytest.approx({"a": 13 / 3, "b": 2.0})
    assert average_rows([]) == {}
    assert np.isnan(average_rows([{"a": 1.0, "n": 0}], weight="n")["a"])


def test_mask_iou_is_pooled_over_frames() -> None:
    gt, pred = np.zeros((2, 10, 10), bool), np.zeros((2, 10, 10), bool)
    gt[0, :5], pred[0, :5] = True, True
    gt[1, :1], pred[1, 1:2] = True, True
    assert mask_iou(gt, pred) == pytest.approx(50 / 70)
    empty = np.zeros((2, 2), bool)
    assert mask_iou(empty, empty) == 1.0
    assert mask_iou(empty, ~empty) == 0.0
    with pytest.raises(ValueError, match="shapes differ"):
        mask_iou(np.ones((2, 3), bool), np.ones((3, 2), bool))
