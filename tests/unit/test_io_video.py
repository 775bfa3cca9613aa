"""Videos in: containers, real times, rotation tags, picking, and every way to fail."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from levels import level_images, level_numbers

from align3r.config import InputOptions
from align3r.errors import InputError, UsageError
from align3r.io.fitting import working_size
from align3r.io.video import read_frames

Clip = Callable[..., Path]
Ffmpeg = Callable[..., None]
PLAIN = InputOptions()


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi"])
def test_every_container_gives_all_frames_with_their_times(make_clip: Clip, suffix: str) -> None:
    clip = make_clip(f"clip.{suffix}", n=12, fps=12.5)
    frames = read_frames(clip, PLAIN)
    assert level_numbers(frames.images) == list(range(12))
    np.testing.assert_allclose(frames.times, np.arange(12) / 12.5, atol=1e-3)
    np.testing.assert_array_equal(frames.index, np.arange(12))
    assert (frames.size, frames.source_size, frames.source) == ((64, 48), (64, 48), clip.name)
    assert frames.images.dtype == np.uint8


def test_channels_are_red_green_blue(make_clip: Clip) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 250
    image = read_frames(make_clip(images=[red] * 3), PLAIN).images[1]
    assert image[..., 0].mean() > 200
    assert image[..., 1:].mean() < 40


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_keeps_the_real_times(
    make_clip: Clip, ffmpeg: Ffmpeg, tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    vfr = tmp_path / f"vfr.{suffix}"
    slower = "setpts='if(lt(N,5),N*0.1,0.5+(N-5)*0.3)/TB'"
    ffmpeg("-i", make_clip(), "-vf", slower, "-fps_mode", "vfr", "-enc_time_base", "1:1000", vfr)
    with caplog.at_level(logging.WARNING):
        frames = read_frames(vfr, PLAIN)
    truth = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 1.1, 1.4, 1.7]
    np.testing.assert_allclose(frames.times, truth, atol=2e-3)
    assert level_numbers(frames.images) == list(range(10))
    assert not caplog.records
    assert level_numbers(read_frames(vfr, InputOptions(start=0.75)).images) == [6, 7, 8, 9]


def rotated(ffmpeg: Ffmpeg, clip: Path, degrees: int) -> Path:
    """The same clip with a rotation tag; the option for it changed with FFmpeg 6."""
    out = clip.with_name(f"rotated_{degrees}.mp4")
    try:
        ffmpeg("-display_rotation:v:0", str(degrees), "-i", clip, "-c", "copy", out)
    except subprocess.CalledProcessError:
        ffmpeg("-i", clip, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", out)
    return out


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_tags_are_obeyed(
    make_clip: Clip, ffmpeg: Ffmpeg, tmp_path: Path, degrees: int
) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 220  # a bright quarter tells every rotation apart
    image[:24, 32:] = 120
    clip = rotated(ffmpeg, make_clip(images=[image] * 3), degrees)
    frames = read_frames(clip, PLAIN)
    upright = tmp_path / "upright.png"
    ffmpeg("-i", clip, "-frames:v", "1", upright)  # FFmpeg itself rotates by default
    truth = cv2.cvtColor(cv2.imread(str(upright)), cv2.COLOR_BGR2RGB)
    assert frames.source_size == truth.shape[1::-1] == ((48, 64) if degrees != 180 else (64, 48))
    assert np.abs(frames.images[0].astype(int) - truth).mean() < 3
    assert np.abs(frames.images[0].astype(int) - truth[::-1, ::-1]).mean() > 50


@pytest.mark.parametrize(
    ("source", "size", "working"),
    [
        ((640, 480), 512, (512, 384)),
        ((1920, 1080), 512, (512, 288)),
        ((1080, 1920), 512, (288, 512)),
        ((854, 480), 512, (512, 288)),
        ((500, 333), 512, (496, 328)),
        ((64, 48), 512, (64, 48)),
        ((321, 241), 160, (160, 120)),
        ((640, 480), 100, (96, 72)),
        ((45, 45), 512, (40, 40)),
    ],
)
def test_working_sizes(source: tuple[int, int], size: int, working: tuple[int, int]) -> None:
    assert working_size(source, size) == working


@given(st.integers(32, 5000), st.integers(32, 5000), st.integers(32, 1024))
def test_working_size_laws(width: int, height: int, size: int) -> None:
    try:
        w, h = working_size((width, height), size)
    except InputError:
        assert min(width, height) * size / max(width, height) < 45
        return
    assert w % 8 == h % 8 == 0
    assert 32 <= w <= width
    assert 32 <= h <= height
    assert max(w, h) <= size < max(w, h) + 8 or max(w, h) + 8 > max(width, height)
    assert working_size((height, width), size) == (h, w)
    # No other multiple of 8 that fits is nearer to the aspect.
    long, short, work = max(width, height), min(width, height), max(w, h)
    assert abs(min(w, h) - short * work / long) <= max(4, short * work / long - short // 8 * 8)


def test_odd_and_portrait_videos(make_clip: Clip, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    odd = tmp_path / "odd.avi"  # codecs without colour subsampling have odd sizes
    shape = ("-vf", "scale=121:161", "-c:v", "mjpeg", "-pix_fmt", "yuvj444p")
    ffmpeg("-i", make_clip(), *shape, odd)
    frames = read_frames(odd, InputOptions(size=80))
    assert frames.source_size == (121, 161)
    assert frames.size == (64, 80)
    assert level_numbers(frames.images) == list(range(10))


def test_shrinking_averages(make_clip: Clip) -> None:
    checks = np.indices((96, 128)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    frames = read_frames(make_clip("fine.avi", images=[image] * 2), InputOptions(size=64))
    assert frames.images[0].std() < 20
    assert abs(frames.images[0].mean() - 127) < 8


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start": 0.3, "stop": 0.7}, [3, 4, 5, 6]),
        ({"stride": 4}, [0, 4, 8, 12, 16]),
        ({"fps": 5.0}, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]),
        ({"max_frames": 4}, [0, 6, 13, 19]),
        ({"max_frames": 1}, [0]),
        ({"max_frames": 50, "stride": 10}, [0, 10]),
        ({"start": 1.0, "stride": 2, "max_frames": 3}, [10, 14, 18]),
        ({"start": 1.9}, [19]),
    ],
)
def test_which_frames_take_part(
    make_clip: Clip, options: dict[str, Any], expected: list[int]
) -> None:
    frames = read_frames(make_clip(n=20), InputOptions(**options))
    assert frames.index.tolist() == expected
    assert level_numbers(frames.images) == expected
    np.testing.assert_allclose(frames.times, frames.index / 10, atol=1e-3)


def test_never_seeks(make_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[int] = []

    class Recording:
        def __init__(self, *arguments: Any) -> None:
            self.inner = real(*arguments)

        def set(self, prop: int, value: float) -> bool:
            touched.append(prop)
            return bool(self.inner.set(prop, value))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Recording)
    read_frames(make_clip(n=20), InputOptions(start=0.5, stride=3, max_frames=2))
    assert set(touched) <= {cv2.CAP_PROP_ORIENTATION_AUTO}


def test_missing_and_repeated_times_are_made_up(
    make_clip: Clip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(np.array([0, 100, 100, 300, 250, 400, 500, 600, 700, 800.0]))
    times = patched_times(monkeypatch, make_clip(), lambda: float(next(clock)))
    np.testing.assert_allclose(times, [0, 0.1, 0.15, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert "2 of 10 frames have no time" in caplog.text
    times = patched_times(monkeypatch, make_clip(), lambda: 0.0)
    np.testing.assert_allclose(times, np.arange(10) / 10)


def patched_times(
    monkeypatch: pytest.MonkeyPatch, clip: Path, clock: Callable[[], float]
) -> np.ndarray:
    real = cv2.VideoCapture

    class Clocked:
        def __init__(self, *arguments: Any) -> None:
            self.inner = real(*arguments)

        def get(self, prop: int) -> float:
            return clock() if prop == cv2.CAP_PROP_POS_MSEC else float(self.inner.get(prop))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    with monkeypatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", Clocked)
        return read_frames(clip, PLAIN).times


def test_progress_reaches_the_end(make_clip: Clip) -> None:
    calls: list[tuple[str, int, int]] = []
    read_frames(make_clip(), PLAIN, progress=lambda *call: calls.append(call))
    assert calls == [("read", done, 10) for done in range(1, 11)]
    calls.clear()
    read_frames(make_clip(), InputOptions(max_frames=2), progress=lambda *c: calls.append(c))
    assert [call[0] for call in calls] == ["scan"] * 10 + ["read"] * 10


def broken_files(folder: Path, clip: Path, ffmpeg: Ffmpeg) -> dict[str, Path]:
    paths = {name: folder / f"{name}.mp4" for name in ("empty", "text", "noise", "no_moov", "cut")}
    paths["empty"].write_bytes(b"")
    paths["text"].write_text("this is no video\n" * 50)
    paths["noise"].write_bytes(np.random.default_rng(0).bytes(50_000))
    ffmpeg("-i", clip, "-c", "copy", "-movflags", "faststart", folder / "fast.mp4")
    fast = (folder / "fast.mp4").read_bytes()
    paths["cut"].write_bytes(fast[: fast.index(b"mdat") + 12])
    whole = clip.read_bytes()
    paths["no_moov"].write_bytes(whole[: whole.index(b"moov") - 4])
    paths["missing"] = folder / "missing.mp4"
    return paths


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("empty", "is empty"),
        ("text", "not a video"),
        ("noise", "not a video"),
        ("no_moov", "truncated video"),
        ("cut", "none can be decoded"),
    ],
)
def test_unreadable_input_is_one_sentence_and_exit_code_3(
    make_clip: Clip, ffmpeg: Ffmpeg, tmp_path: Path, kind: str, words: str
) -> None:
    path = broken_files(tmp_path, make_clip(), ffmpeg)[kind]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=words) as caught:
        read_frames(path, PLAIN)
    assert caught.value.exit_code == 3
    assert path.name in str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before, "something was written beside the input"


def test_libraries_do_not_talk_to_the_terminal(
    make_clip: Clip, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    paths = [str(path) for path in broken_files(tmp_path, make_clip(), ffmpeg).values()]
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xda no image \xff\xd9")
    program = """
