"""Evidence of motion from point maps and flow, on an exact little world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from motion_world import CAMERA, CENTRE, FOCAL, SHAPE, hill, iou, rigid, world

from align3r.geometry.cameras import rays
from align3r.motion.ego_motion import evidence, moving_masks
from align3r.motion.resection import pose_from_points, refine_pose


def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of view a (m, 3), its rays with inverse depth (m, 4), and b_from_a."""
    depth = hill(0)[::4, ::4, None]
    ray = rays(SHAPE, FOCAL, CENTRE, step=4)
    both = np.concatenate([ray, 1 / depth], -1).reshape(-1, 4).astype(np.float64)
    return (
        (ray * depth).reshape(-1, 3).astype(np.float64),
        both,
        rigid((0.1, -0.05, 0.02), (0.3, 0, 0.1)),
    )


def projected(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    seen = points @ pose[:3, :3].T + pose[:3, 3]
    return FOCAL * seen[:, :2] / seen[:, 2:] + CENTRE


def test_the_pose_comes_back_from_points_with_a_third_wrong() -> None:
    points, _, pose = samples()
    pixels = projected(points, pose)
    pixels[::3] += 25
    found = pose_from_points(points, pixels, CAMERA)
    assert found is not None
    np.testing.assert_allclose(found, pose, atol=5e-3)


def test_points_that_agree_on_nothing_have_no_pose() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal((0, 0, 4), 1.0, (300, 3))
    assert pose_from_points(points, rng.uniform(0, 500, (300, 2)), CAMERA) is None
    assert pose_from_points(points[:20], projected(points[:20], np.eye(4)), CAMERA) is None


def test_refining_forgets_a_wrong_start_and_what_moves() -> None:
    points, both, pose = samples()
    pixels = projected(points, pose)
    pixels[: len(pixels) // 4] += (12, -8)
    start = rigid((0.004, -0.006, 0.003), (0.01, 0.0, -0.01)) @ pose
    refined = refine_pose(start, both, pixels, CAMERA)
    np.testing.assert_allclose(refined, pose, atol=1e-4)


def test_refining_a_turn_does_not_run_away() -> None:
    _, both, _ = samples()
    far = both * (1, 1, 1, 0)
    turn = rigid((0.02, 0.01, 0), (0, 0, 0))
    pixels = projected(both[:, :3], turn)
    refined = refine_pose(np.eye(4), far, pixels, CAMERA)
    np.testing.assert_allclose(refined, turn, atol=1e-4)


def test_without_noise_the_static_scene_agrees_and_the_square_does_not() -> None:
    w = world()
    found = evidence(w.predictions, w.flows).error
    assert found.shape == (4, *SHAPE) and found.dtype == np.float16
    known = np.isfinite(found)
    assert known.mean() > 0.9
    assert np.quantile(found[known & ~w.moving], 0.99) < 0.05
    assert np.quantile(found[known & w.moving], 0.05) > 2


@pytest.mark.parametrize("noise", [0.0, 0.04])
def test_masks(noise: float) -> None:
    w = world(noise=noise)
    masks = moving_masks(w.predictions, w.flows, 4, 6.0)
    assert iou(masks, w.moving) > 0.9
    still = world(noise=noise, object_px=0.0)
    assert not moving_masks(still.predictions, still.flows, 4, 6.0).any()


def test_wrong_depth_of_one_pair_does_not_move_anything() -> None:
    w = world(object_px=0.0)
    points = w.predictions.points.clone()
    points[0, 0, 5:25, 60:90] *= 1.5
    spoilt = replace(w.predictions, points=points)
    assert not moving_masks(spoilt, w.flows, 4, 6.0).any()


def test_occluded_pixels_have_no_say() -> None:
    w = world()
    valid = w.flows.forward_valid & ~w.moving[w.flows.edges[:, 0]]
    back = w.flows.backward_valid & ~w.moving[w.flows.edges[:, 1]]
    flows = replace(w.flows, forward_valid=valid, backward_valid=back)
    found = evidence(w.predictions, flows).error
    assert np.isnan(found[w.moving]).all()


def test_half_precision_and_mirrored_pairs_change_next_to_nothing() -> None:
    w = world(noise=0.04)
    half = replace(w.predictions, points=w.predictions.points.half())
    once = moving_masks(w.predictions, w.flows, 4, 6.0)
    assert iou(moving_masks(half, w.flows, 4, 6.0), once) > 0.98
    edges = w.flows.edges
    mirrored = world(noise=0.04, edges=np.concatenate([edges, edges[:, ::-1]]))
    assert iou(moving_masks(mirrored.predictions, mirrored.flows, 4, 6.0), once) > 0.95


def test_a_frame_in_no_pair_is_unknown() -> None:
    w = world(n=3)
    found = evidence(w.predictions, w.flows, n_frames=5).error
    assert len(found) == 5
    assert np.isnan(found[3:]).all() and not np.isnan(found[:3]).all()
    assert not moving_masks(w.predictions, w.flows, 5, 6.0)[3:].any()


def test_point_maps_that_say_nothing_leave_everything_unknown() -> None:
    w = world()
    nothing = replace(w.predictions, points=torch.zeros_like(w.predictions.points))
    assert np.isnan(evidence(nothing, w.flows).error).all()


def test_flows_of_other_pairs_are_refused() -> None:
    w = world()
    with pytest.raises(ValueError, match="not of the predicted pairs"):
        evidence(w.predictions, replace(w.flows, edges=w.flows.edges[::-1]))


def test_the_same_input_gives_the_same_evidence() -> None:
    w = world(noise=0.04)
    np.testing.assert_array_equal(
        evidence(w.predictions, w.flows).error, evidence(w.predictions, w.flows).error
    )


def test_a_wrong_flow_of_one_pair_is_outvoted() -> None:
    w = world(n=6)
    forward = w.flows.forward.copy()
    forward[0, 55:70, 60:90] += 15
    found = evidence(w.predictions, replace(w.flows, forward=forward)).error
    assert np.nanmax(found[0, 55:70, 60:85]) < 0.5


def test_the_unit_of_a_pair_does_not_matter() -> None:
    w = world(noise=0.04)
    points = w.predictions.points.clone()
    points[::2] *= 200.0
    scaled = evidence(replace(w.predictions, points=points), w.flows).error
    np.testing.assert_allclose(scaled, evidence(w.predictions, w.flows).error, atol=0.02)


def test_neighbours_in_time_are_looked_up_in_either_order_of_a_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {}

    def note(error: np.ndarray, **options: Any) -> np.ndarray:
        given.update(options)
        return np.zeros(error.shape, bool)

    monkeypatch.setattr("align3r.motion.masks.motion_masks", note)
    w = world(edges=np.array([[0, 1], [2, 1], [0, 3]]))
    moving_masks(w.predictions, w.flows, 4, 6.0)
    ahead, behind = given["to_next"], given["to_previous"]
    np.testing.assert_array_equal(ahead[0].flow, w.flows.forward[0])
    np.testing.assert_array_equal(behind[1].flow, w.flows.backward[0])
    np.testing.assert_array_equal(ahead[1].valid, w.flows.backward_valid[1])
    np.testing.assert_array_equal(behind[2].valid, w.flows.forward_valid[1])
    assert all(nowhere is None for nowhere in (ahead[2], ahead[3], behind[0], behind[3]))


@pytest.mark.parametrize("kind", ["zero", "one point", "one ray", "a line", "noise"])
def test_degenerate_points_have_no_pose_and_raise_nothing(kind: str) -> None:
    """Seen just where they are, which OpenCV's solver answers with assertions of its own."""
    rng = np.random.default_rng(0)
    m = 400
    points = {
        "zero": np.zeros((m, 3)),
        "one point": np.tile([0.1, -0.2, 2.0], (m, 1)),
        "one ray": rng.uniform(1, 3, (m, 1)) * np.array([0.1, 0.0, 1.0]),
        "a line": rng.uniform(-1, 1, (m, 1)) * np.array([1.0, 0.0, 0.0]) + [0, 0, 2],
        "noise": rng.normal(size=(m, 3)) * 1e4,
    }[kind]
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = np.nan_to_num(FOCAL * points[:, :2] / points[:, 2:]) + CENTRE
    pose = pose_from_points(points, pixels, CAMERA)
    assert pose is None or np.isfinite(pose).all()
