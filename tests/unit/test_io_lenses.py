"""Lenses: against OpenCV's own maps, and against what a pinhole may show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align3r.errors import InputError
from align3r.io.lenses import (
    Undistorter,
    check_lens,
    distorted_pixels,
    is_distorted,
    linear_part,
    pinhole,
    resized,
    zoom,
)
from align3r.types import LensCamera

W, H = 160, 120
LENSES = {
    "SIMPLE_RADIAL": (120.0, 80.0, 60.0, -0.2),
    "RADIAL": (120.0, 80.0, 60.0, 0.1, 0.02),
    "OPENCV": (120.0, 118.0, 83.0, 58.0, -0.25, 0.08, 0.001, -0.001),
    "OPENCV_FISHEYE": (75.0, 75.0, 80.0, 60.0, 0.01, -0.002, 0.0, 0.0),
    "FULL_OPENCV": (120.0, 120.0, 80.0, 60.0, -0.2, 0.05, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0),
    "FOV": (100.0, 100.0, 80.0, 60.0, 0.9),
    "SIMPLE_RADIAL_FISHEYE": (80.0, 80.0, 60.0, 0.02),
    "SIMPLE_DIVISION": (120.0, 80.0, 60.0, -0.1),
    "EUCM": (100.0, 100.0, 80.0, 60.0, 0.6, 1.0),
}


def lens(model: str) -> LensCamera:
    return LensCamera(model, (W, H), LENSES[model])


def all_pixels() -> np.ndarray:
    rows, columns = np.mgrid[0:H, 0:W]
    return np.stack([columns.ravel(), rows.ravel()], 1).astype(float)


@pytest.mark.parametrize("model", LENSES)
def test_the_pinhole_shows_what_the_camera_saw_and_hardly_less(model: str) -> None:
    camera = lens(model)
    seen = distorted_pixels(camera, all_pixels())
    assert (seen > -1).all() and (seen < [W, H]).all()
    assert is_distorted(camera)
    # At some border, the pinhole goes as far as the camera does.
    reach = [seen[:, 0].min(), seen[:, 1].min(), W - 1 - seen[:, 0].max(), H - 1 - seen[:, 1].max()]
    assert min(reach) < 1


def opencv_maps(camera: LensCamera) -> tuple[np.ndarray, np.ndarray]:
    fx, fy, cx, cy, *bent = camera.params
    k = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    new = pinhole(camera)
    if "FISHEYE" in camera.model:
        maps = cv2.fisheye.initUndistortRectifyMap(
            k, np.array(bent), np.eye(3), new, (W, H), cv2.CV_32FC1
        )
    else:
        maps = cv2.initUndistortRectifyMap(k, np.array(bent), None, new, (W, H), cv2.CV_32FC1)
    return maps[0], maps[1]


@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"])
def test_opencv_maps_the_same_pixels(model: str) -> None:
    u, v = opencv_maps(lens(model))
    seen = distorted_pixels(lens(model), all_pixels())
    np.testing.assert_allclose(seen, np.stack([u.ravel(), v.ravel()], 1), atol=1e-4)


def test_an_image_is_taken_as_opencv_takes_it() -> None:
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8), (W, H))
    u, v = opencv_maps(lens("OPENCV"))
    want = cv2.remap(image, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    have = Undistorter().apply(image, lens("OPENCV"))
    assert np.abs(have.astype(int) - want).max() <= 1


def test_principal_point_and_aspect_stay() -> None:
    k, before = pinhole(lens("OPENCV")), linear_part(lens("OPENCV"))
    np.testing.assert_allclose(k[:2, 2], [82.5, 57.5])
    assert k[0, 0] / k[1, 1] == pytest.approx(before[0, 0] / before[1, 1])


@given(factor=st.integers(1, 6))
@settings(max_examples=6)
def test_a_smaller_image_of_the_camera_is_bent_alike(factor: int) -> None:
    large = resized(lens("OPENCV"), (W * factor, H * factor))
    assert zoom(large) == pytest.approx(zoom(lens("OPENCV")), rel=0.02)
    assert linear_part(large)[0, 0] == pytest.approx(factor * 120)
    assert linear_part(large)[0, 2] == pytest.approx(factor * 83 - 0.5)


def test_maps_of_any_resolution_go_through_the_same_lens() -> None:
    depth = np.ones((H // 2, W // 2), np.float32)
    depth[:, W // 4 :] = 9
    found = Undistorter().apply(depth, lens("OPENCV"), nearest=True)
    assert found.shape == depth.shape and set(np.unique(found)) == {1.0, 9.0}


def test_a_pinhole_is_left_alone() -> None:
    camera = LensCamera("PINHOLE", (W, H), (120.0, 121.0, 70.0, 60.0))
    image = np.random.default_rng(0).integers(0, 255, (H, W, 3), np.uint8)
    assert not is_distorted(camera) and zoom(camera) == 1
    assert Undistorter().apply(image, camera) is image
    straight = LensCamera("OPENCV", (W, H), (120.0, 120.0, 80.0, 60.0, 0.0, 0.0, 0.0, 0.0))
    assert not is_distorted(straight)


def test_a_fisheye_that_sees_behind_itself_is_cut_off() -> None:
    camera = LensCamera("OPENCV_FISHEYE", (W, H), (40.0, 40.0, 80.0, 60.0, 0.0, 0.0, 0.0, 0.0))
    k = pinhole(camera)
    assert np.degrees(2 * np.arctan(W / 2 / k[0, 0])) == pytest.approx(120, abs=0.2)


def test_the_maps_of_few_cameras_are_kept() -> None:
    undistorter, image = Undistorter(), np.zeros((H, W), np.uint8)
    for k in range(5):
        undistorter.apply(image, LensCamera("SIMPLE_RADIAL", (W, H), (120.0 + k, 80.0, 60.0, -0.1)))
    assert len(undistorter._maps) == 2


def test_a_lens_that_folds_the_image_is_refused() -> None:
    camera = LensCamera("SIMPLE_RADIAL", (W, H), (3.0, 80.0, 60.0, -2.0))
    with pytest.raises(InputError, match="folds its image over"):
        pinhole(camera)


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (LensCamera("PINHOLES", (W, H), (1.0,)), "the model 'PINHOLES'"),
        (LensCamera("EQUIRECTANGULAR", (W, H), (160.0, 120.0)), "none that can be undistorted"),
        (LensCamera("OPENCV", (W, H), (1.0, 2.0)), "2 parameters .* which has 8"),
        (LensCamera("PINHOLE", (W, H), (1.0, np.nan, 2.0, 3.0)), "not finite"),
        (LensCamera("PINHOLE", (W, H), (100.0, -1.0, 2.0, 3.0)), "focal length of -1"),
        (LensCamera("PINHOLE", (0, H), (100.0, 1.0, 2.0, 3.0)), "images of 0x120"),
    ],
)
def test_what_is_no_camera(camera: LensCamera, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_lens(camera, origin="cam.json")
    assert caught.value.hint
