"""Crops against what a camera of the cropped intrinsics would really see."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from align3r.datasets.rendered.film import Film, Order
from align3r.errors import InputError
from align3r.io.fitting import NetworkPlan
from align3r.mono.point_map import fit_point_map, point_map
from align3r.train.data.augmentation import jitter_colours
from align3r.train.data.crops import (
    NOTHING_RANDOM,
    CropSettings,
    check_croppable,
    crop,
    overlapping_crops,
)
from align3r.train.data.values import SourceView, View

SOURCE = (192, 108)
RANDOM = CropSettings(offset=16, zoom=1.5, jitter=(0, 0, 0, 0))
SIZES = [(64, 48), (112, 112), (48, 80), (208, 64)]


@pytest.fixture(scope="module")
def film() -> Film:
    return Film(Order("living_room", 0, SOURCE, 4).filled())


@pytest.fixture(scope="module")
def views(film: Film) -> list[SourceView]:
    """Two frames, the principal point off the centre by cutting pixels off."""
    found = []
    for i in (0, 3):
        k = film.k.copy()
        k[:2, 2] -= (14, 6)
        depth = film.depth(film.seen(i))[6:, 14:]
        image = film.image(i)[6:, 14:]
        found.append(SourceView(f"f{i}", image, depth, k, film.shot(i).world_from_cam))
    return found


def ramps(width: int, height: int) -> SourceView:
    """Depth and label say which column and row a pixel is; the image says the column."""
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    image = np.repeat(u[..., None], 3, -1).astype(np.uint8)
    k = np.array([[100.0, 0, 0.45 * width], [0, 90.0, 0.6 * height], [0, 0, 1]])
    return SourceView("ramps", image, u + 1, k, np.eye(4), label=v + 1)


def source_pixels(view: View, k: np.ndarray) -> np.ndarray:
    """(h, w, 2) where in the source the rays of a view's pixels are, by the intrinsics alone."""
    height, width = view.depth.shape
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(view.intrinsics).T
    return (rays @ k.T)[..., :2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", [NOTHING_RANDOM, RANDOM])
def test_intrinsics_say_where_each_pixel_comes_from(
    size: tuple[int, int], settings: CropSettings
) -> None:
    view = ramps(240, 180)
    assert view.intrinsics is not None
    means: list[float] = []
    for seed in range(20):
        cut = crop(view, size, np.random.default_rng(seed), settings)
        assert cut.image.shape == (size[1], size[0], 3)
        at = source_pixels(cut, view.intrinsics)
        assert at.min() >= -0.5 and (at.max((0, 1)) <= np.array([240, 180]) - 0.5).all()
        assert np.abs(cut.depth - 1 - at[..., 0]).max() <= 0.5 + 1e-6
        assert np.abs(cut.label - 1 - at[..., 1]).max() <= 0.5 + 1e-6
        inner = np.s_[4:-4, 4:-4]  # filters see less at the borders
        off = (cut.image[..., 0] - at[..., 0])[inner]
        assert np.abs(off).max() < 0.6  # levels are whole numbers
        means.append(off.mean())
        assert cut.intrinsics[0, 0] / cut.intrinsics[1, 1] == pytest.approx(100 / 90)
    assert abs(np.mean(means)) < 0.05


def test_without_chance_the_principal_point_is_the_centre_and_the_most_is_seen() -> None:
    view = ramps(240, 180)
    for size in SIZES:
        cut = crop(view, size, np.random.default_rng(0), NOTHING_RANDOM)
        np.testing.assert_allclose(cut.intrinsics[:2, 2], (np.array(size) - 1) / 2, atol=1e-9)
        at = source_pixels(cut, view.intrinsics)
        step = view.intrinsics[0, 0] / cut.intrinsics[0, 0]
        assert view.intrinsics is not None
        # Of the larger sides of the image, one is cut to the border nearest to the centre.
        reach = np.minimum(view.intrinsics[:2, 2] + 0.5, [240, 180] - view.intrinsics[:2, 2] - 0.5)
        seen = np.array(size) * step / (2 * reach)
        assert seen.max() == pytest.approx(1) and at.shape == (size[1], size[0], 2)


def test_a_crop_of_whole_pixels_is_the_pixels() -> None:
    view = replace(ramps(96, 64), intrinsics=None)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    cut = crop(replace(view, image=noise), (48, 64), np.random.default_rng(0), NOTHING_RANDOM)
    np.testing.assert_array_equal(cut.image, noise[:, 24:72])
    assert view.depth is not None
    np.testing.assert_array_equal(cut.depth, view.depth[:, 24:72])
    assert np.isnan(cut.intrinsics).all()


@pytest.mark.parametrize("size", [(96, 64), (64, 80)])
def test_a_crop_is_what_its_camera_sees(
    film: Film, views: list[SourceView], size: tuple[int, int]
) -> None:
    cut = crop(views[0], size, np.random.default_rng(5), RANDOM)
    real = Film(Order("living_room", 0, size, 4).filled())
    real.k = cut.intrinsics
    depth, image = real.depth(real.seen(0)), real.image(0)
    off = np.abs(cut.depth / depth - 1)
    # The nearest pixel is up to half a source pixel away: edges differ, surfaces do not.
    assert np.median(off) < 0.003 and (off < 0.03).mean() > 0.95
    for shift in (-1, 1):  # half of it would be noticed
        assert np.median(np.abs(np.roll(cut.depth, shift, 1) / depth - 1)) > 2 * np.median(off)
    got, want = cut.image.astype(float), image.astype(float)
    for axis in (0, 1):
        for shift in (-1, 1):
            moved = np.abs(np.roll(got, shift, axis) - want).mean()
            assert np.abs(got - want).mean() < 0.6 * moved


def test_points_of_one_view_are_those_of_the_other(views: list[SourceView]) -> None:
    rng = np.random.default_rng(1)
    a, b = (crop(view, (96, 64), rng, RANDOM) for view in views)
    v, u = np.nonzero(np.isfinite(a.depth))
    camera = np.linalg.inv(a.intrinsics) @ np.stack([u, v, np.ones_like(u)]) * a.depth[v, u]
    world = a.world_from_cam[:3, :3] @ camera + a.world_from_cam[:3, 3:]
    there = np.linalg.inv(b.world_from_cam)
    seen = b.intrinsics @ (there[:3, :3] @ world + there[:3, 3:])
    x, y = np.rint(seen[:2] / seen[2]).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < 96) & (y < 64) & (seen[2] > 0)
    assert inside.mean() > 0.3
    off = np.abs(b.depth[y[inside], x[inside]] / seen[2][inside] - 1)
    assert np.median(off) < 0.01 and (off < 0.05).mean() > 0.8


