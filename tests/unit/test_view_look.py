"""The frame of the viewer: which way is up, and that the first view shows what there is to see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from align3r.reconstruction import Reconstruction
from align3r.view.look import choose_look, first_view

MakeScene = Callable[..., Reconstruction]


def turned(scene: Reconstruction, axis: tuple[float, float, float]) -> Reconstruction:
    """The scene in a world that is turned and moved."""
    world = np.eye(4)
    world[:3, :3] = cv2.Rodrigues(np.array(axis, float))[0]
    world[:3, 3] = (50.0, -20.0, 3.0)
    return dataclasses.replace(scene, world_from_cam=world @ scene.world_from_cam)


@pytest.mark.parametrize("axis", [(0, 0, 0), (0.3, 2.0, -1.0), (3.1, 0, 0), (0, 0, 1.6)])
def test_up_is_up_for_the_cameras_in_any_world(
    make_scene: MakeScene, axis: tuple[float, float, float]
) -> None:
    scene = turned(make_scene(5), axis)
    up = choose_look(scene).up
    assert np.linalg.norm(up) == pytest.approx(1)
    for pose in scene.world_from_cam:
        assert -pose[:3, 1] @ up > 0.9


@pytest.mark.parametrize("axis", [(0, 0, 0), (0.3, 2.0, -1.0), (3.1, 0, 0)])
@pytest.mark.parametrize("stretch", [0.01, 1.0, 40.0])
def test_the_first_view_shows_the_path_and_what_is_before_it(
    make_scene: MakeScene, axis: tuple[float, float, float], stretch: float
) -> None:
    scene = make_scene(9)
    scene.world_from_cam[:, :3, 3] *= stretch
    scene = turned(scene, axis)
    look = choose_look(scene)
    view = first_view(scene, look)
    eye, target, up = (np.array(view[name]) for name in ("eye", "target", "up"))
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])
    middle = scene.world_from_cam[len(scene) // 2]
    ahead = middle[:3, 3] + middle[:3, 2] * look.depth / look.scale
    wanted = np.concatenate([scene.world_from_cam[:, :3, 3], ahead[None]])
    x, y, z = axes @ (look.to_viewer(wanted) - eye).T
    assert z.min() > 0, "something is behind the eye"
    # The view is 50 degrees high; the timeline and the panel take what is beyond.
    assert np.abs(x / z).max() < 0.9 and np.abs(y / z).max() < np.tan(np.radians(25))


def test_the_camera_of_the_page_projects_as_the_camera_of_the_result(make_scene: MakeScene) -> None:
    scene = turned(make_scene(4), (0.3, 2.0, -1.0))
    look = choose_look(scene)
    numbers = np.array(look.camera(scene, 2))
    rotation, centre, (fx, fy, cx, cy) = numbers[:9].reshape(3, 3), numbers[9:12], numbers[12:]
    pixel, depth = np.array([31.0, 12.0]), 2.5
    ray = np.linalg.inv(scene.intrinsics[2]) @ [*pixel, 1.0]
    world = (scene.world_from_cam[2] @ [*(ray * depth), 1.0])[:3]
    x, y, z = rotation.T @ (look.to_viewer(world) - centre)
    u, v = fx * x / z + cx, fy * y / z + cy
    # Corner convention, in shares of the picture: the centre of a pixel is half a pixel in.
    np.testing.assert_allclose([u, v], (pixel + 0.5) / scene.size, atol=1e-4)
