"""JPEGs out of a tar archive, one after the other: nothing is unpacked to the disk."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.io.files import cannot_read, check_bytes, check_regular
from align3r.io.images import decode_bytes

_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_BLOCK = 512


def stream_tar_images(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, np.ndarray]]:
    """The JPEGs of a tar archive whose file names match, in its order.

    Yields:
        The file name without folder and suffix, and (H, W, 3) uint8 RGB.

    Raises:
        InputError: The archive is damaged or cut short, holds a link, a device or a name that
            leads out of it, or one that cannot be decoded.
    """
    check_regular(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error
    with file:
        for member, data in _members(path, file, wanted):
            yield PurePosixPath(member).stem, _decode(data, f"{member} in {path}")


def _members(path: Path, file: IO[bytes], wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                _check(member, path)
                if wanted.fullmatch(PurePosixPath(member.name).name) and not member.isdir():
                    check_bytes(path, member.size)
                    stream = archive.extractfile(member)
                    yield member.name, b"" if stream is None else stream.read()
            # tarfile takes a damaged header for the end; the true end is a block of zeros.
            file.seek(archive.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("it has no end")
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"{path} is no whole tar archive: {error}", hint="download it again"
        ) from error


def _check(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise InputError(
            f"{path} holds a file outside of its folder: {member.name!r}",
            hint="download the archive from its own page",
        )
    if member.type not in _PLAIN and not member.isdir():
        raise InputError(
            f"{path} holds {member.name!r}, which is no plain file",
            hint="an archive of images has no links and no devices: download it again",
        )


def _decode(data: bytes, what: str) -> np.ndarray:
    if not data.startswith(b"\xff\xd8"):
        raise InputError(
            f"{what} is not an image that can be decoded: it is no JPEG", hint="download it again"
        )
    return np.asarray(cv2.cvtColor(decode_bytes(data, cv2.IMREAD_COLOR, what), cv2.COLOR_BGR2RGB))
