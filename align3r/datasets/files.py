"""What the readers share: files by number, texts of numbers, poses that are poses, sizes.

Patterns are paths from the root with one `*` in the last part, which stands for the number of a
frame: `training/clean/alley_2/frame_*.png`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from align3r.errors import InputError, UsageError, first_line
from align3r.io.files import cannot_read, check_inside, read_bytes, read_text
from align3r.io.image_header import declared_size
from align3r.io.images import decode

_RIGID = 1e-3
"""Largest miss of R^T R from the identity: texts with 4 decimals miss by 3e-4."""
_NO_ROTATION = 1e-6


@contextmanager
def reading(path: Path, *, hint: str = "copy the file again") -> Iterator[None]:
    """Inside, what a parser raises about a file becomes an InputError that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}", hint=hint) from error


def check_sequence(name: str, there: Sequence[str], root: Path) -> None:
    """Refuse a sequence that is not there.

    Raises:
        InputError: It is none of those `there`.
    """
    if name not in there:
        few = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        raise InputError(
            f"there is no sequence {name!r} under {root}",
            hint=f"there are {len(there)}: {few}" if there else "there is none at all",
        )


def check_choice(value: object, allowed: Sequence[object], what: str) -> None:
    """Refuse a setting of a reader that does not exist.

    Raises:
        UsageError: It is none of those `allowed`.
    """
    if value not in allowed:
        raise UsageError(
            f"{what} {value!r} does not exist", hint=f"one of {', '.join(map(str, allowed))}"
        )


def folders(root: Path, pattern: str) -> list[str]:
    """Folders under a root that a glob pattern finds, as paths from the root, sorted.

    Raises:
        InputError: A folder on the way may not be looked into.
    """
    try:
        return sorted(at.relative_to(root).as_posix() for at in root.glob(pattern) if at.is_dir())
    except OSError as error:
        raise cannot_read(root, error) from error


def numbers(root: Path, pattern: str) -> list[str]:
    """What the `*` stands for in the files that are there, as written, in order of the numbers.

    Raises:
        InputError: The folder is there but cannot be listed.
    """
    before, after = PurePosixPath(pattern).name.split("*")
    wanted = re.compile(re.escape(before) + r"([0-9]{1,18})" + re.escape(after))
    found = (wanted.fullmatch(name) for name in _entries((root / pattern).parent))
    return sorted((match[1] for match in found if match), key=lambda text: (int(text), text))


def files(root: Path, pattern: str, frames: Sequence[str]) -> tuple[Path, ...]:
    """The file of each frame, where the `*` stands for what the frame is called.

    Raises:
        InputError: Files are missing: how many, and the first.
    """
    paths = tuple(root / pattern.replace("*", frame) for frame in frames)
    check_there(paths, root, what=f"files {pattern}")
    return paths


def check_there(paths: Sequence[Path], root: Path, *, what: str = "files") -> None:
    """Refuse files of a root that are not there; each folder is listed once.

    Raises:
        InputError: Some are missing: how many, and the first.
    """
    there = {folder: _entries(folder) for folder in {path.parent for path in paths}}
    missing = [path for path in paths if path.name not in there[path.parent]]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(paths)} {what} are missing under {root}, the first is "
            f"{missing[0].relative_to(root).as_posix()}",
            hint="download or unpack that part of the data set again",
        )


