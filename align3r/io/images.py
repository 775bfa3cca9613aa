"""One image file in, one RGB array out: 8 or 16 bit, grey, colour or alpha, upright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.io.files import cannot_read as cannot_read
from align3r.io.files import check_pixels, read_bytes
from align3r.io.image_header import check_content, declared_size

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV prints nothing inside: what went wrong is said once, by our own error."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order.

    Raises:
        InputError: The folder cannot be listed, is empty, or holds no image.
    """
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise cannot_read(folder, error) from error
    images = sorted(
        (entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()),
        key=natural_key,
    )
    if not images:
        what = f"none of its {len(entries)} entries is an image" if entries else "it is empty"
        raise InputError(
            f"no image in folder {folder}: {what}",
            hint=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return images


def read_rgb(path: Path) -> np.ndarray:
    """Read an image upright (EXIF orientation obeyed), as (H, W, 3) uint8 RGB.

    16-bit images keep their high byte, grey images are repeated, alpha is dropped.

    Raises:
        InputError: The file is missing, unreadable, cut short, too large, or not an image.
    """
    return cv2.cvtColor(decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_grey(path: Path) -> np.ndarray:
    """Read an image upright, as (H, W) uint8.

    Raises:
        InputError: The file is missing, unreadable, cut short, too large, or not an image.
    """
    return decode(path, cv2.IMREAD_GRAYSCALE)


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (width, height) by averaging areas: no aliasing when it gets smaller."""
    if image.shape[1::-1] == size:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def decode(path: Path, mode: int) -> np.ndarray:
    """Decode an image file by OpenCV in one of its modes, if its header is of a sensible size.

    Raises:
        InputError: The file is missing, unreadable, cut short, too large, or not an image.
    """
    return decode_bytes(read_bytes(path), mode, path)


def decode_bytes(data: bytes, mode: int, path: Path | str) -> np.ndarray:
    """The same for what an image file holds; `path` is what errors call it.

    Raises:
        InputError: It is cut short, too large, or not an image.
    """
    if not data:
        raise InputError(f"{path} is empty (0 bytes)", hint="write or copy the file again")
    if not _is_whole(data):
        raise InputError(f"image {path} is cut short", hint="copy the file again, or remove it")
    image, reason = None, "it is damaged"
    try:
        check_pixels(Path(path), declared_size(data))
        check_content(data)
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except ValueError as error:
        reason = str(error)
    except cv2.error:
        pass
    if image is None:
        raise InputError(
            f"{path} is not an image that can be decoded: {reason}", hint="convert it to png or jpg"
        )
    return image


def _is_whole(data: bytes) -> bool:
    """Whether a JPEG or PNG has its end; some decoders fill the missing part with grey."""
    if data.startswith(b"\xff\xd8"):
        # An EXIF thumbnail has an end marker of its own, but before the last start of scan.
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data
    return True
