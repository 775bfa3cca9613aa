"""Patches that are found again, points that meet their sightings, and tracks through a video."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from align3r.geometry.corners import find_corners
from align3r.geometry.followed import REACH, View
from align3r.geometry.patches import cut_patches, register
from align3r.geometry.tracks import Tracks, find_tracks
from align3r.geometry.triangulate import (
    Sightings,
    project,
    refine_points,
    reprojection_errors,
    unproject,
)

K = np.array([[100.0, 0, 79.5], [0, 110.0, 59.5], [0, 0, 1]])
DEPTH = 2.0


def texture(shape: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Noise of a few pixels' grain."""
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray(np.clip(127 + 45 * smooth / smooth.std(), 0, 255), np.uint8)


def pose(angles: tuple[float, float, float], position: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
    matrix[:3, 3] = position
    return matrix


@given(
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.floats(-9, 9)] * 3),
    st.lists(st.tuples(st.floats(-50, 200), st.floats(-50, 200), st.floats(0.1, 50)), min_size=1),
)
def test_what_is_unprojected_is_projected_back(
    angles: tuple[float, float, float],
    position: tuple[float, float, float],
    rows: list[tuple[float, float, float]],
) -> None:
    u, v, depth = np.array(rows).T
    world_from_cam = pose(angles, position)
    points = unproject(np.stack([u, v], 1), depth, K, world_from_cam)
    pixels, z = project(points, K, world_from_cam)
    np.testing.assert_allclose(pixels, np.stack([u, v], 1), atol=1e-6)
    np.testing.assert_allclose(z, depth, rtol=1e-9)
    each = np.repeat(world_from_cam[None], len(u), axis=0)
    many, _ = project(points, np.repeat(K[None], len(u), axis=0), each)
    np.testing.assert_allclose(many, pixels)


def test_patches_at_whole_pixels_are_slices() -> None:
    image = texture((40, 60))
    centres = np.array([[20, 15], [33, 22]])
    for patch, (u, v) in zip(cut_patches(image, centres, side=9), centres, strict=True):
        np.testing.assert_array_equal(patch, image[v - 4 : v + 5, u - 4 : u + 5])
    warped = cut_patches(image, centres, side=9, warps=np.array([[[0, 2], [1, 0]]] * 2))
    # A step to the right in the patch is one down in the image; one down is two to the right.
    np.testing.assert_array_equal(warped[0], image[11:20, 12:29:2].T)


def waves(centres: np.ndarray, side: int) -> np.ndarray:
    """(M, side, side) patches of a picture that is known at every point, around its points."""
    rng = np.random.default_rng(0)
    frequency, phase = rng.normal(0, 0.5, (2, 60)), rng.uniform(0, 2 * np.pi, 60)
    reach = np.arange(side) - side // 2
    u = (centres[:, 0, None, None] + reach)[..., None]
    v = (centres[:, 1, None, None] + reach[:, None])[..., None]
    values = 127 + 12 * np.cos(frequency[0] * u + frequency[1] * v + phase).sum(axis=-1)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 64, 150])
def test_patches_are_registered_to_a_few_hundredths_of_a_pixel(count: int) -> None:
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 300, (count, 2))
    shift = rng.uniform(-1.5, 1.5, (count, 2))
    found, good = register(waves(centres, 27), waves(centres - shift, 27))
    assert good.mean() > 0.95
    off = np.abs(found[good] - shift[good])
    assert np.median(off) < 0.02 and off.max() < 0.15


def test_other_patches_are_not_taken_for_the_same() -> None:
    centres = np.random.default_rng(2).uniform(30, (290, 210), (100, 2))
    one = cut_patches(texture((240, 320), seed=3), centres, side=27)
    two = cut_patches(texture((240, 320), seed=4), centres, side=27)
    assert register(one, two)[1].mean() < 0.05
    assert [len(part) for part in register(one[:0], two[:0])] == [0, 0]


