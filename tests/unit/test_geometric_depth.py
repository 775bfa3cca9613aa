"""What flows say about depth, against a depth that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.geometry.cameras import ego_flow
from align3r.pairwise.geometric.depth import (
    Evidence,
    FusedDepth,
    PixelModel,
    flat,
    fuse,
    miss,
    pair_evidence,
)

MODEL = PixelModel(60.0, (31.5, 23.5))
SHAPE = (48, 64)


def motion(shift: list[float], turn: list[float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    pose[:3, 3] = shift
    return pose


MOTIONS = [
    motion([0.1, 0, 0], [0, 0.02, 0]),
    motion([-0.1, 0.03, 0.05], [0.01, 0, 0.02]),
    motion([0.05, -0.1, 0], [0, 0, 0]),
    motion([0.12, 0.05, -0.05], [0.02, -0.02, 0]),
    motion([-0.15, 0.0, 0.02], [0.0, 0.01, 0]),
]


@pytest.fixture
def truth() -> np.ndarray:
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (0.5 + 0.3 * np.sin(u / 9) * np.cos(v / 7)).astype(np.float32)


def seen(truth: np.ndarray, pose: np.ndarray, *, noise: float = 0.0, seed: int = 0) -> Evidence:
    flow, ok = ego_flow(truth, pose, MODEL.focal, MODEL.centre)
    flow = flow + np.random.default_rng(seed).normal(0, noise, flow.shape).astype(np.float32)
    return pair_evidence(flow, ok, pose, MODEL)


@pytest.mark.parametrize("pose", MOTIONS)
def test_miss_is_zero_at_the_truth_and_grows_away_from_it(
    truth: np.ndarray, pose: np.ndarray
) -> None:
    evidence = seen(truth, pose)
    at_truth = miss(evidence, truth)
    assert at_truth.max() < 0.05
    assert np.median(miss(evidence, 1.2 * truth)) > np.median(at_truth) + 0.1


def test_miss_is_in_pixels(truth: np.ndarray) -> None:
    """Across the epipolar lines a match that is off by 3 pixels misses by 3 pixels."""
    sideways = motion([0.1, 0, 0], [0, 0, 0])
    flow, ok = ego_flow(truth, sideways, MODEL.focal, MODEL.centre)
    evidence = pair_evidence(flow + np.float32([0, 3]), ok, sideways, MODEL)
    middle = miss(evidence, truth)[20:28, 28:36]
    np.testing.assert_allclose(middle, 3, rtol=0.05)


def test_fusion_recovers_the_depth(truth: np.ndarray) -> None:
    pairs = [seen(truth, pose) for pose in MOTIONS]
    assert all(pair.valid.all() for pair in pairs)
    fused = fuse(pairs)
    np.testing.assert_allclose(fused.inverse_depth, truth, rtol=2e-3)
    assert fused.miss_px.max() < 0.05 and fused.confirmed.all()


def test_fusion_outvotes_wrong_pairs(truth: np.ndarray) -> None:
    pairs = [seen(truth, pose, noise=0.05, seed=k) for k, pose in enumerate(MOTIONS)]
    wrong = seen(np.full_like(truth, 3.0), MOTIONS[1])
    fused = fuse([*pairs, wrong])
    error = np.abs(fused.inverse_depth / truth - 1)
    assert np.median(error) < 0.03
    alone = np.abs(-wrong.b / wrong.a / truth - 1)
    assert np.median(alone) > 1, "the wrong pair is wrong enough to matter"


def test_the_error_it_names_is_the_error_it_makes(truth: np.ndarray) -> None:
    """Relative error for one pixel of flow error, checked with flows of known noise."""
    noise = 0.2
    pairs = [seen(truth, pose, noise=noise, seed=k) for k, pose in enumerate(MOTIONS)]
    fused = fuse(pairs)
    expected = noise * np.median(fused.relative_error)
    actual = 1.4826 * np.median(np.abs(fused.inverse_depth / truth - 1))
    assert 0.6 * expected < actual < 1.6 * expected


def test_pixels_without_a_valid_pair_say_so(truth: np.ndarray) -> None:
    pairs = [seen(truth, pose) for pose in MOTIONS[:3]]
    hidden = np.zeros(SHAPE, bool)
    hidden[10:20] = True
    pairs = [Evidence(p.a, p.b, p.c, p.valid & ~hidden) for p in pairs]
    fused = fuse(pairs)
    assert not fused.confirmed[hidden].any() and np.isnan(fused.miss_px[hidden]).all()
    assert np.isfinite(fused.miss_px[~hidden]).all()
    assert np.isfinite(fused.inverse_depth).all() and (fused.inverse_depth > 0).all()
    assert fused.relative_error[hidden].min() > 100 * fused.relative_error[~hidden].max()


@pytest.mark.parametrize("together", [fuse, lambda pairs: flat(pairs, SHAPE)])
def test_two_pairs_confirm_a_pixel_or_the_only_one(
    truth: np.ndarray, together: Callable[[list[Evidence]], FusedDepth]
) -> None:
    pairs = []
    for k, pose in enumerate(MOTIONS):
        valid = np.zeros(SHAPE, bool)
        valid[10 * k :] = True
        pairs.append(replace(seen(truth, pose), valid=valid))
    for n in range(2, len(pairs) + 1):
        confirmed = together(pairs[:n]).confirmed
        # The second pair sees the rows from 10 on.
        assert confirmed[10:].all() and not confirmed[:10].any()
    confirmed = together(pairs[1:2]).confirmed
    assert confirmed[10:].all() and not confirmed[:10].any()


def test_without_parallax_the_depth_is_flat_and_movers_miss(truth: np.ndarray) -> None:
    turn = motion([0, 0, 0], [0.01, 0.03, 0])
    flow, ok = ego_flow(truth, turn, MODEL.focal, MODEL.centre)
    flow[5:15, 5:15] += 6
    constant = flat([pair_evidence(flow, ok, turn, MODEL)] * 2, SHAPE)
    assert (constant.inverse_depth == 1).all() and np.isinf(constant.relative_error).all()
    mover = np.zeros(SHAPE, bool)
    mover[5:15, 5:15] = True
    assert constant.miss_px[mover].min() > 5 and constant.miss_px[~mover].max() < 0.05
    nothing = flat([], SHAPE)
    assert np.isnan(nothing.miss_px).all()
    assert (nothing.inverse_depth == 1).all() and np.isinf(nothing.relative_error).all()
