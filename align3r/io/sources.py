"""What the user pointed at: a video, or a list of images with or without times."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align3r.errors import InputError
from align3r.io.files import check_regular, read_text
from align3r.io.images import IMAGE_SUFFIXES, cannot_read, images_in, natural_key

# A Path has lost one of the two slashes.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)

Source = str | Path | Sequence[str | Path]
"""A video, a folder of images, a glob pattern, a .txt list, an image, or a list of images."""


@dataclass(frozen=True)
class ResolvedSource:
    """The files behind a source."""

    name: str
    """For people."""
    paths: tuple[Path, ...]
    """One video, or the images in order."""
    is_video: bool
    """Whether `paths` is one video."""
    times: np.ndarray | None = None
    """(N,) float64 seconds of the images, when the list gave them."""


def resolve_source(source: Source) -> ResolvedSource:
    """Find out what a source is and which files belong to it. Decodes nothing.

    Raises:
        InputError: Nothing is there, it may not be read, it is empty, or a list makes no sense.
    """
    if not isinstance(source, str | Path):
        return _of_list([Path(path) for path in source])
    check_no_address(source)
    path = Path(source).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.exists()
    except OSError as error:
        raise cannot_read(path, error) from error
    if is_folder:
        return ResolvedSource(path.resolve().name, tuple(images_in(path)), is_video=False)
    if is_file:
        return _of_file(path)
    if glob.has_magic(str(path)):
        return _of_pattern(path)
    raise InputError(f"no such file or folder: {path}", hint="check the path")


def check_no_address(source: str | Path) -> None:
    """Refuse what is in the network: nothing is downloaded here.

    Raises:
        InputError: It is an address such as https://..., and no file of that name is there.
    """
    found = _ADDRESS.match(str(source))
    if not found:
        return
    try:
        is_there = Path(source).exists()
    except OSError:  # a name that is too long
        is_there = False
    if not is_there:
        local = found[1].lower() == "file"
        raise InputError(
            f"{source} is an address, and only files are read",
            hint="give the path of the file" if local else "download it first, such as with yt-dlp",
        )


def absolute_source(source: Source) -> str | list[str]:
    """The same source from any folder: what an export reads images at their full size from."""
    if not isinstance(source, str | Path):
        return [str(Path(path).expanduser().absolute()) for path in source]
    return str(Path(source).expanduser().absolute())


def _of_file(path: Path) -> ResolvedSource:
    _check_readable(path)
    if path.suffix.lower() == ".txt":
        return _of_text(path)
    is_video = path.suffix.lower() not in IMAGE_SUFFIXES
    return ResolvedSource(path.name, (path,), is_video=is_video)


def _of_list(paths: list[Path]) -> ResolvedSource:
    if not paths:
        raise InputError("the list of inputs is empty", hint="give at least one image or a video")
    if len(paths) == 1:
        return resolve_source(paths[0])
    for path in paths:
        check_no_address(path)
        _check_readable(path)
    return ResolvedSource(f"{len(paths)} images", tuple(paths), is_video=False)


def _of_pattern(pattern: Path) -> ResolvedSource:
    # glob.glob, not Path.glob: the pattern may be absolute and hold ** anywhere.
    found = [Path(name) for name in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207
    files = [path for path in found if path.is_file()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if len(files) == 1:
        return _of_file(files[0])
    if not images:
        raise InputError(
            f"the pattern {pattern} matches {len(files)} files and no image",
            hint="quote the pattern, and give one video at a time",
        )
    images.sort(key=lambda path: (str(path.parent), natural_key(path)))
    return ResolvedSource(str(pattern), tuple(images), is_video=False)


def _of_text(path: Path) -> ResolvedSource:
    """A list file: one path a line, or `timestamp path` as in TUM's rgb.txt; # is a comment."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except ValueError as error:
        raise InputError(f"{path} is not a text file", hint="write one path a line") from error
    entries = [_entry(line) for line in lines if line and not line.startswith("#")]
    if not entries:
        raise InputError(f"the list {path} names no image", hint="write one path a line")
    timed = sum(time is not None for time, _ in entries)
    if timed not in (0, len(entries)):
        raise InputError(
            f"{timed} of {len(entries)} lines of {path} have a time", hint="give all or none"
        )
    paths = [path.parent / name for _, name in entries]
    for image in paths:
        _check_readable(image)
    if not timed:
        return ResolvedSource(path.name, tuple(paths), is_video=False)
    times = np.array([time for time, _ in entries], np.float64)
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise InputError(f"the times in {path} do not increase", hint="sort the lines by time")
    return ResolvedSource(path.name, tuple(paths), is_video=False, times=times)


def _entry(line: str) -> tuple[float | None, str]:
    first, _, rest = line.partition(" ")
    try:
        return (float(first), rest.strip()) if rest.strip() else (None, line)
    except ValueError:
        return None, line


def _check_readable(path: Path) -> None:
    check_regular(path)
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise cannot_read(path, error) from error
    if not first:
        raise InputError(f"{path} is empty (0 bytes)", hint="write or copy the file again")
