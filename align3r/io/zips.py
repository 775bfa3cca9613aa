"""Zip files written piece by piece, with the same bytes every time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

Streamed = tuple[tuple[int, ...], np.dtype, Iterable[np.ndarray]]
"""Shape and type of an array, and its slices along the first axis, in order."""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new zip file that holds its files as they are: what goes in is packed already.

    Raises:
        OSError: The file cannot be written.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        yield archive


def add_file(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file without the time of day, which would make every zip another one."""
    archive.writestr(zipfile.ZipInfo(name), data)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray | Streamed]) -> None:
    """Write what `np.load` reads, without ever holding a streamed array.

    Args:
        path: The .npz to write.
        arrays: Arrays, or (shape, dtype, slices) of those that are too large.

    Raises:
        ValueError: The slices of an array are not as many, or not as large, as its shape says.
        OSError: The file cannot be written.
    """
    with open_zip(path) as archive:
        for name, array in arrays.items():
            if isinstance(array, np.ndarray):
                array = (array.shape, array.dtype, array[None] if array.ndim == 0 else array)
            _add_array(archive, f"{name}.npy", array)


def _add_array(archive: zipfile.ZipFile, name: str, array: Streamed) -> None:
    shape, dtype, slices = array
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        count = 0
        for part in slices:
            if part.shape != shape[1:]:
                raise ValueError(f"a slice of {name} is {part.shape}, not {shape[1:]}")
            file.write(np.ascontiguousarray(part, dtype).tobytes())
            count += 1
        if count != (shape[0] if shape else 1):
            raise ValueError(f"{name} has {count} slices, not {shape[:1]}")
