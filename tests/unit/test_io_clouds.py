"""Clouds thinned by confidence and space: which points stay, how many, how they are read."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from small_world import project, small_world, with_maps

from align3r.io.clouds import (
    frame_stride,
    moving_cloud_of,
    static_cloud,
    static_cloud_of,
)
from align3r.io.thinning import Cloud, Thinner, evened
from align3r.reconstruction import Reconstruction


def rows(points: np.ndarray) -> set[bytes]:
    return {point.tobytes() for point in points.astype(np.float32)}


def test_unthinned_points_are_the_pixels_one_by_one() -> None:
    scene = small_world(2)
    cloud = static_cloud_of(scene, 1, stride=1, min_confidence=4)
    k, pose, expected, colours = scene.intrinsics[1], scene.world_from_cam[1], [], []
    for v in range(scene.size[1]):
        for u in range(scene.size[0]):
            z = scene.depth(1)[v, u]
            if np.isfinite(z) and scene.confidence(1)[v, u] >= 4 and not scene.moving(1)[v, u]:
                ray = np.linalg.inv(k) @ [u, v, 1]
                expected.append((pose @ [*(z * ray), 1])[:3])
                colours.append(scene.image(1)[v, u])
    np.testing.assert_allclose(cloud.points, expected, atol=1e-5)
    np.testing.assert_array_equal(cloud.colours, colours)


@pytest.mark.parametrize("stride", [2, 3, 7, 100])
def test_a_block_is_its_most_confident_pixel(stride: int) -> None:
    scene = small_world(1)
    cloud = static_cloud_of(scene, 0, stride=stride)
    u, v, _ = project(scene, 0, cloud.points)
    found = sorted(zip(np.rint(v).astype(int), np.rint(u).astype(int), strict=True))
    confidence = np.where(scene.moving(0), -1, scene.confidence(0))
    confidence[np.isnan(scene.depth(0))] = -1
    expected = []
    for top in range(0, scene.size[1], stride):
        for left in range(0, scene.size[0], stride):
            block = confidence[top : top + stride, left : left + stride]
            row, column = np.unravel_index(block.argmax(), block.shape)
            if block.max() > 0:
                expected.append((top + row, left + column))
    assert found == sorted(expected)


@pytest.mark.parametrize("max_points", [1, 5, 7, 200, 1000, 3000])
def test_the_cloud_is_as_full_as_it_may_be(max_points: int) -> None:
    cloud = static_cloud(small_world(6), max_points=max_points, min_confidence=1.5)
    assert len(cloud) == len(rows(cloud.points)) == max_points


def test_few_usable_pixels_are_all_found() -> None:
    """A coarse look at a scene that is nearly all unsure would miss most of what is sure."""
    scene = small_world(60)
    confidence = np.ones((60, *scene.size[::-1]), np.float32)
    confidence[:, 20:36, 30:50] = 5
    cloud = static_cloud(
        with_maps(scene, confidence=confidence, moving=confidence < 0),
        max_points=6000,
        min_confidence=1.5,
    )
    assert len(cloud) == len(rows(cloud.points)) == 6000


def line(points: int, start: float = 0.0) -> Cloud:
    at = np.zeros((points, 3), np.float32)
    at[:, 0] = start + np.arange(points)
    return Cloud(at, np.zeros((points, 3), np.uint8), np.linspace(1, 2, points, dtype=np.float32))


def test_a_thinner_holds_half_to_all_of_its_room_and_no_place_twice() -> None:
    thinner = Thinner(100, voxel=1e-3)
    for _ in range(5):
        thinner.add(line(60))
    assert len(thinner.result()) == 60
    for start in range(0, 3000, 60):
        thinner.add(line(60, start))
    kept = thinner.result()
    assert 50 <= len(kept) <= 100
    assert np.ptp(kept.points[:, 0]) > 2800


@pytest.mark.parametrize("voxel", [1e-6, 1.0, 1e6])
def test_evening_out_keeps_the_number_over_all_of_the_cloud(voxel: float) -> None:
    kept = evened(line(1000), 37, voxel=voxel)
    assert len(kept) == 37
    assert np.diff(kept.points[:, 0]).max() < 60
    assert len(evened(line(5), 37, voxel=voxel)) == 5
    assert len(evened(line(5), 0, voxel=voxel)) == 0


def test_thinning_draws_no_lots_and_evens_out_density() -> None:
    scene = small_world(6)
    cloud = static_cloud(scene, max_points=400, min_confidence=1.5)
    again = static_cloud(scene, max_points=400, min_confidence=1.5)
    assert cloud.points.tobytes() == again.points.tobytes()
    # All lie on the wall; cells of a tenth of its area each hold about a tenth of the points.
    np.testing.assert_allclose(cloud.points[:, 2], 4, atol=1e-4)
    everything, _ = scene.points(min_confidence=1.5, moving=False)
    middle = everything[np.abs(everything[:, 0]) < 1.0]
    assert len(middle) > 1000
    cells = Counter(
        map(tuple, np.floor(cloud.points[np.abs(cloud.points[:, 0]) < 1.0, :2] / 0.25).astype(int))
    )
    inner = [count for (x, y), count in cells.items() if -4 <= x < 4 and -4 <= y < 4]
    assert max(inner) <= 4 * np.median(inner)


def test_points_are_pixels_of_some_frame_and_the_best_seen_ones() -> None:
    scene = small_world(6)
    cloud = static_cloud(scene, max_points=300, min_confidence=1.5)
    everything, _ = scene.points(min_confidence=1.5, moving=False)
    nearest = [np.abs(everything - point).max(axis=1).min() for point in cloud.points]
    assert max(nearest) < 1e-5
    typical = np.median(np.concatenate([scene.confidence(i).ravel() for i in range(6)]))
    assert np.median(cloud.confidence) > typical


def test_moving_points_are_all_there_whatever_their_confidence() -> None:
    scene = small_world(3)
    cloud = moving_cloud_of(scene, 1, max_points=10**6)
    expected, _ = scene.points(min_confidence=0, moving=True, frames=[1])
    assert rows(cloud.points) == rows(expected)
    assert len(expected) > 100


@pytest.mark.parametrize("max_points", [0, 1, 2, 10, 33, 100])
def test_moving_points_are_thinned_to_their_number(max_points: int) -> None:
    scene = small_world(3)
    cloud = moving_cloud_of(scene, 1, max_points=max_points)
    assert 0.3 * max_points <= len(cloud) <= max_points


def test_what_a_mask_has_missed_does_not_hang_in_the_air() -> None:
    scene = small_world(9)
    nothing = np.zeros((9, *scene.size[::-1]), bool)
    sure = np.full(nothing.shape, 5, np.float32)
    # The tile is seen by the mask in all frames but two.
    moving = np.stack([scene.moving(i) for i in range(9)])
    moving[[2, 5]] = False
    missed = with_maps(scene, moving=moving, confidence=sure)
    cloud = static_cloud(missed, max_points=10**6, min_confidence=1.5)
    assert len(cloud) > 3000
    green = cloud.colours[:, 1] > 200
    assert green.mean() < 0.001
    _, colours = missed.points(moving=False)
    assert (colours[:, 1] > 200).sum() > 200, "there was something to drop"


def test_true_points_stay() -> None:
    """Exact depths condemn nobody: the wall is as complete with the judging as without."""
    scene = small_world(6)
    cloud = static_cloud(scene, max_points=10**6, min_confidence=0)
    seen = np.zeros(scene.size[::-1], bool)
    u, v, z = project(scene, 3, cloud.points)
    inside = (u > -0.5) & (v > -0.5) & (u < scene.size[0] - 0.5) & (v < scene.size[1] - 0.5)
    pixels = np.rint(v[inside]).astype(int), np.rint(u[inside]).astype(int)
    np.testing.assert_array_less(0, z)
    seen[pixels] = True
    wall = ~scene.moving(3)
    assert seen[wall].mean() > 0.6


def test_frames_are_read_one_after_the_other() -> None:
    scene = small_world(8)
    alive: list[int] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            def read(i: int) -> np.ndarray:
                alive.append(i)
                return np.asarray(getattr(scene.maps, name)(i))

            return read

    watched = Reconstruction(
        scene.world_from_cam,
        scene.intrinsics,
        scene.times,
        scene.frame_index,
        scene.size,
        Watched(),
    )
    static_cloud(watched, max_points=500, min_confidence=1.5)
    # Three passes: a look at the depths, the points, the judging; each in order.
    falls = sum(b < a for a, b in pairwise(alive))
    assert falls == 2


@pytest.mark.parametrize("max_points", [1, 5, 1000, 6912, 10**6])
def test_blocks_of_a_whole_frame(max_points: int) -> None:
    scene = small_world(1)
    stride = frame_stride(scene, max_points=max_points)
    width, height = scene.size
    assert -(-width // stride) * -(-height // stride) <= max_points
    if stride > 1:
        assert -(-width // (stride - 1)) * -(-height // (stride - 1)) > max_points


def test_an_empty_cloud_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = small_world(2)
    static_cloud(scene, max_points=50, min_confidence=1)
    static_cloud(scene, max_points=0, min_confidence=99)  # is what was asked for
    assert not caplog.records
    assert not len(static_cloud(scene, max_points=50, min_confidence=99))
    (record,) = caplog.records
    assert record.getMessage().startswith("no static point has a confidence of 99 or more")


def test_a_scene_without_depth_has_an_empty_cloud() -> None:
    scene = small_world(2)
    unknown = np.full((2, *scene.size[::-1]), np.nan, np.float32)
    cloud = static_cloud(with_maps(scene, depth=unknown), max_points=50, min_confidence=0)
    assert isinstance(cloud, Cloud) and len(cloud) == 0
    assert cloud.points.shape == (0, 3)
    assert cloud.colours.dtype == np.uint8
