"""Folders with one file a frame: which file belongs to which frame, and whether it fits."""

from __future__ import annotations

from pathlib import Path

from align3r.errors import InputError
from align3r.types import Frames

_ASPECT_SLACK = 0.02


def match_to_frames(paths: list[Path], frames: Frames, *, folder: Path, what: str) -> list[Path]:
    """The file of every frame.

    A file belongs to the frame whose image has its name, endings aside, if every frame has one; or
    whose number in the source is the file's name, if all names are numbers and every frame has
    one. Else the files belong to the frames in their order, if there are as many.

    Args:
        paths: Files in natural order.
        frames: N frames.
        folder: Where the files are, for people.
        what: What the files hold ("masks"), for people.

    Raises:
        InputError: The files do not match the frames.
    """
    stems = [Path(name).stem for name in frames.names]
    by_stem = {path.stem: path for path in paths}
    if stems and len(set(stems)) == len(stems) and all(stem in by_stem for stem in stems):
        return [by_stem[stem] for stem in stems]
    if all(path.stem.isdecimal() for path in paths):
        by_number = {int(path.stem): path for path in paths}
        if all(int(number) in by_number for number in frames.index):
            return [by_number[int(number)] for number in frames.index]
    if len(paths) == len(frames):
        return paths
    raise InputError(
        f"{folder} holds {len(paths)} {what} for {len(frames)} frames",
        hint=f"give one file a frame, or name the {what} after the frame numbers of the source, "
        "counted from 0, or after its images",
    )


def check_aspect(shape: tuple[int, ...], frames: Frames, *, path: Path, what: str) -> None:
    """Refuse a map of another shape than the frames; its resolution is free.

    Raises:
        InputError: (height, width) have an aspect that is off by more than 2 %.
    """
    height, width = shape
    if (width, height) in (frames.size, frames.source_size):
        return
    aspect = frames.source_size[0] / frames.source_size[1]
    if abs(width / height / aspect - 1) > _ASPECT_SLACK:
        raise InputError(
            f"{what} {path} is {width}x{height} pixels, the frames are "
            f"{frames.source_size[0]}x{frames.source_size[1]}",
            hint=f"a {what} must have the shape of the frames",
        )
