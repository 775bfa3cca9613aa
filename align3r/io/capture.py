"""Stepping through a video file: frames in order, their times, and what is wrong with the file."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2

from align3r.errors import InputError
from align3r.io.containers import check_container, only_containers
from align3r.io.files import check_pixels

log = logging.getLogger(__name__)

USUAL_FPS = 30.0
"""Frame rate of what comes without times."""

# Matroska stores a duration and no count of frames, so its "count" is a guess.
_COUNTED = frozenset({".avi", ".m4v", ".mov", ".mp4"})


def open_video(path: Path) -> cv2.VideoCapture:
    """Open a video, to be turned upright on reading.

    Raises:
        InputError: It cannot be decoded, was cut short before its index was written, is a playlist
            of other files, or has larger frames than `files.most_pixels`.
    """
    # Read by OpenCV when it first opens a video: FFmpeg's own remarks would reach the terminal.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    check_container(path)
    with only_containers():
        # The whole path: FFmpeg takes what stands before a colon for a protocol.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
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
    sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    width, height = (int(capture.get(side)) for side in sides)
    try:
        check_pixels(path, (width, height))
    except InputError:
        capture.release()
        raise
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def grab_all(capture: cv2.VideoCapture) -> Iterator[tuple[int, float]]:
    """Step through a video: number and time of each frame; `capture.retrieve()` decodes it.

    Times are the container's, made strictly increasing where they are missing or repeated.
    """
    fps = capture.get(cv2.CAP_PROP_FPS)
    period = 1 / fps if 0 < fps < 1000 else 1 / USUAL_FPS
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


def announced_frames(capture: cv2.VideoCapture) -> int:
    """How many frames the file says it has; 0 = it does not say."""
    return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)


def check_complete(path: Path, *, decoded: int, announced: int) -> None:
    """Warn when frames are missing at the end.

    Raises:
        InputError: There is no frame at all.
    """
    if decoded == 0:
        raise InputError(
            f"{path} announces {announced} frames but none can be decoded",
            hint="the file is cut short or damaged: copy or record it again",
        )
    if decoded < 0.98 * announced and path.suffix.lower() in _COUNTED:
        log.warning("%s announces %d frames, %d can be decoded", path, announced, decoded)


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
