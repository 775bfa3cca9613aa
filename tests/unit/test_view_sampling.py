"""Points for the eye: where they lie, which are left out, how many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from align3r.io.maps import ArrayMaps
from align3r.io.thinning import most_confident
from align3r.reconstruction import Reconstruction
from align3r.view.cloud import NOTHING, Cloud, evenly, join, thin
from align3r.view.palette import depth_picture, depth_range, spread, turbo
from align3r.view.sampling import (
    StaticBlocks,
    depth_edges,
    frame_cloud,
    moving_cloud,
    static_cloud,
)

MakeScene = Callable[..., Reconstruction]


def test_what_is_known_of_points_goes_with_them() -> None:
    n = 5
    cloud = Cloud(
        np.arange(3 * n, dtype=np.float32).reshape(n, 3),
        np.arange(3 * n, dtype=np.uint8).reshape(n, 3),
        np.array([1, 5, 3, 4, 2], np.float32),
        np.arange(n) % 2 == 0,
        np.arange(n, dtype=np.float32),
        np.arange(n, dtype=np.uint8),
    )
    for picked in (cloud.pick(np.array([1, 3])), most_confident(cloud, 2)):
        assert type(picked) is Cloud and len(picked) == 2
        for name, column in vars(cloud).items():
            assert (getattr(picked, name) == column[[1, 3]]).all(), name
    assert len(NOTHING.pick(np.zeros(0, bool))) == 0


def with_maps(scene: Reconstruction, **changed: np.ndarray) -> Reconstruction:
    """The scene with other maps at the source size; what is not given is plain."""
    n, (width, height) = len(scene), scene.size
    shape = (n, height, width)
    arrays = {
        "depth": np.full(shape, 2.0, np.float32),
        "confidence": np.full(shape, 3.0, np.float32),
        "moving": np.zeros(shape, bool),
        "images": np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8),
    }
    maps = ArrayMaps(**{**arrays, **changed}, source_size=scene.size)
    return dataclasses.replace(scene, maps=maps)


def test_points_are_the_pixels_lifted_one_by_one(make_scene: MakeScene) -> None:
    scene = with_maps(make_scene(2))
    cloud = frame_cloud(scene, 1, stride=1)
    expected = []
    for v in range(scene.size[1]):
        for u in range(scene.size[0]):
            ray = np.linalg.inv(scene.intrinsics[1]) @ [u, v, 1.0]
            expected.append((scene.world_from_cam[1] @ [*(2.0 * ray), 1.0])[:3])
    np.testing.assert_allclose(cloud.points, expected, atol=1e-5)
    np.testing.assert_array_equal(cloud.colours, scene.image(1).reshape(-1, 3))


def test_unknown_depth_and_depth_edges_give_no_points(make_scene: MakeScene) -> None:
    depth = np.full((1, 60, 80), 2.0, np.float32)
    depth[:, :, 40:] = 4.0
    depth[:, :10] = np.nan
    scene = with_maps(make_scene(1), depth=depth)
    cloud = frame_cloud(scene, 0, stride=1)
    assert len(cloud) == 50 * 78
    edges = depth_edges(depth[0])
    assert edges[20, 39] and edges[20, 40] and not edges[20, 38] and not edges[10, 10]


def test_the_static_cloud_is_static_confident_and_small(make_scene: MakeScene) -> None:
    moving = np.zeros((3, 60, 80), bool)
    moving[:, :, :20] = True
    images = np.zeros((3, 60, 80, 3), np.uint8)
    images[moving] = (255, 0, 0)
    confidence = np.full((3, 60, 80), 3.0, np.float32)
    confidence[:, 30:] = 1.2
    scene = with_maps(make_scene(3), moving=moving, images=images, confidence=confidence)
    cloud = static_cloud(scene, max_points=500, min_confidence=1.5)
    assert 50 < len(cloud) <= 500
    assert not cloud.colours.any()
    assert cloud.confidence.min() == 3.0


def test_moving_points_are_shown_whatever_their_confidence(make_scene: MakeScene) -> None:
    moving = np.zeros((2, 60, 80), bool)
    moving[1, 10:40, 10:40] = True
    scene = with_maps(make_scene(2), moving=moving, confidence=np.ones((2, 60, 80), np.float32))
    assert len(moving_cloud(scene, 0, max_points=100)) == 0
    cloud = moving_cloud(scene, 1, max_points=100)
    assert 50 <= len(cloud) <= 100
    assert cloud.moving.all()


def cloud_at(points: np.ndarray, confidence: Sequence[float] | None = None) -> Cloud:
    n = len(points)
    return Cloud(
        np.asarray(points, np.float32),
        np.zeros((n, 3), np.uint8),
        np.ones(n, np.float32) if confidence is None else np.array(confidence, np.float32),
        np.zeros(n, bool),
        np.ones(n, np.float32),
        np.ones(n, np.uint8),
    )


def test_a_voxel_keeps_its_most_confident_point() -> None:
    cloud = cloud_at(np.array([[0.1, 0, 0], [0.2, 0, 0], [5, 5, 5]]), confidence=[1, 9, 2])
    kept = thin(cloud, voxel=1.0, max_points=10)
    np.testing.assert_array_equal(kept.confidence, [9, 2])


def test_points_very_far_away_do_not_disturb_the_voxels() -> None:
    cloud = cloud_at(np.array([[0.1, 0, 0], [1.1, 0, 0], [0, 2e7, 0], [0, 0, -3e8]]))
    assert len(thin(cloud, voxel=1.0, max_points=10)) == 4


def test_one_depth_has_one_colour_in_every_frame(make_scene: MakeScene) -> None:
    depth = np.stack([np.linspace(1, 4 + i, 80 * 60).reshape(60, 80) for i in range(3)])
    depth[:, 5, 7] = 2.5
    depth[1, 0, 0] = np.nan
    scene = with_maps(make_scene(3), depth=depth.astype(np.float32))
    span = depth_range(scene)
    colours = [depth_picture(scene.depth(i), span)[5, 7] for i in range(3)]
    np.testing.assert_array_equal(colours[0], colours[1])
    np.testing.assert_array_equal(colours[0], colours[2])
    assert depth_picture(scene.depth(1), span)[0, 0].max() < 40, "unknown is dark"


def test_near_is_warm_and_far_is_cold(make_scene: MakeScene) -> None:
    depth = np.linspace(1, 5, 80 * 60, dtype=np.float32).reshape(1, 60, 80)
    scene = with_maps(make_scene(1), depth=depth)
    picture = depth_picture(depth[0], depth_range(scene)).astype(int)
    assert picture[0, 0, 0] > picture[0, 0, 2]
    assert picture[-1, -1, 2] > picture[-1, -1, 0]


def test_a_scene_without_depth_has_a_range_and_dark_pictures(make_scene: MakeScene) -> None:
    scene = with_maps(make_scene(1), depth=np.full((1, 60, 80), np.nan, np.float32))
    assert depth_picture(scene.depth(0), depth_range(scene)).max() < 40


def test_turbo_clips_and_is_defined_for_nan() -> None:
    colours = turbo(np.array([-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]))
    np.testing.assert_array_equal(colours[0], colours[1])
    np.testing.assert_array_equal(colours[3], colours[4])
    np.testing.assert_array_equal(colours[5], colours[0])


def test_spread_takes_both_ends() -> None:
    np.testing.assert_array_equal(spread(10, 3), [0, 4, 9])
    np.testing.assert_array_equal(spread(3, 10), [0, 1, 2])
    np.testing.assert_array_equal(spread(1, 5), [0])


def test_too_many_points_get_larger_voxels_not_a_lottery() -> None:
    u, v = np.meshgrid(np.arange(200) / 200, np.arange(200) / 200)
    plane = np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], -1)
    kept = thin(cloud_at(plane), voxel=1e-4, max_points=1000)
    assert 400 < len(kept) <= 1000
    every_tile = np.unique((kept.points[:, :2] * 10).astype(int) @ [1, 100], return_counts=True)[1]
    assert len(every_tile) == 100 and every_tile.max() <= 4 * every_tile.min()


def test_thinning_to_nothing_and_of_nothing_is_nothing() -> None:
    assert len(thin(cloud_at(np.ones((5, 3))), voxel=1.0, max_points=0)) == 0
    assert len(thin(NOTHING, voxel=1.0, max_points=10)) == 0
    assert len(evenly(NOTHING.points)) == 0


def test_every_beginning_is_spread_evenly() -> None:
    points = np.random.default_rng(0).uniform(size=(5000, 3)).astype(np.float32)
    order = evenly(points)
    assert sorted(order) == list(range(5000))
    tile = (points[order[:320]] * 2).astype(int) @ [1, 2, 4]
    counts = np.bincount(tile, minlength=8)
    assert counts.min() >= 0.8 * 40 and counts.max() <= 1.2 * 40


def test_blocks_together_show_the_scene_once(make_scene: MakeScene) -> None:
    scene = with_maps(make_scene(6))
    # The same camera six times: all that the others see has been seen.
    scene.world_from_cam[:] = scene.world_from_cam[0]
    blocks = StaticBlocks(scene, [[2], [0, 5], [1, 3, 4]], max_points=100_000)
    sizes = [len(blocks.block(k)) for k in range(3)]
    assert sizes[0] > 1000
    assert sizes[2] < 0.5 * sizes[0], "what was seen before comes again"


def test_the_last_block_has_its_place(make_scene: MakeScene) -> None:
    scene = with_maps(make_scene(4))
    scene.world_from_cam[:, 0, 3] = 100.0 * np.arange(4)
    blocks = StaticBlocks(scene, [[0], [1, 2], [3]], max_points=800)
    clouds = [blocks.block(k) for k in range(3)]
    assert sum(map(len, clouds)) <= 800 and min(map(len, clouds)) >= 50
    again = StaticBlocks(scene, [[0], [1, 2], [3]], max_points=800)
    np.testing.assert_array_equal(
        join(clouds).points, join([again.block(k) for k in range(3)]).points
    )
