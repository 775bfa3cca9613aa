"""Encode frames as an mp4: H.264 by ffmpeg where it is there, else MPEG-4 by OpenCV."""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError

log = logging.getLogger(__name__)

WriteFrame = Callable[[np.ndarray], None]
"""Takes an (h, w, 3) uint8 RGB frame."""


@contextmanager
def open_video(
    path: Path, *, size: tuple[int, int], fps: float, crf: int = 20
) -> Iterator[WriteFrame]:
    """Give a function that appends a frame; the file is whole when the block ends.

    Args:
        path: The .mp4 to write.
        size: (width, height); where a side is odd, its pixels all keep their own colour (4:4:4),
            which takes ffmpeg, and browsers may not play it.
        fps: Frames a second.
        crf: What H.264 loses: 20 is hard to see, 0 is nothing.

    Raises:
        InputError: The video cannot be written.
    """
    ffmpeg = find_h264_encoder()
    if ffmpeg is None:
        if size[0] % 2 or size[1] % 2:
            raise InputError(
                f"a video of {size[0]}x{size[1]} pixels needs ffmpeg with libx264",
                hint="install ffmpeg",
            )
        log.info("no ffmpeg with libx264 on the PATH: %s becomes MPEG-4 part 2", path.name)
        with _opencv_video(path, size=size, fps=fps) as write:
            yield write
    else:
        with _ffmpeg_video(ffmpeg, path, size=size, fps=fps, crf=crf) as write:
            yield write


def find_h264_encoder() -> str | None:
    """Path of an ffmpeg that has libx264, or None."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    known = subprocess.run(
        [ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    )
    return ffmpeg if "libx264" in known.stdout else None


@contextmanager
def _ffmpeg_video(
    ffmpeg: str, path: Path, *, size: tuple[int, int], fps: float, crf: int
) -> Iterator[WriteFrame]:
    command = [ffmpeg, "-hide_banner", "-loglevel", "error", "-y"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}"]
    command += ["-r", f"{fps:.6f}", "-i", "-", "-an", "-c:v", "libx264", "-preset", "veryfast"]
    # yuv420p and the index in front: what browsers and phones play.
    pixels = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
    command += ["-crf", str(crf), "-pix_fmt", pixels, "-movflags", "+faststart", "-f", "mp4"]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [*command, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
        )
        assert process.stdin is not None
        pipe = process.stdin

        def write(frame: np.ndarray) -> None:
            pipe.write(np.ascontiguousarray(frame, dtype=np.uint8).data)

        try:
            yield write
            pipe.close()
        except BrokenPipeError:
            pass  # ffmpeg gave up; what it said is read below
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.wait() != 0:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines() or ["no reason"]
            raise InputError(
                f"ffmpeg could not write {path.name}: {said[-1]}",
                hint="check the free space and the rights of the output folder",
            )


@contextmanager
def _opencv_video(path: Path, *, size: tuple[int, int], fps: float) -> Iterator[WriteFrame]:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise InputError(
            f"OpenCV could not open {path.name} for writing",
            hint="check the rights of the output folder, or install ffmpeg",
        )

    def write(frame: np.ndarray) -> None:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))

    try:
        yield write
    finally:
        writer.release()