import sys
from align3r.config import InputOptions
from align3r.errors import InputError
from align3r.io.video import read_frames
for path in sys.argv[1:]:
    try:
        read_frames(path, InputOptions())
    except InputError:
        print("refused")
"""
    command = [sys.executable, "-c", program, *paths, str(tmp_path / "bad.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * (len(paths) + 1)
    assert done.stderr == ""


def test_a_video_cut_in_the_middle_gives_what_is_there(
    ffmpeg: Ffmpeg, make_clip: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    noisy = [image // 2 + rng.integers(0, 99, image.shape, np.uint8) for image in level_images(10)]
    fast, cut = tmp_path / "fast.mp4", tmp_path / "cut.mp4"
    ffmpeg("-i", make_clip(images=noisy), "-c", "copy", "-movflags", "faststart", fast)
    data = fast.read_bytes()
    cut.write_bytes(data[: len(data) * 7 // 10])
    frames = read_frames(cut, PLAIN)
    assert 4 <= len(frames) < 9
    assert f"announces 10 frames, {len(frames)} can be decoded" in caplog.text


def test_refused_by_permissions(make_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip()
    if os.geteuid() == 0:  # root may read everything: let the system say no by hand

        def refuse(self: Path, *_: Any, **__: Any) -> Any:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
    else:
        clip.chmod(0)
    with pytest.raises(InputError, match="permission denied") as caught:
        read_frames(clip, PLAIN)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("max_frames", [None, 3])
def test_start_past_the_end_is_a_usage_error(make_clip: Clip, max_frames: int | None) -> None:
    with pytest.raises(UsageError, match=r"last frame is at 0\.90 s"):
        read_frames(make_clip(), InputOptions(start=5, max_frames=max_frames))


def test_tiny_and_too_long_frames(make_clip: Clip) -> None:
    with pytest.raises(InputError, match="32x24 pixels"):
        read_frames(make_clip("tiny.avi", size=(32, 24)), PLAIN)
    with pytest.raises(InputError, match="640x32") as caught:
        read_frames(make_clip("long.avi", size=(640, 32)), InputOptions(size=320))
    assert "--size 640" in caught.value.hint


def test_one_frame_is_enough(make_clip: Clip) -> None:
    assert len(read_frames(make_clip("one.avi", n=1), PLAIN)) == 1


def test_a_real_clip(data_root: Path) -> None:
    frames = read_frames(data_root / "clips" / "lady-running.mp4", InputOptions(size=256))
    assert len(frames) == 65
    assert frames.source_size == (854, 480)
    assert frames.size == (256, 144)
    assert (np.diff(frames.times) > 0).all()
