"""Files from elsewhere, read as bytes, text and JSON: regular ones, of a size that makes sense."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from align3r.errors import InputError, TooLargeError, UsageError

MOST_TEXT = 100_000_000
"""Bytes of a text file; a trajectory of an hour at 60 frames a second has 20 million."""

_PIXELS = "ALIGN3R_MAX_MEGAPIXELS"
_BYTES = "ALIGN3R_MAX_ARRAY_GB"


def most_pixels() -> int:
    """Most pixels of one image, frame or map: 134 million, as many as 16384 x 8192, or
    ALIGN3R_MAX_MEGAPIXELS.

    Raises:
        UsageError: The variable is set to something else than a positive number.
    """
    return _limit(_PIXELS, 1e6, default=1 << 27)


def most_array_bytes() -> int:
    """Most bytes that the arrays of one file, or its channels, take in memory: 2 GiB, or
    ALIGN3R_MAX_ARRAY_GB.

    Raises:
        UsageError: The variable is set to something else than a positive number.
    """
    return _limit(_BYTES, 1e9, default=1 << 31)


def check_pixels(path: Path, size: tuple[int, int]) -> None:
    """Refuse an image, frame or map of (width, height) before memory is taken for it.

    Raises:
        TooLargeError: It has more pixels than `most_pixels`.
    """
    width, height = size
    if width * height > most_pixels():
        raise TooLargeError(
            f"{path} says that it is {width}x{height} pixels: more than {most_pixels() / 1e6:.0f} "
            "million",
            hint=f"if that is true, raise the limit: {_PIXELS}={width * height // 10**6 + 1}",
        )


def check_bytes(path: Path, size: int) -> None:
    """Refuse arrays of `size` bytes before memory is taken for them.

    Raises:
        TooLargeError: They are larger than `most_array_bytes`.
    """
    if size > most_array_bytes():
        raise TooLargeError(
            f"{path} says that it holds {size / 1e9:.3g} GB of numbers: more than "
            f"{most_array_bytes() / 1e9:.3g} GB",
            hint=f"if that is true, raise the limit: {_BYTES}={size // 10**9 + 1}",
        )


def check_regular(path: Path) -> None:
    """Refuse pipes and devices, which may never end; links to files are fine.

    Raises:
        InputError: It is not there, may not be looked at, or is no regular file.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:  # a name with a zero byte
        raise InputError(f"no such file or folder: {str(path)!r}", hint="check the path") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, not a file", hint="name the file")
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path} is a pipe or a device, not a file", hint="write it to a file first"
        )


def check_inside(path: Path, folder: Path) -> None:
    """Refuse a link that leads out of a folder which may come from someone else.

    Raises:
        InputError: It does.
    """
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{path} is a link that leads out of {folder}",
            hint="if it is your own, copy the folder with `cp -rL`",
        )


def read_bytes(path: Path) -> bytes:
    """A whole regular file.

    Raises:
        InputError: It cannot be read, is no regular file, or is larger than `most_array_bytes`.
    """
    check_regular(path)
    try:
        check_bytes(path, path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error


def read_text(path: Path) -> str:
    """A whole text file, UTF-8.

    Raises:
        InputError: It cannot be read, is no regular file, or is larger than `MOST_TEXT`.
        ValueError: It is no UTF-8.
    """
    check_regular(path)
    try:
        size = path.stat().st_size
        if size > MOST_TEXT:
            raise TooLargeError(
                f"{path} is {size / 1e6:.0f} MB: no text of this kind is larger than "
                f"{MOST_TEXT / 1e6:.0f} MB",
                hint="name another file",
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise cannot_read(path, error) from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: As `read_text`.
        ValueError: It is no JSON, or nested too deeply.
    """
    return parse_json(read_text(path))


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def cannot_read(path: Path, error: OSError) -> InputError:
    """The error for a file or folder that the system refuses to read."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"no such file or folder: {path}", hint="check the path")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path} cannot be read: {reason}", hint="check its permissions")


def _limit(variable: str, unit: float, *, default: int) -> int:
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{variable} is {text!r}", hint="set it to a positive number, or not")
    return int(value * unit)
