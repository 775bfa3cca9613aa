"""Evidence of motion from point maps and flow, on an exact little world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from align3r.flow.warp import pixel_grid
from align3r.geometry.cameras import ego_flow, image_centre, rays
from align3r.motion.ego_motion import evidence, moving_masks
from align3r.motion.resection import Pinhole, pose_from_points, refine_pose
from align3r.types import PairFlows, PairPredictions

SHAPE = (72, 96)
CENTRE = image_centre((96, 72))
FOCAL = 85.0
CAMERA = Pinhole(FOCAL, CENTRE, SHAPE)


def rigid(turn: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn, float))[0]
    pose[:3, 3] = shift
    return pose


def hill(frame: int) -> np.ndarray:
    """(h, w) smooth depth of a frame; each has its own, for only the flow links them."""
    u, v = np.moveaxis(pixel_grid(*SHAPE), -1, 0)
    return 3 + 0.8 * np.sin(0.07 * u + frame) + 0.6 * np.cos(0.09 * v - frame) + 0.01 * v


@dataclass(frozen=True)
class World:
    """Pairs of frames with their flow; one square moves on its own."""

    predictions: PairPredictions
    flows: PairFlows
    moving: np.ndarray


def world(
    n: int = 4, *, object_px: float = 6.0, noise: float = 0.0, edges: np.ndarray | None = None
) -> World:
    """n cameras on a walk.

    Args:
        n: Frames.
        object_px: How far the square moves a frame, pixels.
        noise: Relative depth error of each prediction, smooth; also of pose, in radians.
        edges: All i < j if not given.
    """
    rng = np.random.default_rng(5)
    if edges is None:
        edges = np.array([(i, j) for i in range(n) for j in range(i + 1, n)])
    cam = [
        rigid((0.01 * k, -0.03 * k, 0.01 * k), (-0.08 * k, 0.02 * k, -0.03 * k)) for k in range(n)
    ]
    moving = np.zeros((n, *SHAPE), bool)
    moving[:, 20:50, 30:55] = True
    points = np.empty((len(edges), 2, *SHAPE, 3), np.float32)
    flow = np.empty((2, len(edges), *SHAPE, 2), np.float32)
    for row, (i, j) in enumerate(edges.tolist()):
        for side, (a, b) in enumerate(((i, j), (j, i))):
            b_from_a = cam[b] @ np.linalg.inv(cam[a])
            flow[side, row], _ = ego_flow(1 / hill(a).astype(np.float32), b_from_a, FOCAL, CENTRE)
            flow[side, row][moving[a]] += (0.8 * (b - a) * object_px, -0.6 * (b - a) * object_px)
            error = 1 + noise * cv2.resize(rng.normal(size=(3, 4)), SHAPE[::-1])
            in_a = rays(SHAPE, FOCAL, CENTRE) * (hill(a) * error)[..., None]
            i_from_a = cam[i] @ np.linalg.inv(cam[a])
            if side:
                i_from_a = i_from_a @ rigid(tuple(0.5 * noise * rng.normal(size=3)), (0, 0, 0))
            points[row, side] = in_a @ i_from_a[:3, :3].T + i_from_a[:3, 3]
        points[row] *= np.exp(0.3 * rng.normal())
    inside = [
        (
            (pixel_grid(*SHAPE) + f >= 0) & (pixel_grid(*SHAPE) + f <= np.subtract(SHAPE[::-1], 1))
        ).all(-1)
        for f in flow
    ]
    predictions = PairPredictions(
        edges, torch.from_numpy(points), torch.full((len(edges), 2, *SHAPE), 9.0), CENTRE
    )
    return World(predictions, PairFlows(edges, flow[0], flow[1], inside[0], inside[1]), moving)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


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

    def note(error: np.ndarray, **options: np.ndarray) -> np.ndarray:
        given.update(options)
        return np.zeros(error.shape, bool)

    monkeypatch.setattr("align3r.motion.masks.motion_masks", note)
    w = world(edges=np.array([[0, 1], [2, 1], [0, 3]]))
    moving_masks(w.predictions, w.flows, 4, 6.0)
    ahead, behind = given["to_next"], given["to_previous"]
    np.testing.assert_array_equal(ahead[0], w.flows.forward[0])
    np.testing.assert_array_equal(behind[1], w.flows.backward[0])
    np.testing.assert_array_equal(ahead[1], w.flows.backward[1])
    np.testing.assert_array_equal(behind[2], w.flows.forward[1])
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
