"""Point maps as Align3R's network is fed, against the reference's own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3r.io.fitting import network_plan
from align3r.mono.point_map import fit_point_map, point_map

GOLDEN = np.load(Path(__file__).parent / "networks" / "pointmap.npz")
CASES = sorted({name.partition("/")[0] for name in GOLDEN.files})
LONG_SIDE = 64
# The reference multiplies by a focal length that cancels; rounding leaves this much.
TOLERANCE = 5e-7


def test_all_cases_are_here() -> None:
    assert CASES == ["landscape", "odd", "other_resolution", "portrait", "upscaled"]


@pytest.mark.parametrize("case", CASES)
def test_point_maps_are_the_reference(case: str) -> None:
    truth = {name: GOLDEN[f"{case}/{name}"] for name in ("depth", "net_crop", "net_resize_shape")}
    points = point_map(truth["depth"])
    height, width = points.shape[:2]
    assert points.dtype == np.float32
    check(points, f"{case}/point_map")
    plan = network_plan((width, height), LONG_SIDE)
    cropped = fit_point_map(points, plan, crop=True)
    np.testing.assert_allclose(cropped, truth["net_crop"], atol=TOLERANCE)
    whole = fit_point_map(points, plan)
    assert whole.shape == tuple(truth["net_resize_shape"])
    check(whole, f"{case}/net_resize")


def check(points: np.ndarray, key: str) -> None:
    there = points[tuple(GOLDEN[f"{key}_yx"].T)]
    np.testing.assert_allclose(there, GOLDEN[f"{key}_values"], atol=TOLERANCE)
