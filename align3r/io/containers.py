"""What a video file says of itself, before a decoder is let near it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from align3r.errors import InputError
from align3r.io.files import cannot_read, check_regular

# All others can name further files, or addresses on the network, that FFmpeg would then open.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,av1,obu,ivf,"
    "m4v,flv,asf,ogg,gif,mjpeg,yuv4mpegpipe,mxf,dv"
)
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0", b"[playlist]")
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})


def check_container(path: Path) -> None:
    """Refuse what is no video file of its own, and an mp4 with more frames than it has bytes.

    Raises:
        InputError: It is a pipe, a device, a playlist, or says what cannot be.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        if start.lstrip(b"\xef\xbb\xbf\x00\t\r\n ").startswith(_PLAYLISTS):
            raise InputError(
                f"{path} is no video but a text that names other files",
                hint="give the video itself",
            )
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            _check_mp4(path)
    except OSError as error:
        raise cannot_read(path, error) from error


@contextmanager
def only_containers() -> Iterator[None]:
    """Inside, FFmpeg opens containers alone: no playlists, and so no other files or addresses.

    OpenCV hands this on by an environment variable; one that is set already is left alone.
    """
    if _OPTIONS in os.environ:
        yield
        return
    os.environ[_OPTIONS] = f"format_whitelist;{_FORMATS}"
    try:
        yield
    finally:
        os.environ.pop(_OPTIONS, None)


def _check_mp4(path: Path) -> None:
    """FFmpeg takes 24 bytes for every frame that is announced, be it there or not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        todo = [(0, size)]
        while todo:
            position, end = todo.pop()
            while position + 8 <= end:
                file.seek(position)
                head = file.read(20)
                length, kind = int.from_bytes(head[:4], "big"), head[4:8]
                start = position + 8
                if length == 1:
                    length, start = int.from_bytes(head[8:16], "big"), position + 16
                elif length == 0:
                    length = end - position
                if length < start - position:
                    break
                if kind in _PARENTS:
                    todo.append((start, min(position + length, end)))
                elif kind == b"stsz":
                    file.seek(start + 8)
                    frames = int.from_bytes(file.read(4), "big")
                    if frames > size:
                        raise InputError(
                            f"{path} announces {frames} frames and has {size} bytes",
                            hint="the file is damaged: copy or record it again",
                        )
                position += length
