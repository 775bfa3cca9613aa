"""The contract of a pair predictor, and cameras on rendered videos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from render import Clip, rendered
from special_clips import SIZE, walk_clip

from align3r.config import PairOptions
from align3r.geometry.cameras import image_centre
from align3r.pairing import build_pairs
from align3r.pairwise.geometric.calibrate import find_scene
from align3r.pairwise.geometric.predictor import GeometricPredictor
from align3r.pairwise.geometric.survey import survey
from align3r.types import Frames, KnownCameras, PairPredictions


def frames_of(clip: Clip) -> Frames:
    size = (clip.images.shape[2], clip.images.shape[1])
    return Frames(clip.images, clip.times, np.arange(len(clip.images)), size, "rendered")


def predicted(clip: Clip, edges: np.ndarray, **options: object) -> PairPredictions:
    return GeometricPredictor().predict(frames_of(clip), edges, known=KnownCameras(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return walk_clip(6, size=(192, 144), fps=4.0)


@pytest.fixture(scope="module")
def edges() -> np.ndarray:
    # A pair may be asked for in the other order too.
    return np.concatenate([build_pairs(6, PairOptions()), np.array([[3, 1], [5, 0]])])


@pytest.fixture(scope="module")
def answers(clip: Clip, edges: np.ndarray) -> PairPredictions:
    return predicted(clip, edges)


def test_every_pair_is_answered_densely(answers: PairPredictions, edges: np.ndarray) -> None:
    np.testing.assert_array_equal(answers.edges, edges)
    n = len(edges)
    assert answers.points.shape == (n, 2, 144, 192, 3)
    assert answers.confidence.shape == (n, 2, 144, 192)
    assert torch.isfinite(answers.points).all() and torch.isfinite(answers.confidence).all()
    assert (answers.confidence >= 1).all()
    assert (answers.points[:, 0, ..., 2] > 0).all(), "the first view is in front of its camera"
    assert answers.moving is not None and answers.moving.shape == (6, 144, 192)
    assert answers.flows is not None
    np.testing.assert_array_equal(answers.flows.edges, edges)
    assert np.isfinite(answers.flows.forward).all()
    assert answers.principal_point == image_centre((192, 144))


def test_a_mirrored_pair_is_the_mirrored_answer(
    answers: PairPredictions, edges: np.ndarray
) -> None:
    """Depth of frame 3 is the same whether it is asked for as (1, 3) or (3, 1)."""
    here, there = (int(np.flatnonzero((edges == pair).all(1))[0]) for pair in ([1, 3], [3, 1]))
    assert answers.flows is not None
    np.testing.assert_array_equal(answers.flows.forward[here], answers.flows.backward[there])
    np.testing.assert_array_equal(
        answers.confidence[here, 1].numpy(), answers.confidence[there, 0].numpy()
    )


def test_the_first_view_projects_onto_its_own_pixels(answers: PairPredictions) -> None:
    points = answers.points[:, 0].float().numpy()
    v, u = np.mgrid[:144, :192]
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    offset = u - answers.principal_point[0]
    focal = np.median(offset[:, 150:] / x[..., 150:])
    np.testing.assert_allclose(focal * x, np.broadcast_to(offset, x.shape), atol=0.3)
    np.testing.assert_allclose(
        focal * y, np.broadcast_to(v - answers.principal_point[1], y.shape), atol=0.3
    )


def test_confident_pixels_have_the_right_depth(
    answers: PairPredictions, clip: Clip, edges: np.ndarray
) -> None:
    errors = []
    for k, (i, _) in enumerate(edges.tolist()):
        sure = answers.confidence[k, 0].numpy() > 5
        ratio = (answers.points[k, 0, ..., 2].float().numpy() / clip.depth[i])[sure]
        errors.append(np.abs(ratio / np.median(ratio) - 1))
    assert sum(map(len, errors)) > 0.1 * len(edges) * 144 * 192
    assert np.median(np.concatenate(errors)) < 0.06


def test_twice_the_same(answers: PairPredictions, clip: Clip, edges: np.ndarray) -> None:
    again = predicted(clip, edges)
    assert torch.equal(again.points, answers.points)
    assert torch.equal(again.confidence, answers.confidence)
    np.testing.assert_array_equal(again.moving, answers.moving)
    assert again.flows is not None and answers.flows is not None
    np.testing.assert_array_equal(again.flows.forward, answers.flows.forward)
    np.testing.assert_array_equal(again.flows.backward_valid, answers.flows.backward_valid)


def test_progress_counts_up_to_the_end(clip: Clip) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    predicted(
        clip,
        np.array([[0, 1], [1, 2]]),
        progress=lambda stage, done, total: told.setdefault(stage, []).append((done, total)),
    )
    assert {"flow", "cameras", "depth"} <= set(told)
    for counts in told.values():
        assert [done for done, _ in counts] == sorted(done for done, _ in counts)
        assert counts[-1][0] == counts[-1][1]


def test_cameras_of_a_turn_are_right() -> None:
    turn = rendered("rotate", n_frames=10, size=SIZE, fps=3.5)
    centre = image_centre(SIZE)
    found = survey(turn.images, centre, moving=None, on_pair=lambda _done, _total: None)
    scene = find_scene(found, frames_of(turn), KnownCameras(), centre)
    assert not scene.parallax and "only turns" in scene.warnings[0]
    difference = scene.cameras.cam_from_world[:, :3, :3] @ turn.world_from_cam[:, :3, :3]
    cosine = (np.trace(difference, axis1=1, axis2=2) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.15
    assert abs(scene.cameras.focal / turn.k[0, 0] - 1) < 0.02
    assert not scene.cameras.cam_from_world[:, :3, 3].any()