def sightings_of(points: np.ndarray, poses: np.ndarray, *, noise: float) -> Sightings:
    rng = np.random.default_rng(5)
    rows = [(p, f) for p in range(len(points)) for f in range(len(poses)) if (p + f) % 3]
    point, frame = np.array(rows).T
    pixel, depth = project(points[point], K, poses[frame])
    pixel = pixel + rng.normal(0, noise, pixel.shape)
    return Sightings(
        point, frame, pixel, depth * (1 + rng.normal(0, 0.02 * (noise > 0), len(depth)))
    )


@pytest.fixture
def cameras() -> np.ndarray:
    rng = np.random.default_rng(6)
    return np.stack(
        [pose(tuple(rng.uniform(-0.1, 0.1, 3)), tuple(rng.uniform(-0.5, 0.5, 3))) for _ in range(6)]
    )


def test_points_meet_sightings_without_noise(cameras: np.ndarray) -> None:
    points = np.random.default_rng(7).uniform((-1, -1, 4), (1, 1, 8), (20, 3))
    seen = sightings_of(points, cameras, noise=0)
    k = np.repeat(K[None], 6, axis=0)
    moved = points + np.random.default_rng(8).normal(0, 0.1, points.shape)
    np.testing.assert_allclose(refine_points(moved, seen, k, cameras), points, atol=1e-6)
    assert reprojection_errors(points, seen, k, cameras).max() < 1e-9
    assert np.isinf(reprojection_errors(points - [0, 0, 99], seen, k, cameras)).all()


def test_refined_points_equal_those_of_a_general_solver(cameras: np.ndarray) -> None:
    points = np.random.default_rng(9).uniform((-1, -1, 4), (1, 1, 8), (6, 3))
    seen = sightings_of(points, cameras, noise=0.5)
    refined = refine_points(points, seen, np.repeat(K[None], 6, axis=0), cameras)
    for p in range(len(points)):
        mine = seen.chosen(seen.point == p)

        def miss(x: np.ndarray, mine: Sightings = mine) -> np.ndarray:
            pixel, z = project(np.tile(x, (len(mine), 1)), K, cameras[mine.frame])
            depth = (z - mine.depth) / (0.02 * mine.depth)
            return np.concatenate([(pixel - mine.pixel).ravel(), depth])

        best = least_squares(miss, points[p], xtol=1e-12, ftol=1e-12).x
        np.testing.assert_allclose(refined[p], best, atol=1e-5)


def test_points_that_nobody_sees_stay(cameras: np.ndarray) -> None:
    nothing = Sightings(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)), np.zeros(0))
    points = np.ones((3, 3))
    same = refine_points(points, nothing, np.zeros((0, 3, 3)), cameras)
    np.testing.assert_array_equal(same, points)


