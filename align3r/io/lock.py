"""One run at a time for one output: a lock that dies with its process."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from align3r.errors import InputError, UsageError
from align3r.io.whole import disk_errors_in_words

log = logging.getLogger(__name__)

_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK})
_ATTEMPTS = 100
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def one_run_at_a_time(out: Path) -> Iterator[None]:
    """Hold the output folder `out` against other runs while the block lasts.

    The lock is the operating system's, on the hidden file `.NAME.lock` beside `out`: it ends with
    the process, however that ends, so a killed run never stands in the way of the next. The file,
    and folders above `out` that were made for it and stay empty, are removed at the end.

    Raises:
        UsageError: Another run holds it.
        InputError: The place cannot be written.
    """
    path = out.with_name(f".{out.name}.lock")
    made = [folder for folder in out.parents if not folder.exists()]
    with disk_errors_in_words(out):
        file = _acquire(path, out)
    try:
        yield
    finally:
        _release(file, path)
        for folder in made:
            with suppress(OSError):  # It is not empty: the result is in there.
                folder.rmdir()


def _acquire(path: Path, out: Path) -> int:
    """The locked file. Whoever held it before may have removed it just before we locked it."""
    gone = 0
    for _ in range(_ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        except FileNotFoundError:
            gone += 1
            continue  # Another run removed the folder it had made.
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path.unlink(missing_ok=True)  # A link: what it leads to is none of ours.
            continue
        try:
            _lock(file, out)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    if gone < _ATTEMPTS:
        raise _busy(out)
    # Nobody removes a folder that often: it is one that takes no files, as those of /proc.
    raise InputError(
        f"{out} cannot be written: its folder takes no new files",
        hint="choose another place with -o",
    )


def _lock(file: int, out: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _busy(out) from error
        # Some network disks have no locks; that is no reason not to work on them.
        log.warning("the disk of %s has no locks (%s): start no second run there", out, error)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _release(file: int, path: Path) -> None:
    # Removed while it is locked, so that nobody locks a file that is about to go; Windows removes
    # no open file, which also keeps it from removing one that the next run has opened.
    if sys.platform == "win32":
        os.close(file)
    with suppress(OSError):
        path.unlink()
    if sys.platform != "win32":
        os.close(file)


def _busy(out: Path) -> UsageError:
    return UsageError(
        f"another run is writing {out}", hint="wait until it is done, or choose another with -o"
    )
