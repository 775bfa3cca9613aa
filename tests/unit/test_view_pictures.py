"""depth.mp4, cameras.png and the other pictures, opened and measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.errors import InputError
from align3r.io import video_writer
from align3r.reconstruction import Reconstruction
from align3r.view.camera_plot import frustum_corners, round_length
from align3r.view.comparison import LABEL_WIDTH, diverging, relative_depth, write_comparison
from align3r.view.pictures import (
    contact_sheet,
    mask_overlay,
    panel_size,
    write_camera_plot,
    write_depth_video,
)

MakeScene = Callable[..., Reconstruction]


def frames_of(path: Path) -> list[np.ndarray]:
    reader, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = reader.read()
        if not there:
            return frames
        frames.append(frame)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_depth_video_has_every_frame_at_an_even_size(
    make_scene: MakeScene, tmp_path: Path, n: int
) -> None:
    write_depth_video(make_scene(n, size=(81, 61)), tmp_path / "depth.mp4")
    frames = frames_of(tmp_path / "depth.mp4")
    assert len(frames) == n
    width, height = panel_size((81, 61), 640)
    assert frames[0].shape == (height, 2 * width, 3)


def test_the_depth_video_is_h264_that_browsers_play(make_scene: MakeScene, tmp_path: Path) -> None:
    if video_writer.find_h264_encoder() is None or shutil.which("ffprobe") is None:
        pytest.skip("no ffmpeg with libx264, or no ffprobe, on the PATH")
    write_depth_video(make_scene(3), tmp_path / "depth.mp4")
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", tmp_path / "depth.mp4"]
    stream = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    about = stream["streams"][0]
    assert (about["codec_name"], about["pix_fmt"]) == ("h264", "yuv420p")
    assert about["r_frame_rate"] == "10/1"


def test_without_ffmpeg_opencv_writes_the_video(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_writer.shutil, "which", lambda name: None)
    write_depth_video(make_scene(4), tmp_path / "depth.mp4")
    assert len(frames_of(tmp_path / "depth.mp4")) == 4


@pytest.mark.parametrize("ffmpeg_there", [True, False])
def test_a_video_that_cannot_be_written_is_an_input_error(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ffmpeg_there: bool
) -> None:
    if ffmpeg_there and video_writer.find_h264_encoder() is None:
        pytest.skip("no ffmpeg with libx264 on the PATH")
    if not ffmpeg_there:
        monkeypatch.setattr(video_writer.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"depth\.mp4"):
        write_depth_video(make_scene(40), tmp_path / "nowhere" / "depth.mp4")


def test_an_error_while_frames_are_made_reaches_the_caller(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        video_writer.open_video(tmp_path / "a.mp4", size=(4, 4), fps=5) as write,
    ):
        write(np.zeros((4, 4, 3), np.uint8))
        raise KeyboardInterrupt


@pytest.mark.parametrize("n", [1, 2, 30])
def test_the_camera_plot_marks_start_and_end(make_scene: MakeScene, tmp_path: Path, n: int) -> None:
    write_camera_plot(make_scene(n), tmp_path / "cameras.png")
    picture = cv2.imread(str(tmp_path / "cameras.png"))
    assert picture is not None and picture.shape == (840, 1520, 3)
    below_head = picture[100:].astype(int)
    # BGR of the two ends of the path.
    orange = np.abs(below_head - [20, 130, 250]).max(axis=-1) < 30
    blue = np.abs(below_head - [235, 110, 38]).max(axis=-1) < 30
    for half in (slice(0, 760), slice(760, 1520)):
        assert blue[:, half].sum() > 20 or n == 1
        assert orange[:, half].sum() > 20 or n == 1


def test_a_camera_that_stands_still_has_a_plot(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(3)
    scene.world_from_cam[:] = np.eye(4)
    write_camera_plot(scene, tmp_path / "cameras.png")
    assert (tmp_path / "cameras.png").stat().st_size > 10_000


def test_frustum_corners_project_to_the_image_corners(make_scene: MakeScene) -> None:
    scene = make_scene(4)
    corners = frustum_corners(scene, 3, length=2.0)
    seen = np.linalg.inv(scene.world_from_cam[3]) @ np.c_[corners, np.ones(5)].T
    np.testing.assert_allclose(seen[:3, 0], 0, atol=1e-12)
    pixels = scene.intrinsics[3] @ seen[:3, 1:]
    np.testing.assert_allclose(seen[2, 1:], 2.0)
    width, height = scene.size
    outer = [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)]
    np.testing.assert_allclose((pixels[:2] / pixels[2]).T, outer, atol=1e-9)


@pytest.mark.parametrize(
    ("length", "round_one"), [(0.9, 0.5), (1.0, 1.0), (4.9, 2.0), (73, 50), (0.002, 0.002)]
)
def test_bars_have_round_lengths(length: float, round_one: float) -> None:
    assert round_length(length) == pytest.approx(round_one)


def test_the_overlay_tints_what_moves_and_nothing_else(make_scene: MakeScene) -> None:
    scene = make_scene(1, size=(40, 32), working=(40, 32))
    mask = scene.moving(0)
    far = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    overlay = mask_overlay(scene, 0)
    assert far.any() and mask.any()
    np.testing.assert_array_equal(overlay[far], scene.image(0)[far])
    assert (overlay[mask] != scene.image(0)[mask]).any(axis=-1).all()


def test_the_contact_sheet_has_a_column_a_frame(make_scene: MakeScene, tmp_path: Path) -> None:
    contact_sheet(make_scene(9), tmp_path / "sheet.png", frames=4)
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture is not None
    assert picture.shape == (3 * 60, 4 * 80, 3)


def test_the_comparison_undoes_the_free_scale(make_scene: MakeScene, tmp_path: Path) -> None:
    one, two = make_scene(2), make_scene(2)
    two.maps._depth[:] *= 0.25  # type: ignore[attr-defined]
    assert relative_depth(one, two) == pytest.approx((4.0, 0.0), abs=1e-6)
    write_comparison({"depth": one, "scale": two}, tmp_path / "compare.png")
    picture = cv2.imread(str(tmp_path / "compare.png"))
    assert picture is not None
    last_row = picture[-60:, LABEL_WIDTH:].astype(int)
    white = (last_row > 235).all(axis=-1)
    assert white.mean() > 0.8, "equal depths must look equal"


def test_the_comparison_has_two_rows_more_for_every_run(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    one, two, three = make_scene(4), make_scene(4), make_scene(4)
    three.maps._depth[:, :, 20:] *= 1.1  # type: ignore[attr-defined]
    scenes = {"depth": one, "scale": two, "scale-grid": three}
    write_comparison(scenes, tmp_path / "compare.png", columns=3)
    picture = cv2.imread(str(tmp_path / "compare.png")).astype(int)
    assert picture.shape[0] == 6 * (60 + 4) and picture.shape[1] == LABEL_WIDTH + 3 * (80 + 4)
    ratio = picture[-62:-2, LABEL_WIDTH + 2 : LABEL_WIDTH + 82]
    redder = ratio[..., 2] - ratio[..., 0]
    # The scale is the median ratio: half of the pixels are 5 % nearer, the others farther.
    assert redder[10:, 50:].mean() > redder[10:, 10:30].mean() + 20


def test_a_gap_is_what_a_scale_does_not_explain(make_scene: MakeScene) -> None:
    one, two = (make_scene(8, size=(64, 48), working=(64, 48)) for _ in range(2))
    noise = np.random.default_rng(0).normal(0, 0.05, (8, 48, 64))
    two.maps._depth[:] *= 3 * np.exp(noise)  # type: ignore[attr-defined]
    scale, gap = relative_depth(one, two)
    assert scale == pytest.approx(1 / 3, rel=0.02)
    assert gap == pytest.approx(0.6745 * 0.05, rel=0.1)  # median of |normal|


def test_diverging_colours() -> None:
    colours = diverging(np.array([[-1.0, 0.0, 1.0, np.nan]]))[0].astype(int)
    assert colours[0, 2] > 2 * colours[0, 0] and colours[2, 0] > 2 * colours[2, 2]
    np.testing.assert_array_equal(colours[1], [255, 255, 255])
    assert colours[3].max() < 40
