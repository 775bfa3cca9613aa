"""Frames and their times from a video or images, shrunk to the working size on reading."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from align3r.config import InputOptions
from align3r.errors import InputError, UsageError
from align3r.io.images import quiet_opencv, read_rgb, shrink
from align3r.io.picking import MIN_SIDE, FramePicker, check_input_options, spread
from align3r.io.sources import ResolvedSource, Source, resolve_source
from align3r.types import Frames, Progress

log = logging.getLogger(__name__)

IMAGE_FPS = 30.0
"""Frame rate of images that come without times."""

_BLOCK = 8
# Matroska stores a duration and no count of frames, so its "count" is a guess.
_COUNTED = frozenset({".avi", ".m4v", ".mov", ".mp4"})


def read_frames(
    source: Source, options: InputOptions, *, progress: Progress | None = None
) -> Frames:
    """Read the frames that take part, at the working size.

    Args:
        source: A video (mp4, mov, mkv, webm, avi), a folder of images, a glob pattern, a .txt
            list (one path a line, or `timestamp path`), an image, or a list of images.
        options: Which frames, and how large. `start` and `stop` count from the first frame.
            `fps` thins videos and lists with times; it is the frame rate of other images.
        progress: Called as progress("read", done, total); total 0 means unknown. With
            `max_frames` a video is counted first, as progress("scan", done, total).

    Returns:
        N >= 1 frames with the times of the container, rotation tags obeyed.

    Raises:
        InputError: The input is missing, unreadable, empty, broken, too small, or mixes sizes.
        UsageError: The options make no sense, or choose no frame.
    """
    check_input_options(options)
    resolved = resolve_source(source)
    if resolved.is_video:
        return _read_video(resolved.paths[0], options, progress=progress)
    return _read_images(resolved, options, progress=progress)


def working_size(source_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The (width, height) to work at: long side at most `long_side`, sides multiples of 8.

    Never larger than the source; the aspect is kept as near as multiples of 8 allow.

    Raises:
        InputError: A side, of the source or of the result, would be under 32 pixels.
    """
    width, height = source_size
    if min(source_size) < MIN_SIDE:
        raise InputError(
            f"the frames are {width}x{height} pixels; at least {MIN_SIDE} a side are needed",
            hint="use a larger version of the video",
        )
    long, short = max(source_size), min(source_size)
    work_long = min(long, long_side) // _BLOCK * _BLOCK
    ideal_short = short * work_long / long
    work_short = min(max(round(ideal_short / _BLOCK), 1), short // _BLOCK) * _BLOCK
    if work_short < MIN_SIDE:
        raise InputError(
            f"frames of {width}x{height} would be worked on at {work_long}x{work_short} pixels; "
            f"at least {MIN_SIDE} a side are needed",
            hint=f"use --size {math.ceil(MIN_SIDE * long / short / _BLOCK) * _BLOCK} or more",
        )
    return (work_long, work_short) if width >= height else (work_short, work_long)


class _Collector:
    """Shrinks frames as they come and checks that they have one size."""

    def __init__(self, long_side: int) -> None:
        self._long_side = long_side
        self._first = ""
        self._source_size = (0, 0)
        self._size = (0, 0)
        self._images: list[np.ndarray] = []
        self._times: list[float] = []
        self._index: list[int] = []

    def add(self, image: np.ndarray, *, name: str, time: float, number: int) -> None:
        width, height = image.shape[1::-1]
        if not self._images:
            self._first, self._source_size = name, (width, height)
            self._size = working_size(self._source_size, self._long_side)
        elif (width, height) != self._source_size:
            first_width, first_height = self._source_size
            raise InputError(
                f"{name} is {width}x{height} pixels but {self._first} is "
                f"{first_width}x{first_height}",
                hint="all frames must have one size",
            )
        self._images.append(shrink(image, self._size))
        self._times.append(time)
        self._index.append(number)

    def __len__(self) -> int:
        return len(self._images)

    def frames(self, source: str) -> Frames:
        return Frames(
            images=np.stack(self._images),
            times=np.array(self._times, np.float64),
            index=np.array(self._index, np.int64),
            source_size=self._source_size,
            source=source,
        )


def _read_images(
    resolved: ResolvedSource, options: InputOptions, *, progress: Progress | None
) -> Frames:
    times = resolved.times
    picker = FramePicker(options, thin_to_fps=times is not None)
    if times is None:
        times = np.arange(len(resolved.paths)) / (options.fps or IMAGE_FPS)
    picked = [number for number, time in enumerate(times) if picker.wants(float(time))]
    picked = spread(picked, options.max_frames)
    if not picked:
        raise _nothing_picked(resolved.name, options, last=float(times[-1] - times[0]))
    collector = _Collector(options.size)
    for done, number in enumerate(picked, start=1):
        path = resolved.paths[number]
        collector.add(read_rgb(path), name=str(path), time=float(times[number]), number=number)
        if progress:
            progress("read", done, len(picked))
    return collector.frames(resolved.name)


def _read_video(path: Path, options: InputOptions, *, progress: Progress | None) -> Frames:
    picker = FramePicker(options, thin_to_fps=True)
    # Spreading needs the number of frames, which no container tells reliably: look twice.
    wanted = _spread_over_video(path, options, progress=progress) if options.max_frames else None
    collector = _Collector(options.size)
    number, time = -1, 0.0
    with quiet_opencv():
        capture = _open(path)
        announced = _announced(capture)
        for number, time in _grab_all(capture):
            if progress:
                progress("read", number + 1, announced)
            if picker.is_over(time):
                break
            if picker.wants(time) if wanted is None else number in wanted:
                _retrieve(capture, collector, name=path.name, time=time, number=number)
        else:
            _check_complete(path, decoded=number + 1, announced=announced)
        capture.release()
    if not len(collector):
        raise _nothing_picked(path.name, options, last=time)
    return collector.frames(path.name)


def _retrieve(
    capture: cv2.VideoCapture, collector: _Collector, *, name: str, time: float, number: int
) -> None:
    there, image = capture.retrieve()
    if not there or image is None:
        log.warning("frame %d of %s cannot be decoded and is left out", number, name)
        return
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    collector.add(image, name=f"frame {number} of {name}", time=time, number=number)


def _spread_over_video(
    path: Path, options: InputOptions, *, progress: Progress | None
) -> frozenset[int]:
    picker = FramePicker(options, thin_to_fps=True)
    picked = []
    with quiet_opencv():
        capture = _open(path)
        announced = _announced(capture)
        for number, time in _grab_all(capture):
            if progress:
                progress("scan", number + 1, announced)
            if picker.is_over(time):
                break
            if picker.wants(time):
                picked.append(number)
        capture.release()
    return frozenset(spread(picked, options.max_frames))


def _open(path: Path) -> cv2.VideoCapture:
    # Read by OpenCV when it first opens a video: FFmpeg's own remarks would reach the terminal.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        if _is_mp4_without_index(path):
            raise InputError(
                f"{path} is a truncated video: its index (the moov atom) is missing",
                hint="copy or record the file again",
            )
        raise InputError(
            f"{path} is not a video that can be decoded",
            hint="mp4, mov, mkv, webm and avi are read; so is a folder of images",
        )
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _grab_all(capture: cv2.VideoCapture) -> Iterator[tuple[int, float]]:
    """Step through a video: number and time of each frame; `capture.retrieve()` decodes it.

    Times are the container's, made strictly increasing where they are missing or repeated.
    """
    fps = capture.get(cv2.CAP_PROP_FPS)
    period = 1 / fps if 0 < fps < 1000 else 1 / IMAGE_FPS
    number, last, repaired = 0, -math.inf, 0
    while capture.grab():
        time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if not math.isfinite(time) or time <= last:
            # A clock stuck at zero is no clock; a time given twice is nudged, not shifted for good.
            time = max(number * period, last + period / 2) if time == 0 else last + period / 2
            repaired += 1
        yield number, time
        number, last = number + 1, time
    if repaired:
        log.warning(
            "%d of %d frames have no time of their own; theirs is made up", repaired, number
        )


def _announced(capture: cv2.VideoCapture) -> int:
    return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)


def _check_complete(path: Path, *, decoded: int, announced: int) -> None:
    if decoded == 0:
        raise InputError(
            f"{path} announces {announced} frames but none can be decoded",
            hint="the file is cut short or damaged: copy or record it again",
        )
    if decoded < 0.98 * announced and path.suffix.lower() in _COUNTED:
        log.warning("%s announces %d frames, %d can be decoded", path, announced, decoded)


def _nothing_picked(name: str, options: InputOptions, *, last: float) -> UsageError:
    return UsageError(
        f"no frame of {name} takes part: its last frame is at {last:.2f} s, "
        f"--start is {options.start:g} s",
        hint="give an earlier --start, or a later --stop",
    )


def _is_mp4_without_index(path: Path) -> bool:
    """Whether the file begins like an mp4 or mov but its top-level boxes hold no moov."""
    with path.open("rb") as file:
        position, end = 0, path.stat().st_size
        while position < end:
            file.seek(position)
            header = file.read(16)
            kind, length = header[4:8], int.from_bytes(header[:4], "big")
            if kind == b"moov" or (position == 0 and kind != b"ftyp"):
                return False
            length = int.from_bytes(header[8:16], "big") if length == 1 else length
            position = position + length if length >= 8 else end
    return True
