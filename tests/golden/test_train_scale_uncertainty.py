"""Appendix D of Fin3R's supplement: where points of an uncertain scale are seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3r.train.scale_uncertainty import image_shift, image_shift_for_small, image_spread

GOLDEN = json.loads(
    (Path(__file__).parent / "fin3r" / "appendix_d.json").read_text(encoding="utf-8")
)
DEPTHS = np.array([1.0, 2.0, 4.0, 8.0])


def seen(point: np.ndarray, focal: float) -> np.ndarray:
    return focal * point[..., :2] / point[..., 2:]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["tag"])
def test_where_the_point_is_seen(case: dict[str, Any]) -> None:
    p, rotation, translation, p2 = (np.array(case[k]) for k in ("p", "R", "T", "p2"))
    given = (p2, translation, case["f"], case["delta"])
    du, dv = image_shift(*given)
    assert [du, dv] == pytest.approx([case["du_direct"], case["dv_direct"]], abs=1e-9)
    assert du == pytest.approx(case["du_exact_formula"], abs=1e-12)
    assert du == pytest.approx(case["du_const_c"], abs=1e-12)
    small = image_shift_for_small(*given)
    assert small == pytest.approx([case["du_approx"], case["dv_approx"]], abs=1e-12)
    # The obvious way: move the point, and look.
    moved = rotation @ ((1 + case["delta"]) * p) + translation
    assert moved == pytest.approx(np.array(case["p2_perturbed"]), abs=1e-12)
    direct = seen(moved, case["f"]) - seen(rotation @ p + translation, case["f"])
    np.testing.assert_allclose([du, dv], direct, rtol=0, atol=1e-9)
    ratio = 1 + case["delta"] * (p2[2] - translation[2]) / p2[2]
    assert ratio == pytest.approx(case["predicted_ratio"], rel=1e-12)
    np.testing.assert_allclose(small, np.array([du, dv]) * ratio, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", GOLDEN["monte_carlo"], ids=lambda case: f"depth {case['p'][2]}")
def test_the_spread(case: dict[str, Any]) -> None:
    p2, translation = np.array(case["p"]) + case["T"], np.array(case["T"])
    spread = image_spread(p2, translation, case["f"], case["sigma"])
    assert spread[0] == pytest.approx(case["std_first_order"], rel=1e-12)
    # As good as 200,000 draws are: 1 / sqrt(2 n) is 0.16 %.
    assert spread[0] == pytest.approx(case["std_exact_mc"], rel=0.006)
    drawn = np.random.default_rng(0).normal(0, case["sigma"], 50_000)
    shifts = image_shift(p2, translation, case["f"], drawn)
    assert shifts.shape == (50_000, 2)
    np.testing.assert_allclose(shifts.std(axis=0), spread, rtol=0.02)


def test_no_translation_no_shift() -> None:
    points = np.random.default_rng(0).uniform([-1, -1, 1], [1, 1, 9], (20, 3))
    assert not image_shift(points, np.zeros(3), 500.0, 0.3).any()


def test_the_spread_halves_at_twice_the_depth() -> None:
    along_a_ray = np.array([0.3, -0.2, 1.0]) * DEPTHS[:, None]
    spread = image_spread(along_a_ray, np.array([0.3, 0.1, 0.2]), 500.0, 0.02)
    np.testing.assert_allclose(spread[:-1], 2 * spread[1:])
    exact = np.abs(image_shift(along_a_ray, np.array([0.3, 0.1, 0.2]), 500.0, 0.02))
    assert (exact[:-1] > 1.9 * exact[1:]).all() and (exact[:-1] < 2.1 * exact[1:]).all()


def test_points_move_along_their_epipolar_lines() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform([-1, -1, 2], [1, 1, 9], (50, 3))
    translation, focal = np.array([0.3, -0.1, 0.5]), 640.0
    to_epipole = focal * translation[:2] / translation[2] - seen(points, focal)
    for delta in (0.01, -0.2):
        shift = image_shift(points, translation, focal, delta)
        cross = to_epipole[:, 0] * shift[:, 1] - to_epipole[:, 1] * shift[:, 0]
        assert np.abs(cross).max() < 1e-9
        assert np.abs(shift).min(axis=1).max() > 0
