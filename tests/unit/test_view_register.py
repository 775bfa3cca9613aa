"""Laying one result onto another by the cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from align3r.errors import InputError
from align3r.geometry.association import nearest_times
from align3r.reconstruction import Reconstruction
from align3r.view.look import choose_look
from align3r.view.register import match_frames, register
from align3r.view.sampling import frame_cloud

MakeScene = Callable[..., Reconstruction]
SCALE, SHIFT = 2.5, np.array([3.0, -1.0, 7.0])
ROTATION = cv2.Rodrigues(np.array([0.4, 1.1, -0.3]))[0]


def moved(scene: Reconstruction) -> Reconstruction:
    """The same result in a world of its own: first = (second's world moved back)."""
    poses = scene.world_from_cam.copy()
    # first = SCALE R second + SHIFT
    poses[:, :3, :3] = ROTATION.T @ poses[:, :3, :3]
    poses[:, :3, 3] = (scene.world_from_cam[:, :3, 3] - SHIFT) @ ROTATION / SCALE
    other = dataclasses.replace(scene, world_from_cam=poses)
    other.maps._depth[:] /= SCALE  # type: ignore[attr-defined]
    return other


@pytest.mark.parametrize("straight", [False, True])
def test_a_moved_result_is_laid_back(make_scene: MakeScene, straight: bool) -> None:
    one, other = make_scene(6), make_scene(6)
    for scene in (one, other):
        if straight:
            scene.world_from_cam[:, 1:3, 3] = 0
    onto = register(one, moved(other))
    assert onto.scale == pytest.approx(SCALE) and onto.frames == 6
    np.testing.assert_allclose(onto.rotation, ROTATION, atol=1e-9)
    np.testing.assert_allclose(onto.translation, SHIFT, atol=1e-9)
    assert onto.residual < 1e-9


def test_the_points_of_both_lie_on_each_other_in_the_viewer(make_scene: MakeScene) -> None:
    one, other = make_scene(5), moved(make_scene(5))
    look, onto = choose_look(one), register(one, other)
    first = look.to_viewer(frame_cloud(one, 3, stride=2).points)
    second = look.under(onto).to_viewer(frame_cloud(other, 3, stride=2).points)
    np.testing.assert_allclose(first, second, atol=1e-5)
    np.testing.assert_allclose(look.camera(one, 2), look.under(onto).camera(other, 2), atol=2e-6)


def test_a_camera_that_stands_still_takes_the_scale_of_the_depths(make_scene: MakeScene) -> None:
    one, other = make_scene(4), make_scene(4)
    for scene in (one, other):
        scene.world_from_cam[:, :3, 3] = 0
    onto = register(one, moved(other))
    assert onto.scale == pytest.approx(SCALE, rel=1e-5)
    np.testing.assert_allclose(onto.rotation, ROTATION, atol=1e-9)


def test_frames_are_matched_by_time(make_scene: MakeScene) -> None:
    one, other = make_scene(6), make_scene(3)
    other = dataclasses.replace(other, times=one.times[1::2] + 0.01)
    assert (
        match_frames(one, other).tolist() == [[1, 0], [3, 1], [5, 2]]
        or len(match_frames(one, other)) == 6
    )


def test_the_nearest_time_is_that_of_a_look_at_all_of_them() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (5, 1), (1, 5), (40, 30), (30, 40)):
        times, clock = rng.uniform(0, 1, n), rng.uniform(0, 1, m)
        times[: n // 3], clock[: m // 3] = 0.5, 0.5  # several at once
        found = clock[nearest_times(times, clock)]
        slow = np.abs(times[:, None] - clock).min(axis=1)
        np.testing.assert_array_equal(np.abs(times - found), slow)


def test_results_of_other_times_are_refused(make_scene: MakeScene) -> None:
    other = dataclasses.replace(make_scene(3), times=np.array([50.0, 50.1, 50.2]))
    with pytest.raises(InputError, match=r"0\.50 to 0\.70 s and 50\.00 to 50\.20 s"):
        register(make_scene(3), other)
