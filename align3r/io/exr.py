"""Depth with confidence as OpenEXR: channel Z float32, channel confidence half, lossless ZIP."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import OpenEXR

from align3r.errors import InputError

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
        InputError: The file is missing, damaged, or has other channels.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing", hint="the result is damaged: reconstruct again")
    try:
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
        depth, confidence = channels["Z"].pixels, channels["confidence"].pixels
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        raise _damaged(path) from error
    # A file that is cut short is read without an exception, but with no pixels.
    if depth is None or confidence is None or depth.shape != confidence.shape or depth.ndim != 2:
        raise _damaged(path)
    return np.asarray(depth, np.float32), np.asarray(confidence, np.float32)


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is damaged or has no channels Z and confidence",
        hint="the result is damaged: reconstruct again",
    )
