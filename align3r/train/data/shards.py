"""Photographs of a shard of SA-1B, any of them, without reading those before it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import cv2
import numpy as np

from align3r.datasets.files import numbers
from align3r.errors import InputError
from align3r.io.files import cannot_read, check_bytes, check_regular
from align3r.io.images import decode_bytes, read_rgb

_IMAGE = re.compile(r"sa_[0-9]{1,18}\.jpg")
_BLOCK = 512
"""Bytes: members of an archive start at multiples of it."""


@dataclass(frozen=True)
class Shard:
    """Images that can be read by their number; files are open only while they are read."""

    length: int
    """How many."""
    read: Callable[[int], tuple[str, np.ndarray]]
    """Number -> what the data set calls the image, and (H, W, 3) uint8 RGB."""


def open_shard(root: Path, name: str) -> Shard:
    """A shard, from the folder of its name if that holds images, else from its archive.

    The headers of an archive are read once, and four bytes an image are kept of them.

    Raises:
        InputError: It is not there, damaged, or holds no image.
    """
    found = numbers(root, f"{name}/sa_*.jpg")
    if found:
        files = [root / name / f"sa_{number}.jpg" for number in found]
        return Shard(len(files), lambda i: (files[i].stem, read_rgb(files[i])))
    archive = root / f"{name}.tar"
    blocks = _index(archive)
    if not len(blocks):
        raise InputError(f"{archive} holds no sa_<id>.jpg", hint="download it again")
    return Shard(len(blocks), lambda i: _read_member(archive, int(blocks[i]) * _BLOCK))


def _index(path: Path) -> np.ndarray:
    """(N,) uint32 blocks at which the images of an archive start, in its order."""
    with _reading(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        starts = [
            member.offset // _BLOCK
            for member in _members(archive)
            if _IMAGE.fullmatch(PurePosixPath(member.name).name)
        ]
        # tarfile takes a damaged header for the end; the true end is a block of zeros.
        file.seek(archive.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError("it has no end")
    return np.array(starts, np.uint32)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if member.isfile():
            yield member
        elif not member.isdir():
            raise tarfile.ReadError(f"it holds {member.name!r:.80}, which is no plain file")


def _read_member(path: Path, start: int) -> tuple[str, np.ndarray]:
    with _reading(path) as file:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            member = archive.next()
            stream = None if member is None else archive.extractfile(member)
            if member is None or stream is None or not member.isfile():
                raise tarfile.ReadError("it has changed since it was indexed")
            check_bytes(path, member.size)
            data = stream.read()
    what = f"{member.name} in {path}"
    if not data.startswith(b"\xff\xd8"):
        raise InputError(f"{what} is no JPEG", hint="download the archive again")
    image = decode_bytes(data, cv2.IMREAD_COLOR, what)
    return PurePosixPath(member.name).stem, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """An archive that is open inside; what tarfile raises becomes an InputError."""
    check_regular(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error
    try:
        with file:
            yield file
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"{path} is no whole tar archive: {error}", hint="download it again"
        ) from error