def inside(folder: Path, name: str) -> Path:
    """The path of a file that a list of the data names.

    Raises:
        InputError: It leads out of the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or set(name) & set(":\0"):
        raise InputError(
            f"a list in {folder} names a file outside of it: {name!r}",
            hint="the files of a sequence are in its folder: download its lists again",
        )
    try:
        check_inside(folder / parts, folder)
    except OSError as error:  # a name that is too long
        raise cannot_read(folder / parts, error) from error
    return folder / parts


def read_rows(path: Path, *, skip: int = 0) -> list[list[str]]:
    """The words of each line of a text, without empty lines and those that start with `#`.

    Raises:
        InputError: It cannot be read.
    """
    with reading(path):
        lines = [line.split() for line in read_text(path).splitlines()[skip:]]
    return [words for words in lines if words and not words[0].startswith("#")]


def read_numbers(
    path: Path, columns: int, *, skip: int = 0, finite: bool = True, empty: bool = False
) -> np.ndarray:
    """(N, columns) float64 of a text with a row of numbers a line.

    Args:
        path: The file; empty lines and lines that start with `#` are left out.
        columns: Numbers a line.
        skip: Lines at the top that are no numbers.
        finite: Whether nan and infinity are refused.
        empty: Whether no rows at all are fine.

    Raises:
        InputError: It cannot be read or holds something else.
    """
    rows = read_rows(path, skip=skip)
    with reading(path):
        if not rows and not empty:
            raise ValueError("it holds no numbers")
        wrong = next((row for row in rows if len(row) != columns), None)
        if wrong is not None:
            raise ValueError(f"{len(wrong)} numbers in a line instead of {columns}")
        table = np.array(rows, dtype=np.float64).reshape(-1, columns)
        if finite and not np.isfinite(table).all():
            raise ValueError("not all of its numbers are finite")
    return table


def rigid(matrices: np.ndarray, origin: Path) -> np.ndarray:
    """(N, 4, 4) float64 of (N, 3, 4) or (N, 4, 4) that are rigid motions, from a file.

    Raises:
        InputError: One of them is something else.
    """
    matrices = np.asarray(matrices, np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] not in ((3, 4), (4, 4)):
        raise InputError(
            f"{origin} holds poses of shape {matrices.shape}", hint="wanted: (N, 4, 4)"
        )
    out = np.tile(np.eye(4), (len(matrices), 1, 1))
    out[:, : matrices.shape[1]] = matrices
    turn = out[:, :3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        miss = np.abs(np.swapaxes(turn, 1, 2) @ turn - np.eye(3)).max(axis=(1, 2), initial=0)
        good = (miss <= _RIGID) & (np.linalg.det(turn) > 0) & np.isfinite(out).all(axis=(1, 2))
    good &= (np.abs(out[:, 3] - [0, 0, 0, 1]) <= _RIGID).all(axis=1)
    if not good.all():
        raise InputError(
            f"{int((~good).sum())} of the {len(out)} poses of {origin} are no rigid motions, the "
            f"first is number {int(good.argmin())} from 0",
            hint="download the file again",
        )
    return out


def rigid_from_quaternions(rows: np.ndarray, origin: Path) -> np.ndarray:
    """(N, 4, 4) float64 of (N, 7): position, quaternion x y z w of any length but zero.

    Raises:
        InputError: A quaternion is zero.
    """
    with np.errstate(over="ignore"):
        length = np.linalg.norm(rows[:, 3:], axis=1)
    if not ((length >= _NO_ROTATION) & (length < np.inf)).all():
        raise InputError(f"a quaternion of {origin} is zero", hint="download the file again")
    out = np.tile(np.eye(4), (len(rows), 1, 1))
    if len(rows):
        out[:, :3, :3] = Rotation.from_quat(rows[:, 3:]).as_matrix()
    out[:, :3, 3] = rows[:, :3]
    return out


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) that an image file says it has.

    Raises:
        InputError: It cannot be read or says nothing.
    """
    with reading(path):
        return declared_size(read_bytes(path))


def check_size(array: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """The array (H, W, ...) of a file, if it is as large as the images.

    Raises:
        InputError: It is not.
    """
    if array.shape[1::-1] != size:
        raise InputError(
            f"{path} is {array.shape[1]}x{array.shape[0]} pixels, the images are "
            f"{size[0]}x{size[1]}",
            hint="take images and depth of the same release",
        )
    return array


def read_uint16(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint16 levels of a 16-bit grey image of (width, height).

    Raises:
        InputError: It cannot be read or is something else.
    """
    levels = decode(path, cv2.IMREAD_UNCHANGED)
    if levels.dtype != np.uint16 or levels.ndim != 2:
        raise InputError(f"{path} is not a 16-bit image", hint="wanted: one channel, uint16")
    return check_size(levels, size, path)


def _entries(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    except OSError as error:
        raise cannot_read(folder, error) from error
