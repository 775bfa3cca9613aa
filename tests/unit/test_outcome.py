"""A solution becomes a result only if what is saved can be loaded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from motion_world import SHAPE, World, world

from align3r import load
from align3r.config import Options
from align3r.errors import SolveError
from align3r.geometry.cameras import wrong_camera
from align3r.given import Given
from align3r.outcome import as_reconstruction
from align3r.reconstruction import Reconstruction
from align3r.types import Frames, KnownCameras, Solution


@pytest.fixture
def w() -> World:
    return world()


def result_of(w: World, solution: Solution) -> Reconstruction:
    n = len(w.moving)
    images = np.zeros((n, *SHAPE, 3), np.uint8)
    frames = Frames(images, np.arange(n) / 30, np.arange(n), (192, 144), "a walk")
    given = Given("a walk", frames, KnownCameras(), None, w.flows.edges, np.arange(n))
    return as_reconstruction(solution, given, w.predictions, Options(model="geometric"))


def with_focal(solution: Solution, frame: int, focal: float) -> Solution:
    focals = solution.focal.astype(np.float64)
    focals[frame] = focal
    return replace(solution, focal=focals)


def with_pose(solution: Solution, frame: int, at: tuple[int, int], value: float) -> Solution:
    poses = solution.world_from_cam.astype(np.float64)
    poses[frame][at] = value
    return replace(solution, world_from_cam=poses)


def test_what_is_saved_can_be_loaded(w: World, tmp_path: Path) -> None:
    # Half of the longest in source pixels: the working image has half of their number.
    scene = result_of(w, with_focal(w.solution, 0, 0.49e9))
    assert len(load(scene.save(tmp_path / "out"))) == len(w.moving)


@pytest.mark.parametrize("focal", [np.nan, np.inf, -np.inf, 0.0, -85.0, 0.51e9, 1e12])
def test_a_focal_length_that_no_camera_has_is_no_result(w: World, focal: float) -> None:
    with pytest.raises(SolveError, match="4 frames ended without cameras: K 2 is no") as refused:
        result_of(w, with_focal(w.solution, 2, focal))
    assert f"{2 * focal:.4g}" in str(refused.value)
    assert "--focal" in refused.value.hint


@pytest.mark.parametrize(
    ("at", "value"), [((0, 0), 2.0), ((0, 3), np.nan), ((1, 3), np.inf), ((3, 0), 1.0)]
)
def test_a_pose_that_is_no_motion_is_no_result(w: World, at: tuple[int, int], value: float) -> None:
    with pytest.raises(SolveError, match="without cameras: pose 1 is no rotation"):
        result_of(w, with_pose(w.solution, 1, at, value))


def test_no_camera_is_saved_that_a_reader_refuses(
    make_scene: Callable[..., Reconstruction], tmp_path: Path
) -> None:
    scene = make_scene(3)
    assert wrong_camera(scene.world_from_cam, scene.intrinsics) is None
    changes: list[Any] = [(np.s_[1, 0, 2], np.nan), (np.s_[1, 1, 1], 1e9), (np.s_[1, 2, 0], 0.1)]
    for at, value in changes:
        k = scene.intrinsics.copy()
        k[at] = value
        said = wrong_camera(scene.world_from_cam, k)
        assert said is not None and said.startswith("K 1 is no camera matrix")
        with pytest.raises(SolveError, match=r"K 1 is no camera matrix .* cannot be saved"):
            replace(scene, intrinsics=k).save(tmp_path / "out")
        assert not list(tmp_path.iterdir())