def wall(
    n: int = 6,
    *,
    hidden: slice | None = None,
    moving: slice | None = None,
    unknown: slice | None = None,
    turn: float = 0.0,
) -> Iterator[View]:
    """A camera that moves along a wall with a texture, 3 pixels a frame, and turns."""
    size = (160, 120)
    paper = cv2.resize(texture((300, 600)), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    for i in range(n):
        world_from_cam = pose((0, 0, turn * i), (3 * i * DEPTH / 100, 0, 0))
        v, u = np.mgrid[0 : size[1], 0 : size[0]]
        pixels = np.stack([u.ravel(), v.ravel()], 1)
        # Where rays meet the wall z = DEPTH; all cameras look along z.
        on_wall = unproject(pixels, np.full(len(pixels), DEPTH), K, world_from_cam)
        place = (on_wall[:, :2] * 100 + 200).reshape(size[1], size[0], 2).astype(np.float32)
        grey = cv2.remap(paper, place[..., 0] * 2, place[..., 1] * 2, cv2.INTER_LINEAR)
        depth = np.full(size[::-1], DEPTH, np.float32)
        static = np.ones(size[::-1], bool)
        if unknown is not None:
            depth[:, unknown] = np.nan
        if moving is not None:
            static[:, moving] = False
        if hidden is not None and i > 0:
            depth[:, hidden] = 0.925 * DEPTH
        yield View(np.repeat(grey[..., None], 3, axis=2), depth, static, static, K, world_from_cam)


def assert_exact(tracks: Tracks, *, median: float = 0.05) -> None:
    """Points lie on the wall, sightings where they are seen, in order, two or more a point."""
    assert np.abs(tracks.points[:, 2] - DEPTH).max() < 0.03 * DEPTH
    assert np.median(tracks.errors) < median
    assert (np.bincount(tracks.seen.point, minlength=len(tracks.points)) >= 2).all()
    order = np.lexsort([tracks.seen.frame, tracks.seen.point])
    np.testing.assert_array_equal(order, np.arange(len(order)))
    pairs = np.stack([tracks.seen.point, tracks.seen.frame], 1)
    assert len(np.unique(pairs, axis=0)) == len(pairs), "a frame sees a point once"


def test_tracks_of_a_wall() -> None:
    tracks = find_tracks(wall(), per_view=100)
    assert_exact(tracks)
    assert np.bincount(tracks.seen.frame, minlength=6).min() > 40
    lengths = np.bincount(tracks.seen.point)
    assert np.median(lengths) >= 5
    assert tracks.colours.shape == tracks.points.shape and tracks.colours.dtype == np.uint8


def test_tracks_of_a_camera_that_rolls() -> None:
    """Patches are turned as the cameras say: 6 frames make 60 degrees."""
    tracks = find_tracks(wall(turn=0.21), per_view=100)
    assert_exact(tracks, median=0.1)
    assert (np.bincount(tracks.seen.point) == 6).sum() > 10


def test_long_tracks_change_their_image() -> None:
    tracks = find_tracks(wall(REACH + 8), per_view=60)
    assert_exact(tracks)
    assert np.bincount(tracks.seen.point).max() > REACH + 2


def test_what_moves_is_hidden_or_unknown_is_no_sighting() -> None:
    tracks = find_tracks(wall(moving=slice(0, 60)), per_view=100)
    assert_exact(tracks)
    assert tracks.seen.pixel[:, 0].min() > 59
    # After the first frame something hides the wall on the left, with the very same pattern.
    seen = find_tracks(wall(hidden=slice(0, 60)), per_view=100).seen
    of_the_wall = np.isin(seen.point, seen.point[seen.frame == 0])
    assert of_the_wall.sum() > 50
    assert seen.pixel[of_the_wall & (seen.frame > 0)][:, 0].min() > 58.5
    tracks = find_tracks(wall(unknown=slice(0, 60)), per_view=100)
    assert_exact(tracks)
    assert tracks.seen.pixel[:, 0].min() > 58.5


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_frames(n: int) -> None:
    tracks = find_tracks(wall(n), per_view=50)
    assert (len(tracks.points) > 20) == (n == 2)
    assert len(tracks.colours) == len(tracks.errors) == len(tracks.points)


def test_no_tracks_are_asked_for_but_every_frame_is_taken() -> None:
    views = wall(3)
    assert len(find_tracks(views, per_view=0).points) == 0
    assert next(views, None) is None


def test_corners_keep_their_distance() -> None:
    view = next(wall(1))
    taken = np.array([[80.0, 60.0]])
    corners = find_corners(view.grey, view.depth, allowed=view.static, taken=taken, radius=12.0)
    every = np.concatenate([taken, corners])
    apart = np.linalg.norm(every[:, None] - every[None], axis=2) + 1e9 * np.eye(len(every))
    assert len(corners) > 20 and apart.min() > 11
    blank = np.zeros_like(view.grey)
    nothing = find_corners(blank, view.depth, allowed=view.static, taken=taken, radius=9)
    assert nothing.shape == (0, 2)
    step = view.depth.copy()
    step[:, 80:] = 3
    beside = find_corners(view.grey, step, allowed=view.static, taken=taken[:0], radius=3)
    assert np.abs(beside[:, 0] - 79.5).min() > 3, "none on the edge between two surfaces"
