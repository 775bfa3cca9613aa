"""What a network says about single frames, computed once: teacher labels, prior maps."""

from __future__ import annotations

import hashlib
import logging
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from align3r.errors import InputError
from align3r.io.arrays import read_npz
from align3r.io.files import cannot_read

log = logging.getLogger(__name__)

_SLUG_LENGTH = 40
_CHUNK = 1 << 22
_HINT = "choose another folder for what is kept of frames: --teacher.labels, --prior.maps"


class FrameCache:
    """One file of arrays a frame: of one producer, one name and one image, in `folder`.

    Processes may share it: a file is there whole or not at all, and who comes second replaces it
    by the same.
    """

    def __init__(self, folder: Path, producer: str) -> None:
        """Open a cache; nothing is written yet.

        Args:
            folder: Of all producers; each has a folder of its own in it.
            producer: All that decides what is said about an image: network, digest of its weights,
                settings.

        Raises:
            InputError: There is a file in its way, or the place cannot be looked into.
        """
        _check_no_file(folder)
        slug = re.sub(r"[^A-Za-z0-9.-]+", "-", producer)[:_SLUG_LENGTH].strip("-.")
        self.folder = folder / f"{slug}-{hashlib.sha256(producer.encode()).hexdigest()[:16]}"

    def get(self, name: str, image: np.ndarray) -> dict[str, np.ndarray] | None:
        """What `put` kept of this frame; None when there is nothing, or it is damaged.

        Args:
            name: Of the frame.
            image: (H, W, 3) uint8 RGB: what another image of the same name left is not found.

        Raises:
            InputError: The folder cannot be looked into.
        """
        path = self._path(name, image)
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _refused(path, "read", error) from error
        try:
            # Arrays are stored as they are, so nothing can be larger than the file.
            return read_npz(path, most_bytes=size)
        except FileNotFoundError:
            return None
        except (ValueError, InputError) as error:
            log.warning("what is kept of %s in %s is damaged (%s): made again", name, path, error)
            # Where it may not be removed it cannot be made again either, and that is said then.
            with suppress(OSError):
                path.unlink()
            return None

    def put(self, name: str, image: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays of numbers for a frame; the file is there whole or not at all.

        Raises:
            InputError: The folder cannot be written, or there is no space left.
        """
        if any(array.dtype.kind not in "biuf" for array in arrays.values()):
            raise ValueError("only arrays of numbers can be kept: nothing is ever unpickled")
        path = self._path(name, image)
        part = path.with_name(f".{path.stem}.{uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                np.savez(file, **dict(arrays))  # type: ignore[arg-type]
            part.replace(path)
        except BaseException as error:
            with suppress(OSError):
                part.unlink()
            if isinstance(error, OSError):
                raise _refused(path.parent, "written", error) from error
            raise

    def has(self, name: str, image: np.ndarray) -> bool:
        """Whether something whole is kept of this frame; a bit in it may yet have turned."""
        path = self._path(name, image)
        return path.is_file() and zipfile.is_zipfile(path)

    def _path(self, name: str, image: np.ndarray) -> Path:
        digest = hashlib.sha256(f"{name}\0{image.dtype}\0{image.shape}\0".encode())
        digest.update(np.ascontiguousarray(image).data)
        key = digest.hexdigest()
        # Folders of a hundred thousand files are slow on many disks.
        return self.folder / key[:2] / f"{key[2:40]}.npz"


def weights_digest(path: Path) -> str:
    """SHA-256 of the content of weights, a file or a folder of files: 16 hex digits.

    Raises:
        InputError: A file cannot be read.
    """
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        try:
            # The name of a single file says nothing about what is in it.
            digest.update(f"{file.name if path.is_dir() else ''}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise cannot_read(file, error) from error
    return digest.hexdigest()[:16]


def _check_no_file(folder: Path) -> None:
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        is_folder = there.is_dir()
    except OSError as error:
        raise _refused(folder, "read", error) from error
    if not is_folder:
        raise InputError(f"{there} is a file, not a folder", hint=_HINT)


def _refused(path: Path, done: str, error: OSError) -> InputError:
    reason = (error.strerror or "refused").lower()
    return InputError(f"{path} cannot be {done}: {reason}", hint=_HINT)
