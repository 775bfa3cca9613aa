"""Blank frames and hard cuts, and the errors and warnings about them."""

from __future__ import annotations

import numpy as np
import pytest

from align3r.errors import SolveError
from align3r.geometry.cameras import image_centre
from align3r.pairing import blank_frames
from align3r.pairwise.geometric.calibrate import find_scene
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.segments import among, segments
from align3r.pairwise.geometric.survey import HalfFlow, Survey
from align3r.pairwise.geometric.twoview import TwoView
from align3r.types import Frames, KnownCameras

SHAPE = (60, 80)


def pictures(n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack(
        [np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((10, 10, 1))) for _ in range(n)]
    ).astype(np.uint8)


def frames(images: np.ndarray) -> Frames:
    n = len(images)
    return Frames(images, np.arange(n) / 10, np.arange(n), images.shape[2:0:-1], "made")


def survey_of(n: int, agreement: dict[tuple[int, int], tuple[float, float]]) -> Survey:
    """Pairs with their share of valid pixels and of epipolar inliers."""
    views, flows = [], {}
    for (i, j), (cover, inliers) in agreement.items():
        valid = np.zeros((30, 40), bool)
        valid.flat[: round(cover * valid.size)] = True
        for a, b in ((i, j), (j, i)):
            flows[a, b] = HalfFlow(np.zeros((30, 40, 2), np.float16), valid)
        inlier = np.arange(100) < 100 * inliers
        nothing = np.zeros((100, 2))
        views.append(TwoView(i, j, nothing, nothing, np.eye(3), inlier, 0.5))
    none = np.zeros(0, np.int64)
    obs = Observations(np.arange(n), np.zeros((n, 2)), none, none, np.zeros((0, 2)), n)
    return Survey(obs, views, flows)


def test_one_colour_is_blank_with_noise_or_without() -> None:
    images = pictures(6)
    images[0] = 0
    images[2] = 255
    images[3] = np.random.default_rng(1).normal(90, 4, images[3].shape).clip(0, 255)
    images[5] = 20 + images[5] // 10  # nearly dark, but there is something
    np.testing.assert_array_equal(blank_frames(images), [True, False, True, True, False, False])


def test_a_cut_is_where_no_pair_across_agrees() -> None:
    good, chance, weak = (0.9, 0.9), (0.19, 0.55), (0.28, 0.8)
    found = survey_of(
        6, {(0, 1): good, (1, 2): weak, (2, 3): chance, (1, 3): chance, (3, 4): good, (4, 5): good}
    )
    runs = segments(found, np.ones(6, bool))
    assert [run.tolist() for run in runs] == [[0, 1, 2], [3, 4, 5]]
    joined = survey_of(3, {(0, 1): chance, (0, 2): good, (1, 2): chance})
    assert [run.tolist() for run in segments(joined, np.ones(3, bool))] == [[0, 1, 2]]


def test_unusable_frames_belong_to_no_part() -> None:
    good = (0.9, 0.9)
    found = survey_of(5, {(0, 1): good, (1, 4): good})
    usable = np.array([True, True, False, False, True])
    assert [run.tolist() for run in segments(found, usable)] == [[0, 1, 4]]
    assert [run.tolist() for run in segments(survey_of(1, {}), np.ones(1, bool))] == [[0]]


def test_among_drops_every_trace_of_a_frame() -> None:
    found = survey_of(3, {(0, 1): (0.9, 0.9), (1, 2): (0.9, 0.9), (0, 2): (0.9, 0.9)})
    part = among(found, np.array([True, False, True]))
    assert [(v.i, v.j) for v in part.views] == [(0, 2)]
    assert set(part.flows) == {(0, 2), (2, 0)}


@pytest.mark.parametrize("n", [1, 4])
def test_nothing_but_blank_frames_is_an_error(n: int) -> None:
    black = frames(np.zeros((n, *SHAPE, 3), np.uint8))
    with pytest.raises(SolveError, match="blank") as raised:
        find_scene(survey_of(n, {}), black, KnownCameras(), image_centre(black.size))
    assert raised.value.exit_code == 5 and raised.value.hint


def test_frames_that_have_nothing_in_common_are_an_error() -> None:
    four = frames(pictures(4))
    centre = image_centre(four.size)
    chance = dict.fromkeys([(0, 1), (1, 2), (2, 3)], (0.15, 0.5))
    for pairs in ({}, chance):
        with pytest.raises(SolveError, match="no two of the 4 frames"):
            find_scene(survey_of(4, pairs), four, KnownCameras(), centre)


def test_one_picture_is_a_camera_and_a_warning() -> None:
    one = frames(pictures(1))
    scene = find_scene(survey_of(1, {}), one, KnownCameras(), image_centre(one.size))
    assert not scene.parallax and "single frame" in scene.warnings[0]
    np.testing.assert_array_equal(scene.cameras.cam_from_world, np.eye(4)[None])
    assert scene.cameras.focal == pytest.approx(0.9 * 80)
