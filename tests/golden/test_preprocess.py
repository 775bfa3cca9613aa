"""Images as the pair networks are fed, against the reference's own numbers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from align3r.io.fitting import NetworkPlan, centre_square_plan, fit_image, network_plan

GOLDEN = np.load(Path(__file__).parent / "networks" / "preprocess.npz")
SOURCES = [
    (640, 480),
    (480, 640),
    (1920, 1080),
    (854, 480),
    (500, 500),
    (333, 777),
    (4000, 3000),
    (1024, 436),
    (300, 200),
    (512, 512),
    (515, 389),
]
MODES = ["512", "512_square_ok", "224", "512_nocrop"]
CASES = [
    (number, mode)
    for number, (width, height) in enumerate(SOURCES)
    for mode in MODES
    if f"{width}x{height}/{mode}/values" in GOLDEN  # the reference refuses squares uncropped
]


@cache
def source(number: int) -> np.ndarray:
    """The image that the numbers were made from: three ramps with noise."""
    width, height = SOURCES[number]
    v, u = np.mgrid[:height, :width].astype(np.float64)
    ramps = [u / (width - 1), v / (height - 1), (u + v) / (width + height - 2)]
    noise = np.random.default_rng(1000 + number).integers(-20, 21, size=(height, width, 3))
    return np.clip(np.rint(255 * np.stack(ramps, -1)) + noise, 0, 255).astype(np.uint8)


def plan_of(mode: str, size: tuple[int, int]) -> NetworkPlan:
    if mode == "224":
        return centre_square_plan(size, 224)
    return network_plan(size, 512, square_ok=mode != "512")


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_the_source_is_the_one_of_the_reference(number: int) -> None:
    image, key = source(number), "{}x{}".format(*SOURCES[number])
    np.testing.assert_array_equal(image[0, :4], GOLDEN[f"{key}/source_first"])
    np.testing.assert_allclose(image.mean((0, 1)), GOLDEN[f"{key}/source_mean"], atol=1e-8)


@pytest.mark.parametrize(("number", "mode"), CASES)
def test_sizes_are_the_reference(number: int, mode: str) -> None:
    key = "{}x{}/{}".format(*SOURCES[number], mode)
    plan = plan_of(mode, SOURCES[number])
    assert plan.size == tuple(GOLDEN[f"{key}/true_shape"][::-1])
    assert plan.resized == tuple(GOLDEN[f"{key}/resized_wh"])
    if mode != "512_nocrop":
        assert plan.box == tuple(GOLDEN[f"{key}/crop_box_ltrb"])
        assert plan.shrinks(SOURCES[number]) == (GOLDEN[f"{key}/filter"] == "LANCZOS")


@pytest.mark.parametrize(("number", "mode"), CASES)
def test_pixels_are_the_reference(number: int, mode: str) -> None:
    key = "{}x{}/{}".format(*SOURCES[number], mode)
    fitted = fit_image(source(number), plan_of(mode, SOURCES[number]), crop=mode != "512_nocrop")
    values = np.rint((GOLDEN[f"{key}/values"] + 1) * 127.5).astype(np.uint8)
    np.testing.assert_array_equal(fitted[tuple(GOLDEN[f"{key}/yx"].T)], values)
    pixels = fitted / 127.5 - 1
    np.testing.assert_allclose(pixels.mean((0, 1)), GOLDEN[f"{key}/mean"], atol=1e-7)
    np.testing.assert_allclose(pixels.std((0, 1)), GOLDEN[f"{key}/std"], atol=1e-7)
