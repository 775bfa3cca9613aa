"""NumPy files from elsewhere: arrays of numbers alone, and none larger than it may be.

`numpy.load` takes the word of a file for how large its arrays are; here what a header says is
compared with what is there, and with a limit, before memory is taken. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from align3r.errors import InputError
from align3r.io.files import cannot_read, check_bytes, check_regular

_CHUNK = 1 << 24
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, in the byte order of this machine.

    Raises:
        InputError: The file cannot be opened, or is larger than `files.most_array_bytes`.
        ValueError: It is damaged, cut short, or holds something else than numbers.
    """
    check_regular(path)
    with _open(path) as file, _Reasons():
        return _read(file, path, size=path.stat().st_size)


def read_npz(
    path: Path, names: Sequence[str] | None = None, *, most_bytes: int | None = None
) -> dict[str, np.ndarray]:
    """Arrays of a .npz archive, in the byte order of this machine.

    Args:
        path: The archive; only members that are arrays are looked at, by name, wherever they would
            be unpacked to.
        names: Which arrays; None: all that hold numbers.
        most_bytes: Most bytes of the arrays; `files.most_array_bytes` when not given.

    Raises:
        InputError: The file cannot be opened, or is larger than `files.most_array_bytes`.
        ValueError: It is damaged, cut short, lacks an array, or holds something else than numbers.
    """
    check_regular(path)
    arrays: dict[str, np.ndarray] = {}
    taken = 0
    with _open(path) as opened, _Reasons(), zipfile.ZipFile(opened) as archive:
        members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        for name in members if names is None else names:
            if name not in members:
                raise ValueError(f"it lacks an array: {name}")
            try:
                with archive.open(members[name]) as file:
                    size = members[name].file_size
                    arrays[name] = _read(file, path, size=size, taken=taken, most=most_bytes)
            except NotNumbersError:
                if names is not None:
                    raise
                continue
            taken += arrays[name].nbytes
    return arrays


class NotNumbersError(ValueError):
    """An array of text, dates, records or objects."""


class _Reasons:
    """Inside, damaged files raise ValueError: parsers raise whatever they happen to meet."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, ValueError | InputError):
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(reason) from error


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error


def _read(
    file: IO[bytes], path: Path, *, size: int, taken: int = 0, most: int | None = None
) -> np.ndarray:
    """The array in a file of `size` bytes, after `taken` bytes of arrays from the same file."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format {version} is not that of an array of numbers")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.kind not in "biuf":
        raise NotNumbersError(f"it holds {dtype}, not numbers")
    if any(n < 0 for n in shape):
        raise ValueError(f"an array of shape {shape}")
    wanted = math.prod(shape) * dtype.itemsize
    if most is None:
        check_bytes(path, taken + wanted)
    elif taken + wanted > most:
        raise ValueError(f"{taken + wanted} bytes of arrays in {most}")
    if wanted > size:
        raise ValueError(f"it is cut short: {size} of {wanted} bytes")
    array = np.empty(math.prod(shape), dtype)
    _fill(array.view(np.uint8), file)
    # The end has to be met: only there is the checksum of an archive's member looked at.
    if file.read(1):
        raise ValueError("it is longer than its array")
    array = array.reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _fill(raw: np.ndarray, file: IO[bytes]) -> None:
    for start in range(0, len(raw), _CHUNK):
        part = raw[start : start + _CHUNK]
        data = file.read(len(part))
        if len(data) < len(part):
            raise ValueError(f"it is cut short: {start + len(data)} of {len(raw)} bytes")
        part[:] = np.frombuffer(data, np.uint8)
