"""Structure from motion on known worlds, and one world for all frames of a video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from geometric_worlds import CENTRE, FOCAL, angle_deg, shape_error, two_views, world

from align3r.pairwise.geometric.bundle import Cameras, project
from align3r.pairwise.geometric.motionless import turning_cameras
from align3r.pairwise.geometric.structure import Structure, fixed_poses, incremental
from align3r.pairwise.geometric.triangulation import triangulate
from align3r.pairwise.geometric.world import baseline_px, chained, unit_scale, with_all_frames


def test_triangulation_is_exact_for_exact_matches() -> None:
    true, obs = world(4, spacing=10)
    found = triangulate(replace(true, inverse_depth=np.full_like(true.inverse_depth, 0.5)), obs)
    np.testing.assert_allclose(found, true.inverse_depth, rtol=1e-6)


def test_triangulation_withstands_outliers_and_knows_what_it_cannot_tell() -> None:
    true, obs = world(6, spacing=10, gap=5, noise_px=0.05, outliers=0.1)
    found = triangulate(true, obs)
    error = np.abs(found / true.inverse_depth - 1)
    assert np.median(error) < 0.01 and (error < 0.1).mean() > 0.9
    still = np.tile(np.eye(4), (6, 1, 1))
    assert not triangulate(replace(true, cam_from_world=still), obs).any()


@pytest.mark.parametrize("focal_known", [True, False])
def test_incremental_finds_all_cameras(focal_known: bool) -> None:
    true, obs = world(7, spacing=7, gap=4, noise_px=0.15, outliers=0.15, step=0.25, seed=1)
    start = FOCAL if focal_known else 1.1 * FOCAL
    views = two_views(obs)
    found = incremental(obs, views, focal=start, focal_known=focal_known, centre=CENTRE)
    assert found is not None and found.placed.all()
    own = found.cameras.cam_from_world @ np.linalg.inv(found.cameras.cam_from_world[0])
    assert angle_deg(own, true.cam_from_world) < 0.5
    assert shape_error(own, true.cam_from_world) < 0.02
    assert abs(found.cameras.focal / FOCAL - 1) < (1e-12 if focal_known else 0.03)


def test_a_frame_that_matches_by_chance_is_not_placed() -> None:
    _, obs = world(6, spacing=7, gap=3, noise_px=0.1, step=0.25, seed=2)
    rng = np.random.default_rng(0)
    pixel = obs.pixel.copy()
    touched = (obs.source == 5) | (obs.target == 5)
    pixel[touched] = rng.uniform(0, 128, (int(touched.sum()), 2))
    obs = replace(obs, pixel=pixel)
    found = incremental(obs, two_views(obs), focal=FOCAL, focal_known=True, centre=CENTRE)
    assert found is not None
    np.testing.assert_array_equal(found.placed, [True] * 5 + [False])


def test_no_epipolar_geometry_no_start() -> None:
    _, obs = world(3, spacing=10)
    views = [replace(v, fundamental=None) for v in two_views(obs)]
    assert incremental(obs, views, focal=FOCAL, focal_known=True, centre=CENTRE) is None


def test_known_poses_are_kept_and_the_focal_found() -> None:
    true, obs = world(5, spacing=8, noise_px=0.1, outliers=0.1)
    found = fixed_poses(
        obs, true.cam_from_world, focal=0.93 * FOCAL, focal_known=False, centre=CENTRE
    )
    np.testing.assert_array_equal(found.cameras.cam_from_world, true.cam_from_world)
    assert abs(found.cameras.focal / FOCAL - 1) < 0.01
    assert baseline_px(found.cameras, obs) > 5
    still = np.tile(np.eye(4), (5, 1, 1))
    assert baseline_px(replace(true, cam_from_world=still), obs) == 0.0
    assert baseline_px(true, obs.among(np.zeros(5, bool))) == 0.0


def test_turning_cameras_stay_in_place() -> None:
    true, obs = world(4, spacing=8, step=0.0, noise_px=0.1)
    assert angle_deg(true.cam_from_world[0], true.cam_from_world[3]) > 1
    # Shift is small against the depths: the turn is what is seen.
    far = replace(true, inverse_depth=np.full_like(true.inverse_depth, 1e-6))
    obs = replace(obs, pixel=obs.pixel + project(far, obs)[0])
    found = turning_cameras(obs, two_views(obs), focal=FOCAL, focal_known=True, centre=CENTRE)
    assert angle_deg(found.cam_from_world, true.cam_from_world) < 0.05
    assert not found.cam_from_world[:, :3, 3].any()


def moved_by(n: int, step: np.ndarray, depth: float = 1.0) -> Cameras:
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, :3, 3] = -np.arange(n)[:, None] * step
    return Cameras(poses, FOCAL, CENTRE, np.full(4 * n, 1 / depth))


def test_unit_scale_keeps_the_image_and_makes_the_median_depth_one() -> None:
    true, obs = world(3)
    scaled = unit_scale(true, np.arange(3))
    assert np.median(scaled.inverse_depth) == pytest.approx(1.0)
    np.testing.assert_allclose(project(scaled, obs)[0], 0, atol=1e-9)


def test_parts_are_put_one_behind_the_other() -> None:
    first = Structure(moved_by(6, np.array([1.0, 0, 0])), np.arange(6) < 3)
    second = Structure(moved_by(6, np.array([0, 2.0, 0]), 5.0), np.arange(6) >= 3)
    whole = chained([(np.arange(3), first), (np.arange(3, 6), second)], 6)
    assert whole.placed.all()
    places = np.linalg.inv(whole.cameras.cam_from_world)[:, :3, 3]
    expected = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 0, 0], [2, 2, 0], [2, 4, 0]]
    np.testing.assert_allclose(places, expected, atol=1e-12)
    np.testing.assert_allclose(whole.cameras.inverse_depth, [1.0] * 12 + [0.2] * 12)


def test_frames_without_a_place_lie_between_their_neighbours() -> None:
    structure = Structure(
        moved_by(6, np.array([1.0, 0, 0])), np.array([False, True, False, False, True, False])
    )
    places = np.linalg.inv(with_all_frames(structure).cam_from_world)[:, :3, 3]
    np.testing.assert_allclose(places[:, 0], [1, 1, 2, 3, 4, 4], atol=1e-12)


def test_a_single_placed_frame_is_the_place_of_all() -> None:
    structure = Structure(moved_by(4, np.array([1.0, 0, 0])), np.array([False, False, True, False]))
    places = np.linalg.inv(with_all_frames(structure).cam_from_world)[:, :3, 3]
    np.testing.assert_allclose(places[:, 0], 2.0)
