"""Working images of both fits, and the same frames read again at the source size."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from levels import level_images, level_numbers
from PIL import Image

from align3r.config import InputOptions
from align3r.errors import InputError
from align3r.io.fitting import FITS, centre_square_plan, network_plan, resized_size, working_size
from align3r.io.video import read_frames, source_images

Clip = Callable[..., Path]
SIDES = st.integers(32, 4000)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Eight images of noise, 120 x 90."""
    rng = np.random.default_rng(0)
    (tmp_path / "shots").mkdir()
    for i in range(8):
        image = rng.integers(0, 256, (90, 120, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / "shots" / f"{i}.png"), image)
    return tmp_path / "shots"


@given(SIDES, SIDES, st.integers(32, 1024))
def test_network_sizes_are_whole_tokens_with_the_aspect_kept(w: int, h: int, long: int) -> None:
    plan = network_plan((w, h), long)
    assert plan.size[0] % 16 == plan.size[1] % 16 == 0
    assert max(plan.resized) == long
    for side, resized, size in zip((w, h), plan.resized, plan.size, strict=True):
        assert abs(resized - side * long / max(w, h)) <= 0.5
        assert 0 <= resized - size < 16
    left, top, right, bottom = plan.box
    assert (right - left, bottom - top) == plan.size
    assert 0 <= left <= right <= plan.resized[0]
    assert 0 <= top <= bottom <= plan.resized[1]
    assert network_plan((h, w), long).size == plan.size[::-1]


@given(SIDES, SIDES, st.integers(32, 1024))
def test_the_network_fit_refuses_less_than_two_tokens(w: int, h: int, long: int) -> None:
    try:
        fit = FITS["network"]((w, h), long)
    except InputError as error:
        assert min(network_plan((w, h), long).size) < 32
        enough = int(error.hint.split()[2])
        assert long < enough
        assert min(FITS["network"]((w, h), enough).size) >= 32
        return
    assert fit.size == network_plan((w, h), long).size
    assert min(fit.size) >= 32


@given(st.integers(64, 4000))
def test_squares_stay_whole_or_become_four_to_three(side: int) -> None:
    assert network_plan((side, side), 512).size == (512, 512)
    assert network_plan((side, side), 512, square_ok=False).size == (512, 384)
    width, height = network_plan((side, side), 96, square_ok=False).size
    assert width % 16 == height % 16 == 0


@given(SIDES, SIDES)
def test_centre_squares(w: int, h: int) -> None:
    plan = centre_square_plan((w, h), 224)
    assert plan.size == (224, 224)
    assert min(plan.resized) in (224, 225)


def test_network_frames_are_enlarged_and_whole(shots: Path) -> None:
    frames = read_frames(shots, InputOptions(size=200), fit="network")
    assert (frames.source_size, frames.size) == ((120, 90), (192, 144))
    image = Image.open(shots / "3.png")
    resized = image.resize((200, 150), Image.Resampling.BICUBIC)
    truth = resized.resize((192, 144), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(frames.images[3], np.asarray(truth))


def test_network_frames_are_shrunk_with_lanczos(shots: Path) -> None:
    frames = read_frames(shots, InputOptions(size=64), fit="network")
    assert frames.size == (64, 48)
    truth = Image.open(shots / "0.png").resize((64, 48), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(frames.images[0], np.asarray(truth))


def test_a_network_frame_at_its_size_is_a_copy(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    fit = FITS["network"]((64, 48), 64)
    np.testing.assert_array_equal(fit.apply(image), image)


def test_area_frames_are_averaged_and_never_enlarged(shots: Path) -> None:
    frames = read_frames(shots, InputOptions(size=200))
    assert frames.size == working_size((120, 90), 200) == (120, 88)
    image = cv2.cvtColor(cv2.imread(str(shots / "3.png")), cv2.COLOR_BGR2RGB)
    truth = cv2.resize(image, (120, 88), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(frames.images[3], truth)


@pytest.mark.parametrize("fit", ["area", "network"])
def test_small_and_flat_frames(fit: str) -> None:
    with pytest.raises(InputError, match="are 31x400 pixels; at least 32"):
        FITS[fit]((31, 400), 512)
    with pytest.raises(InputError, match=r"frames of 1600x64 would be worked on at 512x\d+ pixels"):
        FITS[fit]((1600, 64), 512)


def test_resized_sizes_round_to_even() -> None:
    assert resized_size((1024, 436), 512) == (512, 218)
    assert resized_size((512, 341), 256) == (256, 170)
    assert resized_size((341, 512), 256) == (170, 256)


def test_videos_are_read_again_in_full(make_clip: Clip) -> None:
    clip = make_clip(n=20, size=(96, 72))
    frames = read_frames(clip, InputOptions(stride=3, start=0.25, size=48))
    again = list(source_images(clip, frames.index))
    assert all(image.shape == (72, 96, 3) and image.dtype == np.uint8 for image in again)
    assert level_numbers(np.stack(again)) == frames.index.tolist() == list(range(3, 20, 3))


def test_colours_and_rotation_tags_are_those_of_the_frames(
    make_clip: Clip, ffmpeg: Callable[..., None], tmp_path: Path
) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32, 0] = 220
    turned = tmp_path / "turned.mp4"
    clip = make_clip(images=[image] * 4)
    try:
        ffmpeg("-display_rotation:v:0", "90", "-i", clip, "-c", "copy", turned)
    except subprocess.CalledProcessError:  # before FFmpeg 6
        ffmpeg("-i", clip, "-c", "copy", "-metadata:s:v:0", "rotate=90", turned)
    frames = read_frames(turned, InputOptions())
    (again,) = source_images(turned, [2])
    assert again.shape == (64, 48, 3)
    np.testing.assert_array_equal(again, frames.images[2])


def test_images_are_read_again_in_full(shots: Path) -> None:
    frames = read_frames(shots, InputOptions(max_frames=3, size=48))
    again = list(source_images(shots, frames.index))
    assert frames.index.tolist() == [0, 4, 7]
    for number, image in zip([0, 4, 7], again, strict=True):
        truth = cv2.imread(str(shots / f"{number}.png"))[..., ::-1]
        np.testing.assert_array_equal(image, truth)


def test_frames_are_read_when_asked_for(make_clip: Clip) -> None:
    stream = source_images(make_clip(n=6), [0, 1, 99])
    assert level_numbers(np.stack([next(stream), next(stream)])) == [0, 1]
    with pytest.raises(InputError, match=r"frame 99 of clip\.mp4 cannot be read a second time"):
        next(stream)


def test_frames_that_are_gone(shots: Path) -> None:
    with pytest.raises(InputError, match="frame 8 of shots cannot be read a second time"):
        list(source_images(shots, [7, 8]))
    (shots / "2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"2\.png is not an image"):
        list(source_images(shots, [2]))


def test_reading_again_says_nothing(make_clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stream = source_images(make_clip("clip.mkv", images=level_images(3)), range(3))
        before = cv2.utils.logging.getLogLevel()
        next(stream)
        assert cv2.utils.logging.getLogLevel() == before
        stream.close()
    assert not caplog.records
