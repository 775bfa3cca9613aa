"""Depth along the flow, on a plane that a camera approaches."""

from __future__ import annotations

import numpy as np
import pytest

from align3r.evaluate.metrics import TemporalConsistency

F, SIZE = 60.0, (40, 50)


def floor(height: float, forward: float) -> np.ndarray:
    """Depth of a slanted plane n . X = height - forward * n_z from a camera moved along z."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    rays = np.stack([(u - 24.5) / F, (v - 19.5) / F, np.ones_like(u)], -1)
    normal = np.array([0.2, 0.5, 0.6])
    return (height - forward * normal[2]) / (rays @ normal)


def flow_to(depth: np.ndarray, forward: float) -> np.ndarray:
    """Flow of a static world when the camera moves that far along z."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    factor = depth / (depth - forward)
    return np.stack([(u - 24.5) * (factor - 1), (v - 19.5) * (factor - 1)], -1)


def test_true_depth_changes_only_by_the_motion() -> None:
    first, second = floor(4, 0), floor(4, 0.3)
    flow = flow_to(first, 0.3)
    change = TemporalConsistency()
    change.add(0.1 * first, gt=first)
    change.add(0.1 * second, gt=second, flow=flow)
    got = change.errors()
    # In float64 the inverse depth of a plane is linear between pixels.
    assert got["flow_change_error"] < 1e-12
    inside = np.abs(np.log((first - 0.3) / first))
    assert got["flow_change"] == pytest.approx(got["flow_change_true"])
    assert inside.min() < got["flow_change"] < inside.max()
    assert 1000 < got["flow_pixels"] < 2000, "what leaves the image does not count"


def test_flicker_is_measured_whatever_the_scale() -> None:
    first, second = floor(4, 0), floor(4, 0.3)
    flow = flow_to(first, 0.3)
    found = []
    for scale in (1.0, 30.0):
        change = TemporalConsistency()
        change.add(scale * first, gt=first)
        change.add(scale * 1.1 * second, gt=second, flow=flow)
        found.append(change.errors())
    assert found[0]["flow_change_error"] == pytest.approx(np.log(1.1))
    assert found[0] == pytest.approx(found[1])


def test_pixels_that_cannot_be_compared() -> None:
    depth, still = np.full((6, 7), 2.0), np.zeros((6, 7, 2))
    hole, seen = depth.copy(), np.ones((6, 7), bool)
    hole[2, 3], seen[5], lost = np.nan, False, still.copy()
    lost[0, 0] = np.nan
    change = TemporalConsistency()
    change.add(depth)
    change.add(3 * hole, flow=lost, visible=seen)
    got = change.errors()
    assert got["flow_change"] == pytest.approx(np.log(3))
    assert np.isnan(got["flow_change_true"]) and np.isnan(got["flow_change_error"])
    # A place at a whole pixel needs its neighbours to the right and below as well.
    assert got["flow_pixels"] == 42 - 7 - 1 - 4


def test_stretches_and_nothing() -> None:
    change = TemporalConsistency()
    assert np.isnan(change.errors()["flow_change"])
    change.add(np.ones((4, 4)))
    change.add(5 * np.ones((4, 4)))
    assert change.errors()["flow_pixels"] == 0, "without flow a new stretch begins"
    with pytest.raises(ValueError, match="another shape"):
        change.add(np.ones((4, 4)), gt=np.ones((3, 4)))
    with pytest.raises(ValueError, match="followed by"):
        change.add(np.ones((5, 4)), flow=np.zeros((5, 4, 2)))


def test_one_pixel_wide_images() -> None:
    change = TemporalConsistency()
    for _ in range(2):
        change.add(np.ones((1, 1)), flow=np.zeros((1, 1, 2)))
    assert change.errors()["flow_pixels"] == 1
