"""HDF5 files from elsewhere: one array of numbers by its name, and none larger than it may be.

An HDF5 file may lead into other files, promise arrays of any size, name filters that are code of
this machine, and unpack a chunk into a thousand times more than it says. Here an array is looked at
before any of it is read: it has to lie in the file itself, packed by the filters that NumPy files
of the data sets are packed with, at no more than they can pack.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from align3r.errors import InputError, MissingExtraError
from align3r.io.files import cannot_read, check_bytes, check_regular

_DEFLATE = 1
_FILTERS = {_DEFLATE: "gzip", 2: "shuffle", 3: "fletcher32"}
_MOST_DEFLATED = 1032
"""How many times smaller deflate can make an array."""
_OVERHEAD = 64
"""Bytes of a chunk besides what is packed."""
_MOST_CHUNKS = 4096
"""A full-HD map has some hundred; looking for the place of one takes as long as there are many."""


def read_hdf5(path: Path, name: str, *, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of numbers at the top of an HDF5 file, in the byte order of this machine.

    Args:
        path: The file.
        name: Of the array.
        shape: What its shape has to be; None where any length will do.

    Raises:
        InputError: The file is missing, damaged, cut short or larger than
            `files.most_array_bytes`, or the array is not there, of another shape, not of numbers,
            in another file, or packed in another way.
        MissingExtraError: h5py is not installed.
    """
    h5py = _h5py()
    check_regular(path)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise cannot_read(path, error) from error
    check_bytes(path, size)
    try:
        with h5py.File(path, "r", locking=False) as file:  # network drives may have no locks
            array = _find(h5py, file, name)
            _check(array, path, size=size, shape=shape)
            data: np.ndarray = array[()]
    except (InputError, MemoryError):
        raise
    except Exception as error:  # h5py reports damage by whatever class comes to hand
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path} is no HDF5 file with an array {name!r} that can be read: {reason}",
            hint="copy or download the file again",
        ) from error
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _find(h5py: Any, file: Any, name: str) -> Any:
    """The array of that name. Links are not followed: they may lead into another file."""
    link = file.get(name, getlink=True)
    if link is None:
        raise ValueError(f"it has {', '.join(sorted(map(str, file))[:5]) or 'nothing'}")
    if not isinstance(link, h5py.HardLink):
        raise ValueError("it is a link to somewhere else")
    array = file[name]
    if not isinstance(array, h5py.Dataset):
        raise ValueError("it is a group")
    return array


def _check(array: Any, path: Path, *, size: int, shape: tuple[int | None, ...]) -> None:
    """Refuse an array before any of it is read: of another kind, elsewhere, or too large."""
    there, kind = array.shape, array.dtype
    if there is None or kind.kind not in "iuf" or kind.itemsize > 8 or kind.subdtype is not None:
        raise ValueError(f"it holds {kind}, not numbers")
    if len(there) != len(shape) or any(
        n not in (None, m) for n, m in zip(shape, there, strict=True)
    ):
        raise ValueError(f"its shape is {there}, not {_in_words(shape)}")
    if array.external or array.is_virtual:
        raise ValueError("its numbers are in another file")
    filters = array.id.get_create_plist()
    codes = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if any(code not in _FILTERS for code in codes) or len(set(codes)) < len(codes):
        raise ValueError(f"it is packed by filters {codes}, not by {', '.join(_FILTERS.values())}")
    wanted = math.prod(there) * kind.itemsize
    check_bytes(path, wanted)
    packing = _MOST_DEFLATED if _DEFLATE in codes else 1
    if wanted > packing * size:
        raise ValueError(f"{size} bytes cannot hold an array of {wanted}")
    if array.chunks is not None:
        _check_chunks(array, math.prod(array.chunks) * kind.itemsize, packing=packing)


def _check_chunks(array: Any, unpacked: int, *, packing: int) -> None:
    """Refuse chunks that would unpack into more than `unpacked` bytes each.

    What unpacks a chunk takes as much memory as comes out, whatever the chunk should have.
    """
    if unpacked > packing * array.id.get_storage_size():
        raise ValueError(f"a chunk of {unpacked} bytes is larger than all that is there")
    count = array.id.get_num_chunks()
    if count > _MOST_CHUNKS:
        raise ValueError(f"{count} chunks are more than {_MOST_CHUNKS}")
    for index in range(count):
        chunk = array.id.get_chunk_info(index)
        if chunk.size > unpacked + _OVERHEAD + unpacked // 1000:
            raise ValueError(f"a chunk of {unpacked} bytes takes {chunk.size}")


def _in_words(shape: tuple[int | None, ...]) -> str:
    return "x".join("any" if n is None else str(n) for n in shape)


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise MissingExtraError(
            "HDF5 files need h5py, which is not installed",
            hint="pip install 'align3r[datasets]'",
        ) from error
