"""Maps at the source size: enlarged without mixing surfaces; points of a scene."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align3r.io.maps import ArrayMaps, upsample_depth
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]


def upsample_slowly(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rule, one pixel at a time."""
    height, width = depth.shape
    out = np.empty(size[::-1], np.float32)
    for v, u in np.ndindex(out.shape):
        y = min(max((v + 0.5) * height / size[1] - 0.5, 0), height - 1)
        x = min(max((u + 0.5) * width / size[0] - 0.5, 0), width - 1)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
        four = np.array([depth[y0, x0], depth[y0, x1], depth[y1, x0], depth[y1, x1]])
        fy, fx = y - y0, x - x0
        if np.isfinite(four).all() and four.min() > 0 and four.max() <= 1.08 * four.min():
            weights = np.array([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx])
            out[v, u] = 1 / (weights / four).sum()
        else:
            out[v, u] = depth[y0 if fy < 0.5 else y1, x0 if fx < 0.5 else x1]
    return out


@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
)
def test_equals_the_slow_twin(seed: int, shape: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    depth = (rng.choice([1.0, 3.0], shape) + rng.uniform(0, 0.06, shape)).astype(np.float32)
    depth[rng.uniform(size=shape) < 0.1] = np.nan
    depth[rng.uniform(size=shape) < 0.05] = np.inf
    np.testing.assert_allclose(upsample_depth(depth, size), upsample_slowly(depth, size), rtol=2e-6)


def test_a_slanted_plane_stays_a_plane() -> None:
    """A plane has linear inverse depth; pixel centres move by the half-pixel rule."""
    small, large = (40, 30), (128, 96)

    def inverse_depth(size: tuple[int, int]) -> np.ndarray:
        u = (np.arange(size[0]) + 0.5) / size[0]
        v = (np.arange(size[1]) + 0.5) / size[1]
        return (0.3 + 0.1 * u + 0.2 * v[:, None]).astype(np.float32)

    found = 1 / upsample_depth(1 / inverse_depth(small), large)
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(found[inside], inverse_depth(large)[inside], atol=1e-6)


def test_no_depth_is_made_up_at_an_edge() -> None:
    depth = np.full((6, 8), 1.0, np.float32)
    depth[:, 4:] = 5.0
    depth[2, 2] = np.nan
    found = upsample_depth(depth, (37, 29))
    assert set(np.unique(found[~np.isnan(found)])) == {1.0, 5.0}
    assert np.isnan(found).any()


def test_array_maps_at_the_source_size(make_scene: MakeScene) -> None:
    scene = make_scene(2, size=(81, 61), working=(40, 32))
    for i in range(2):
        assert (scene.depth(i).shape, scene.depth(i).dtype) == ((61, 81), np.float32)
        assert (scene.confidence(i).shape, scene.confidence(i).dtype) == ((61, 81), np.float32)
        assert (scene.moving(i).shape, scene.moving(i).dtype) == ((61, 81), bool)
        assert scene.image(i).shape == (32, 40, 3)


def test_confidence_and_masks_have_opencv_pixel_centres() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (6, 1))[None]
    mask = ramp >= 4
    maps = ArrayMaps(
        depth=ramp + 1,
        confidence=ramp,
        moving=mask,
        images=np.zeros((1, 6, 8, 3), np.uint8),
        source_size=(32, 24),
    )
    u = ((np.arange(32) + 0.5) / 4 - 0.5).clip(0, 7)
    np.testing.assert_allclose(maps.confidence(0)[5], u, atol=1e-6)
    np.testing.assert_array_equal(maps.moving(0)[5], np.arange(32) >= 16)


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        ArrayMaps(
            depth=np.ones((2, 4, 4)),
            confidence=np.ones((2, 4, 4)),
            moving=np.ones((1, 4, 4), bool),
            images=np.ones((2, 4, 4, 3), np.uint8),
            source_size=(8, 8),
        )


def points_slowly(
    scene: Reconstruction, *, min_confidence: float, moving: bool | None, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    points, colours = [], []
    for i in range(len(scene)):
        depth, confidence, mask = scene.depth(i), scene.confidence(i), scene.moving(i)
        image, k, pose = scene.image(i), scene.intrinsics[i], scene.world_from_cam[i]
        for v in range(0, scene.size[1], stride):
            for u in range(0, scene.size[0], stride):
                if np.isnan(depth[v, u]) or confidence[v, u] < min_confidence:
                    continue
                if moving is not None and mask[v, u] != moving:
                    continue
                x = (u - k[0, 2]) / k[0, 0] * depth[v, u]
                y = (v - k[1, 2]) / k[1, 1] * depth[v, u]
                points.append((pose @ [x, y, depth[v, u], 1])[:3])
                row = round((v + 0.5) * image.shape[0] / scene.size[1] - 0.5 + 1e-9)
                column = round((u + 0.5) * image.shape[1] / scene.size[0] - 0.5 + 1e-9)
                colours.append(image[row, column])
    return np.array(points), np.array(colours)


@pytest.mark.parametrize("moving", [None, True, False])
@pytest.mark.parametrize("stride", [1, 3])
def test_points_equal_the_slow_twin(
    make_scene: MakeScene, moving: bool | None, stride: int
) -> None:
    scene = make_scene(2, size=(61, 47))
    points, colours = scene.points(min_confidence=3, moving=moving, stride=stride)
    slow_points, slow_colours = points_slowly(scene, min_confidence=3, moving=moving, stride=stride)
    assert points.dtype == np.float32
    assert colours.dtype == np.uint8
    np.testing.assert_allclose(points, slow_points, atol=1e-5)
    np.testing.assert_array_equal(colours, slow_colours)


def test_points_of_some_frames_and_of_none(make_scene: MakeScene) -> None:
    scene = make_scene(3)
    every = [scene.points(frames=[i])[0] for i in range(3)]
    np.testing.assert_array_equal(scene.points()[0], np.concatenate(every))
    np.testing.assert_array_equal(
        scene.points(frames=[2, 0])[0], np.concatenate([every[2], every[0]])
    )
    points, colours = scene.points(min_confidence=1e9)
    assert points.shape == colours.shape == (0, 3)


def test_points_project_back_onto_their_pixels(make_scene: MakeScene) -> None:
    scene = make_scene(2)
    points, _ = scene.points(min_confidence=0, frames=[1])
    cam_from_world = np.linalg.inv(scene.world_from_cam[1])
    in_cam = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    pixels = cv2.projectPoints(in_cam, np.zeros(3), np.zeros(3), scene.intrinsics[1], None)[0]
    rows, columns = np.nonzero(np.isfinite(scene.depth(1)))
    np.testing.assert_allclose(pixels[:, 0], np.stack([columns, rows], axis=1), atol=1e-3)
