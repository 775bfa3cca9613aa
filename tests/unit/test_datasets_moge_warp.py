"""The view that looks at the middle of a photograph: against its obvious twin, and by its laws."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.datasets.centred_view import centred_view
from align3r.datasets.depth_sample import DepthSample
from align3r.errors import InputError
from align3r.geometry.cameras import resize_intrinsics

NORMAL, DISTANCE = np.array([0.2, -0.3, 1.0]), 4.0
"""A plane: NORMAL . point = DISTANCE."""
CAMERAS = {
    "centred": [[60.0, 0, 39.5], [0, 60, 29.5], [0, 0, 1]],
    "off the middle": [[70.0, 0, 20], [0, 65, 45], [0, 0, 1]],
    "outside of the image": [[90.0, 0, -30], [0, 90, 70], [0, 0, 1]],
    "wide and skewed": [[25.0, 2, 47], [0, 35, 25], [0, 0, 1]],
}
SIZES = [(64, 48), (80, 60), (40, 50), (120, 30), (33, 70)]
BOTH = list(product(CAMERAS, SIZES))


def rays(k: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) with z = 1."""
    v, u = np.mgrid[: size[1], : size[0]]
    return np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(k).T


def sample_of(name: str, enlarged: int = 1) -> DepthSample:
    """A plane with a smooth picture on it; every pixel is a segment of its own."""
    size = (80 * enlarged, 60 * enlarged)
    matrix = resize_intrinsics(np.array(CAMERAS[name]), (80, 60), size)
    depth = DISTANCE / (rays(matrix, size) @ NORMAL)
    v, u = np.mgrid[: size[1], : size[0]]
    picture = np.stack([2 * u, 3 * v, u + v], axis=-1).astype(np.uint8)
    return DepthSample(
        "plane",
        picture,
        depth.astype(np.float32),
        matrix,
        (v * size[0] + u).astype(np.int32),
        {"plane": 1},
    )


def turn_of(sample: DepthSample) -> Rotation:
    """The smallest rotation that puts the middle of the image on the z axis."""
    width, height = sample.size
    middle = np.linalg.inv(sample.intrinsics) @ [(width - 1) / 2, (height - 1) / 2, 1]
    axis = np.cross(middle, [0, 0, 1.0])
    angle = np.arctan2(np.linalg.norm(axis), middle[2])
    return Rotation.from_rotvec(angle * axis / max(np.linalg.norm(axis), 1e-300))


def seen_at(sample: DepthSample, ray: np.ndarray) -> np.ndarray:
    """Pixel of the photograph that a ray of the new camera falls on."""
    pixel = sample.intrinsics @ turn_of(sample).inv().apply(ray)
    return np.asarray(pixel[:2] / pixel[2])


def fits(sample: DepthSample, focal: float, size: tuple[int, int]) -> bool:
    """Whether all that the new camera sees is in the photograph."""
    width, height = sample.size
    for x, y in product((-size[0] / 2, size[0] / 2), (-size[1] / 2, size[1] / 2)):
        ray = np.array([x / focal, y / focal, 1.0])
        if turn_of(sample).inv().apply(ray)[2] <= 0:
            return False
        u, v = seen_at(sample, ray)
        if not (-0.5 <= u <= width - 0.5 and -0.5 <= v <= height - 0.5):
            return False
    return True


def twin_focal(sample: DepthSample, size: tuple[int, int]) -> float:
    """The shortest focal length that fits, by halving."""
    narrow, wide = 1e5, 1e-3
    assert fits(sample, narrow, size) and not fits(sample, wide, size)
    for _ in range(80):
        middle = (narrow + wide) / 2
        narrow, wide = (middle, wide) if fits(sample, middle, size) else (narrow, middle)
    return narrow


