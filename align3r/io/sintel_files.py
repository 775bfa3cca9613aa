"""The binary files of MPI-Sintel: depth, cameras, and flow, which Middlebury has from the same pen.

All start with the number 202021.25 as float32 and are little endian.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from align3r.errors import InputError
from align3r.io.files import check_pixels, read_bytes

_TAG = struct.pack("<f", 202021.25)
_AGAIN = "copy the file again"
_UNKNOWN_FLOW = 1e9
"""Flow beyond this is unknown, as the Middlebury benchmark has it."""


def read_dpt(path: Path) -> np.ndarray:
    """(H, W) float32 z-depth of a .dpt file, as it is stored.

    Raises:
        InputError: It cannot be read, is cut short, too large, or something else.
    """
    return _read_map(path, channels=1)[..., 0]


def read_flo(path: Path) -> np.ndarray:
    """(H, W, 2) float32 flow in pixels of a .flo file; nan where it is unknown.

    Raises:
        InputError: It cannot be read, is cut short, too large, or something else.
    """
    flow = _read_map(path, channels=2)
    with np.errstate(invalid="ignore"):
        known = (np.abs(flow) <= _UNKNOWN_FLOW).all(axis=-1)
    flow[~known] = np.nan
    return flow


def read_cam(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) intrinsics and (3, 4) cam_from_world of a .cam file, float64.

    Raises:
        InputError: It cannot be read, is of another length, or something else.
    """
    numbers = np.frombuffer(_read(path, size=21 * 8), "<f8").astype(np.float64)
    return numbers[:9].reshape(3, 3), numbers[9:].reshape(3, 4)


def _read_map(path: Path, *, channels: int) -> np.ndarray:
    data = _read(path)
    width, height = struct.unpack_from("<ii", data) if len(data) >= 8 else (0, 0)
    if min(width, height) < 1:
        raise InputError(f"{path} says that it is {width}x{height} pixels", hint=_AGAIN)
    check_pixels(path, (width, height))
    _check_length(path, len(data) - 8, 4 * channels * width * height)
    values = np.frombuffer(data, "<f4", offset=8)
    return values.reshape(height, width, channels).astype(np.float32)


def _read(path: Path, *, size: int | None = None) -> bytes:
    """What comes after the tag: so many bytes, if it is known how many."""
    data = read_bytes(path)
    if not data.startswith(_TAG):
        raise InputError(f"{path} does not start like a file of MPI-Sintel", hint=_AGAIN)
    if size is not None:
        _check_length(path, len(data) - 4, size)
    return data[4:]


def _check_length(path: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise InputError(f"{path} has {found} bytes of numbers, not {wanted}", hint=_AGAIN)
