"""Pictures: 16-bit depth PNG, mask PNG, 8-bit JPEG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError, UsageError
from align3r.io.images import cannot_read, decode

_MAX = 65535


def write_depth_png(depth: np.ndarray, path: Path, *, per_unit: float = 1000.0) -> None:
    """Write z-depth as 16-bit PNG of `depth * per_unit`, 0 = unknown.

    Depth outside what 16 bits hold (1 to 65535 after scaling) is clipped to it, so that only
    unknown depth reads back as unknown.

    Args:
        depth: (H, W) float; nan where unknown.
        path: File to write.
        per_unit: Grey levels to one unit of depth; 1000 makes metres into millimetres.

    Raises:
        UsageError: `per_unit` is not positive.
        OSError: The file cannot be written.
    """
    if not per_unit > 0:
        raise UsageError(f"a depth scale of {per_unit:g} is not positive", hint="try 1000")
    known = ~np.isnan(depth)
    levels = np.clip(np.rint(np.where(known, depth, 0.0) * per_unit), 1, _MAX)
    _write(".png", np.where(known, levels, 0).astype(np.uint16), path)


def read_depth_png(path: Path, *, per_unit: float = 1000.0) -> np.ndarray:
    """Read a 16-bit depth PNG as (H, W) float32; 0 becomes nan.

    Raises:
        InputError: The file is missing, damaged, or not one channel of 16 bits.
    """
    levels = _read(path)
    if levels.dtype != np.uint16 or levels.ndim != 2:
        channels = 1 if levels.ndim == 2 else levels.shape[2]
        raise InputError(
            f"{path} is not a 16-bit depth image: it has {channels} channel"
            f"{'s' if channels > 1 else ''} of {8 * levels.dtype.itemsize} bits",
            hint="wanted: one channel, uint16",
        )
    return np.where(levels == 0, np.nan, levels / per_unit).astype(np.float32)


def write_mask_png(moving: np.ndarray, path: Path) -> None:
    """Write (H, W) bool as PNG, 255 = moving.

    Raises:
        OSError: The file cannot be written.
    """
    _write(".png", moving.astype(np.uint8) * 255, path)


def read_mask_png(path: Path) -> np.ndarray:
    """Read a mask as (H, W) bool; True = moving (white).

    Raises:
        InputError: The file is missing or damaged.
    """
    levels = _read(path)
    if levels.dtype != np.uint8 or levels.ndim != 2:
        raise InputError(f"{path} is not a mask", hint="wanted: one channel of 8 bits")
    return levels >= 128


def write_jpg(rgb: np.ndarray, path: Path, *, quality: int = 92) -> None:
    """Write (H, W, 3) uint8 RGB as JPEG.

    Raises:
        OSError: The file cannot be written.
    """
    _write(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), path, (cv2.IMWRITE_JPEG_QUALITY, quality))


def write_image(rgb: np.ndarray, path: Path, *, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB as PNG or JPEG, whichever the suffix says.

    Raises:
        OSError: The file cannot be written.
    """
    if path.suffix == ".png":
        _write(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), path)
    else:
        write_jpg(rgb, path, quality=quality)


def encode_png(image: np.ndarray) -> bytes:
    """A PNG file of (H, W) uint8 or uint16."""
    return bytes(cv2.imencode(".png", image)[1].tobytes())


def _write(suffix: str, image: np.ndarray, path: Path, options: tuple[int, ...] = ()) -> None:
    # Encoded in memory: cv2.imwrite hides why a file cannot be written.
    path.write_bytes(cv2.imencode(suffix, image, options)[1].tobytes())


def _read(path: Path) -> np.ndarray:
    try:
        missing = not path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise cannot_read(path, error) from error
    if missing:
        raise InputError(f"{path} is missing", hint="the result is damaged: reconstruct again")
    return decode(path, cv2.IMREAD_UNCHANGED)
