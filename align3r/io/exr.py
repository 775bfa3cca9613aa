"""Depth with confidence as OpenEXR: channel Z float32, channel confidence half, lossless ZIP."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import OpenEXR

from align3r.errors import InputError
from align3r.io.files import check_bytes, check_pixels, check_regular

_HALF_MAX = float(np.finfo(np.float16).max)


def write_exr(depth: np.ndarray, confidence: np.ndarray, path: Path) -> None:
    """Write z-depth and confidence of one frame.

    Args:
        depth: (H, W) float32; nan where unknown, kept bit for bit.
        confidence: (H, W); rounded to half precision.
        path: File to write.

    Raises:
        OSError: The file cannot be written.
    """
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    channels = {
        "Z": np.ascontiguousarray(depth, np.float32),
        "confidence": np.minimum(confidence, _HALF_MAX).astype(np.float16),
    }
    # OpenEXR does not notice when the last bytes find no room, so there must be enough for all.
    if shutil.disk_usage(path.parent).free < sum(pixels.nbytes for pixels in channels.values()):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
    try:
        OpenEXR.File(header, channels).write(str(path))
    except RuntimeError as error:
        # The reason is told in words only; a full disk must stay recognisable.
        code = errno.ENOSPC if "No space" in str(error) else errno.EIO
        raise OSError(code, str(error), str(path)) from error


def read_exr(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read z-depth (H, W) float32 and confidence (H, W) float32.

    Raises:
        InputError: The file is missing, damaged, too large, or has other channels.
    """
    if not path.exists():
        raise InputError(f"{path} is missing", hint="the result is damaged: reconstruct again")
    try:
        channels = read_channels(path)
    except ValueError as error:
        raise _wrong(path, str(error)) from error
    if not {"Z", "confidence"} <= set(channels):
        raise _wrong(path, f"its channels are {', '.join(sorted(channels))}, not Z and confidence")
    depth, confidence = channels["Z"], channels["confidence"]
    if depth.shape != confidence.shape or depth.ndim != 2:
        raise _wrong(path, f"Z is of {depth.shape} values, confidence of {confidence.shape}")
    return np.asarray(depth, np.float32), np.asarray(confidence, np.float32)


def read_channels(path: Path) -> dict[str, np.ndarray]:
    """The channels of an EXR file of one part with one value a pixel, by name.

    The library takes memory for as many pixels as the header promises; so its header is read first.

    Raises:
        InputError: The file cannot be opened, or is larger than `files.most_pixels` or
            `files.most_array_bytes`.
        ValueError: It is damaged, cut short, no EXR file, or of a kind that is not read: several
            parts, deep pixels.
    """
    check_regular(path)
    try:
        parts = OpenEXR.File(str(path), header_only=True).parts
        _check_kind(parts)
        total = 0
        for part in parts:
            (left, top), (right, bottom) = ((int(x), int(y)) for x, y in part.header["dataWindow"])
            size = (right - left + 1, bottom - top + 1)
            check_pixels(path, size)
            total += 4 * size[0] * size[1] * len(part.header["channels"])
        check_bytes(path, total)
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
        found = {name: channel.pixels for name, channel in channels.items()}
    except InputError:
        raise
    except Exception as error:  # the library raises whatever it happens to meet
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from error
    # A file that is cut short is read without an exception, but with no pixels.
    if any(pixels is None for pixels in found.values()):
        raise ValueError("it is cut short")
    return {name: np.asarray(pixels) for name, pixels in found.items()}


def _check_kind(parts: list[OpenEXR.Part]) -> None:
    if len(parts) > 1:
        names = ", ".join(str(part.name()) for part in parts[:8])
        raise ValueError(f"it has {len(parts)} parts ({names}), and files of one part are read")
    if any(part.type() in (OpenEXR.deepscanline, OpenEXR.deeptile) for part in parts):
        raise ValueError("its pixels are deep, and files of one value a pixel are read")


def _wrong(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged, or no depth map of a result: {reason}",
        hint="the result is damaged: reconstruct again",
    )
