"""Folders that are written whole or not at all, and errors of the disk in words."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from align3r.errors import InputError, UsageError
from align3r.io.places import check_not_inside, check_only_ours

_RESULTS = ("scene.json", "shots.json")
"""What a folder holds that may be replaced: a result, or the results of all shots of a video."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def whole_or_nothing(
    out: Path, *, overwrite: bool = False, check: Callable[[], None] | None = None
) -> Iterator[Path]:
    """Give a scratch folder beside `out` that becomes `out` only if the block succeeds.

    If the block raises, the scratch folder is removed and `out` is as it was. An old `out` is
    removed only after the new one is in place. `check` decides in place of `overwrite` whether
    there may be an old one: it raises if not.

    Raises:
        UsageError: `out` exists and `overwrite` is off, or `out` is something else than a result.
        InputError: The place cannot be written, or there is no space left.
    """
    scratch, old = out.with_name(f".{out.name}.part"), out.with_name(f".{out.name}.old")
    with disk_errors_in_words(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if old.exists() and not out.exists():
            old.rename(out)  # A run died between the two renames below.
        if check is None:
            check_free(out, overwrite=overwrite)
        else:
            check()
        _remove(scratch)
        scratch.mkdir()
        try:
            yield scratch
            _swap(scratch, out, old=old)
        except BaseException:
            _remove(scratch)
            raise


def move_into_place(finished: Path, out: Path) -> None:
    """Make a finished folder beside `out` be `out`; an old `out` is removed after that.

    Raises:
        InputError: The place cannot be written.
    """
    with disk_errors_in_words(out):
        _swap(finished, out, old=out.with_name(f".{out.name}.old"))


def check_output(out: str | Path, overwrite: bool) -> None:
    """Find out, before any work is done, whether a result folder could be written.

    Raises:
        UsageError: `out` exists and `overwrite` is off, or `out` is something else than a result.
        InputError: The place cannot be written.
    """
    out = Path(out)
    check_free(out, overwrite=overwrite)
    place = next((folder for folder in out.absolute().parents if folder.exists()), Path("/"))
    if not place.is_dir():
        raise InputError(f"{place} is a file, not a folder", hint="choose another place with -o")
    # Trying is the only test that covers permissions, read-only disks and full ones alike.
    try:
        with disk_errors_in_words(out), tempfile.TemporaryDirectory(dir=place, prefix=".align3r."):
            pass
    except FileNotFoundError as error:  # what /proc and its like answer; names the trial folder
        raise InputError(
            f"{out} cannot be written: {place} takes no new folders",
            hint="choose another place with -o",
        ) from error


def check_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a taken place: overwriting replaces results, never anything else.

    Raises:
        UsageError: `out` exists and `overwrite` is off, `out` is something else than a result or
            holds more than one, or the current folder lies in it.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} exists and is not a folder", hint="choose another place with -o")
    if not out.exists():
        return
    check_not_inside(out)
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{out} exists already", hint="add --overwrite, or choose another with -o")
    if not any((out / name).is_file() for name in _RESULTS):
        raise UsageError(
            f"{out} is not a result of align3r and will not be replaced",
            hint="choose another place with -o",
        )
    check_only_ours(out)


@contextmanager
def disk_errors_in_words(path: Path) -> Iterator[None]:
    """Turn "no space", "read-only" and "permission denied" into errors a person understands.

    Raises:
        InputError: The block met one of the three; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"no space left on the disk of {path}", hint="make room, or choose another place"
            ) from error
        if error.errno in _REFUSED:
            reason = (error.strerror or "refused").lower()
            raise InputError(
                f"{path} cannot be written: {reason}", hint="choose another place with -o"
            ) from error
        raise


def _swap(scratch: Path, out: Path, *, old: Path) -> None:
    _remove(old)
    if out.exists():
        out.rename(old)
    try:
        scratch.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()  # What it leads to is none of ours.
    elif folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