def twin_depth(sample: DepthSample, focal: float, size: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: the nearest pixel's plane of constant z, met by the new ray."""
    depth = np.empty((size[1], size[0]))
    for v, u in product(range(size[1]), range(size[0])):
        ray = np.array([(u - (size[0] - 1) / 2) / focal, (v - (size[1] - 1) / 2) / focal, 1.0])
        column, row = np.rint(seen_at(sample, ray)).astype(int)
        # The point on the old ray through this place, as far as the photograph says.
        z = sample.depth[row, column]
        old = turn_of(sample).inv().apply(ray)
        depth[v, u] = turn_of(sample).apply(old / old[2] * z)[2]
    return depth


@pytest.mark.parametrize(("name", "size"), BOTH)
def test_field_of_view_is_the_largest_that_fits(name: str, size: tuple[int, int]) -> None:
    sample = sample_of(name)
    got = centred_view(sample, size).intrinsics
    assert got[0, 0] == pytest.approx(twin_focal(sample, size), rel=1e-9)
    want = [[got[0, 0], 0, (size[0] - 1) / 2], [0, got[0, 0], (size[1] - 1) / 2], [0, 0, 1]]
    np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("name", CAMERAS)
def test_depth_equals_the_obvious_loop(name: str) -> None:
    sample = sample_of(name)
    got = centred_view(sample, (21, 16))
    want = twin_depth(sample, float(got.intrinsics[0, 0]), (21, 16))
    np.testing.assert_allclose(got.depth, want, rtol=1e-5)


@pytest.mark.parametrize(("name", "size"), BOTH)
def test_a_plane_stays_that_plane(name: str, size: tuple[int, int]) -> None:
    sample = sample_of(name, enlarged=5)
    got = centred_view(sample, size)
    normal = turn_of(sample).apply(NORMAL)
    want = DISTANCE / (rays(got.intrinsics, size) @ normal)
    # The nearest pixel is up to half a pixel of the photograph away.
    np.testing.assert_allclose(got.depth, want, rtol=0.02)
    assert np.abs(got.depth / want - 1).mean() < 0.003


@pytest.mark.parametrize(("name", "size"), BOTH)
def test_image_segments_and_depth_are_of_one_place(name: str, size: tuple[int, int]) -> None:
    sample = sample_of(name)
    got = centred_view(sample, size)
    assert got.segmentation is not None and got.segmentation.shape == got.depth.shape
    assert got.image.shape == (size[1], size[0], 3) and got.size == size
    row, column = np.divmod(got.segmentation, sample.size[0])
    inner = (row > 1) & (column > 1) & (row < 58) & (column < 78)
    # Neighbouring pixels differ by 2 and 3 levels.
    assert np.abs(got.image[..., 0].astype(int) - 2 * column)[inner].max() <= 3
    assert np.abs(got.image[..., 1].astype(int) - 3 * row)[inner].max() <= 4


def test_a_view_that_is_centred_already_stays_as_it_is() -> None:
    sample = sample_of("centred")
    got = centred_view(sample, sample.size)
    np.testing.assert_array_equal(got.image, sample.image)
    np.testing.assert_array_equal(got.depth, sample.depth)
    np.testing.assert_array_equal(got.segmentation, sample.segmentation)
    np.testing.assert_allclose(got.intrinsics, sample.intrinsics, rtol=1e-12)
    assert got.labels == sample.labels and got.name == sample.name


def test_half_the_size_averages_colours_and_no_depth() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    sample = replace(sample_of("centred"), image=noise)
    got = centred_view(sample, (40, 30))
    want = noise.reshape(30, 2, 40, 2, 3).mean(axis=(1, 3))
    assert np.abs(got.image - want).max() <= 1
    assert set(got.depth.ravel()) <= set(sample.depth.ravel())


def test_unknown_and_infinite_depth_stay_so() -> None:
    sample = sample_of("off the middle")
    depth = sample.depth.copy()
    depth[:20], depth[40:] = np.inf, np.nan
    got = centred_view(replace(sample, depth=depth), (80, 60))
    assert got.segmentation is not None
    row = got.segmentation // 80
    np.testing.assert_array_equal(np.isposinf(got.depth), row < 20)
    np.testing.assert_array_equal(np.isnan(got.depth), row >= 40)
    nothing = np.full_like(depth, np.nan)
    assert np.isnan(centred_view(replace(sample, depth=nothing), (8, 6)).depth).all()


def test_depth_beyond_a_thousand_times_the_nearest_is_a_mistake() -> None:
    sample = sample_of("centred")
    depth = np.ones((60, 80), np.float32)
    depth[0, :3] = [999, 1001, np.inf]
    got = centred_view(replace(sample, depth=depth), (80, 60)).depth
    assert got[0, 0] == 999 and np.isnan(got[0, 1]) and np.isposinf(got[0, 2])
    assert (got[1:] == 1).all()


@pytest.mark.parametrize(
    ("change", "size", "words"),
    [
        ({}, (0, 10), "80x60 pixels to 0x10"),
        ({}, (40000, 10), "to 40000x10"),
        ({"intrinsics": np.diag([1e-300, 1e-300, 1.0])}, (8, 6), "no field of view"),
        ({"intrinsics": np.diag([1e300, 1e300, 1.0])}, (8, 6), "no field of view"),
        (
            {"intrinsics": np.array([[0.1, 0, 60], [0, 0.1, 29], [0, 0, 1]])},
            (8, 6),
            "no field of view",
        ),
    ],
)
def test_views_that_cannot_be_are_refused(
    change: dict[str, np.ndarray], size: tuple[int, int], words: str
) -> None:
    sample = replace(sample_of("centred"), **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        centred_view(sample, size)
