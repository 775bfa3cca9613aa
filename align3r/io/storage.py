"""Where large arrays live: in main memory, or in files that are mapped into it."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from align3r.io.whole import disk_errors_in_words
from align3r.meanwhile import now_and_then

_RELEASE_EVERY_S = 0.05


class MappedFiles:
    """Arrays in the files of one folder, NAME.npy, read and written like any other array.

    The system keeps in memory what fits and drops the rest; the space on the disk is taken at
    once, because a full disk cannot be told to a program that is writing to its memory.
    """

    def __init__(self, folder: Path, *, prepare: Callable[[], None] | None = None) -> None:
        """Use `folder`, which is made by `prepare` (or plainly) with the first array."""
        self._folder = folder
        self._prepare = prepare or (lambda: folder.mkdir(parents=True, exist_ok=True))
        self._given: dict[int, tuple[Path, np.memmap]] = {}
        self._left_behind: set[int] = set()

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array of this name; what an earlier process left in one of this shape is still there.

        Raises:
            InputError: The folder cannot be written, or there is no space left.
        """
        if 0 in shape:
            return np.empty(shape, dtype)
        path = self._folder / f"{name}.npy"
        if any(path == taken for taken, _ in self._given.values()):
            path = self._next_free(name)
        array = None if not path.exists() else _left_behind(path, shape, np.dtype(dtype))
        if array is None:
            with disk_errors_in_words(path):
                self._prepare()
                array = _created(path, shape, np.dtype(dtype))
        else:
            self._left_behind.add(_address(array))
        self._given[_address(array)] = (path, array)
        return array

    def open(self, file: str) -> np.ndarray:
        """The array of a file of the folder.

        Raises:
            ValueError: It is cut short, no array, or outside of the folder.
            OSError: It is not there.
        """
        path = self._folder / file
        if path.name != file:
            raise ValueError(f"{file!r} is no file of {self._folder}")
        array = _mapped(path)
        self._given[_address(array)] = (path, array)
        return array

    def file_of(self, array: np.ndarray) -> str | None:
        """The file of an array that was given out whole; None for any other array."""
        path, mapped = self._given.get(_address(array), (None, None))
        if path is None or mapped is None or mapped.nbytes != array.nbytes:
            return None
        return path.name

    def is_left_behind(self, array: np.ndarray) -> bool:
        """Whether `empty` found this array where an earlier process had left it."""
        return self.file_of(array) is not None and _address(array) in self._left_behind

    def flush(self) -> None:
        """Have everything on the disk itself, so that it outlives the machine's next failure."""
        for _, array in self._given.values():
            array.flush()

    def release(self) -> None:
        """Let go of the memory that the arrays have come to take; they are read again as needed."""
        for _, array in list(self._given.values()):
            if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                array.base.madvise(mmap.MADV_DONTNEED)

    def remove(self) -> None:
        """Remove all files; arrays that are still looked at stay readable."""
        for path, _ in self._given.values():
            path.unlink(missing_ok=True)
        self._given.clear()
        self._left_behind.clear()

    def _next_free(self, name: str) -> Path:
        """Another file for an array of a name whose first one may still be looked at."""
        taken = {path for path, _ in self._given.values()}
        numbered = (self._folder / f"{name}-{k}.npy" for k in range(2, len(taken) + 3))
        return next(path for path in numbered if path not in taken)


@dataclass(frozen=True)
class Storage:
    """Gives out arrays; those of some items are kept in files."""

    files: MappedFiles | None = None
    """None: everything is in main memory."""
    in_files: frozenset[str] = frozenset()
    """Items whose arrays are kept in files."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array to be filled.

        Args:
            name: ITEM.ARRAY, as in `predictions.points`.
            shape: Of the array.
            dtype: Of the array.

        Raises:
            InputError: The folder of the files cannot be written, or there is no space left.
        """
        if self.files is None or name.partition(".")[0] not in self.in_files:
            return np.empty(shape, dtype)
        return self.files.empty(name, shape, dtype)


@contextmanager
def released_now_and_then(*some: MappedFiles) -> Iterator[None]:
    """While the block runs, mapped arrays take no more memory than what is just being looked at.

    The system would drop their pages only when nothing else is left, and whoever looks at the
    process would see them as its own.
    """

    def release() -> None:
        for files in some:
            files.release()

    with now_and_then(release, every_s=_RELEASE_EVERY_S):
        yield


@contextmanager
def scratch_files() -> Iterator[MappedFiles]:
    """Files in the folder for large temporary ones, gone with the block.

    Arrays that are still looked at stay readable: their files have no names any more.
    """
    with tempfile.TemporaryDirectory(
        prefix="align3r-", dir=scratch_place(), ignore_cleanup_errors=True
    ) as folder:
        yield MappedFiles(Path(folder))


def scratch_place() -> Path:
    """Where large temporary files belong: TMPDIR, or /var/tmp, for /tmp is often in memory."""
    large = Path("/var/tmp")
    if not os.environ.get("TMPDIR") and large.is_dir() and os.access(large, os.W_OK):
        return large
    return Path(tempfile.gettempdir())


def free_disk_bytes(folder: Path) -> int:
    """What is free on the disk of `folder`, which need not exist."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(place).free


def taken_bytes(folder: Path) -> int:
    """What the files of `folder` take, which need not exist."""
    files = folder.glob("*") if folder.is_dir() else ()
    return sum(file.stat().st_size for file in files if file.is_file())


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _left_behind(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap | None:
    """The array in a file, if it is of this kind and whole."""
    with suppress(OSError, ValueError, EOFError):
        array = _mapped(path)
        if array.shape == shape and array.dtype == dtype:
            return array
    return None


def _mapped(path: Path) -> np.memmap:
    """The array in a file that is whole; see `MappedFiles.open`."""
    about = path.lstat()
    # Written through a link, arrays would replace what is somewhere else.
    if not stat.S_ISREG(about.st_mode):
        raise ValueError(f"{path} is no file of its own")
    try:
        array = np.load(path, mmap_mode="r+", allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # what the reader of a damaged header happens to meet
        raise ValueError(f"{path} is damaged: {error}") from error
    # NumPy makes a file that is cut short as long as its array.
    if not isinstance(array, np.memmap) or about.st_size != array.offset + array.nbytes:
        raise ValueError(f"{path} is cut short, or no array")
    return array


def _created(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    """A new file whose space is taken."""
    path.unlink(missing_ok=True)
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        _take_space(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return array


def _take_space(path: Path) -> None:
    """Have the disk set aside the size of the file, where the system can."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