def test_overlapping_crops_overlap_and_know_where_they_are() -> None:
    view = ramps(240, 180)
    assert view.intrinsics is not None
    for seed in range(10):
        parts = overlapping_crops(
            view, (48, 32), np.random.default_rng(seed), NOTHING_RANDOM, count=4
        )
        boxes = []
        for part in parts:
            at = source_pixels(part, view.intrinsics)
            assert np.abs(part.depth - 1 - at[..., 0]).max() <= 0.5 + 1e-6
            boxes.append((at.min((0, 1)), at.max((0, 1))))
        for low, high in boxes:
            for other_low, other_high in boxes:
                assert (np.maximum(low, other_low) < np.minimum(high, other_high)).all()
        assert len({tuple(low) for low, _ in boxes}) == 4


def test_the_point_map_is_that_of_the_whole_image_cropped() -> None:
    rng = np.random.default_rng(0)
    values = cv2.GaussianBlur(rng.uniform(1, 5, (64, 96)).astype(np.float32), (0, 0), 3)
    view = replace(ramps(96, 64), intrinsics=None, prior=values)
    cut = crop(view, (36, 48), rng, NOTHING_RANDOM)  # 48x64 source pixels, at 3/4 of their size
    want = fit_point_map(point_map(values)[:, 24:72], NetworkPlan((36, 48), (36, 48)))
    assert cut.point_map is not None
    # The window may lie between pixels, so the filter's weights are rounded to 1/32 of a pixel.
    np.testing.assert_allclose(cut.point_map, want, atol=0.02)
    assert np.abs(cut.point_map - want).mean() < 2e-3


def test_a_crop_comes_from_its_seed_alone(views: list[SourceView]) -> None:
    settings = CropSettings(zoom=1.2)
    first, again, other = (
        crop(views[0], (64, 48), np.random.default_rng(seed), settings) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.intrinsics, again.intrinsics)
    assert (first.image != other.image).any() and (first.intrinsics != other.intrinsics).any()


def test_chance_stays_within_its_bounds() -> None:
    view = ramps(240, 180)
    assert view.intrinsics is not None
    settings = CropSettings(offset=8, zoom=1.25)
    plain = crop(view, (64, 48), np.random.default_rng(0), NOTHING_RANDOM).intrinsics
    found = [
        crop(view, (64, 48), np.random.default_rng(seed), settings).intrinsics
        for seed in range(200)
    ]
    larger = np.array([k[0, 0] for k in found]) / plain[0, 0]
    moved = np.abs([k[:2, 2] - plain[:2, 2] for k in found]) / larger[:, None]
    assert larger.min() >= 1 and larger.max() <= 1.25 * (48 + 8) / 48 + 1e-9
    assert larger.max() > 1.3 and moved.max() <= 4.0 * 1.25 and moved.max() > 3


def test_a_principal_point_at_the_border_is_refused_in_words(views: list[SourceView]) -> None:
    for view in views:
        check_croppable(view)
    for column in (-3.0, 20.0, 170.0, np.inf):
        k = np.array([[100.0, 0, column], [0, 100.0, 50.0], [0, 0, 1]])
        with pytest.raises(InputError, match="principal point"):
            check_croppable(replace(views[0], intrinsics=k))


def test_what_is_unknown_is_nan() -> None:
    bare = SourceView("photo", np.zeros((40, 30, 3), np.uint8), None, None, None)
    cut = crop(bare, (32, 16), np.random.default_rng(0), CropSettings())
    for values in (cut.depth, cut.label, cut.intrinsics, cut.world_from_cam):
        assert np.isnan(values).all()
    assert cut.point_map is None and cut.depth.shape == (16, 32)


def test_colours_change_as_they_are_told(views: list[SourceView]) -> None:
    image = views[0].image
    off = jitter_colours(image, np.random.default_rng(0), (0, 0, 0, 0))
    assert off is image
    grey = np.repeat(image[..., :1], 3, -1)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        brightness = rng.uniform(-1, 1, 4)[0] * 0.5
        got = jitter_colours(image, np.random.default_rng(seed), (0.5, 0, 0, 0))
        want = np.clip(np.rint(image * (1 + brightness)), 0, 255)
        assert np.abs(got - want).max() <= 1
        # Hue and saturation leave grey alone; contrast leaves the mean brightness.
        still = jitter_colours(grey, np.random.default_rng(seed), (0, 0, 0.5, 0.1))
        assert np.abs(still.astype(int) - grey).max() <= 1
        harder = jitter_colours(grey, np.random.default_rng(seed), (0, 0.3, 0, 0))
        assert harder.mean() == pytest.approx(grey.mean(), abs=2)
        turned = jitter_colours(image, np.random.default_rng(seed), (0, 0, 0, 0.1))
        assert np.abs(turned.max(-1).astype(int) - image.max(-1)).max() <= 1
