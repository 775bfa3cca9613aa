"""Masks that the user made, white = moving, matched to the frames by number or by order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.io.images import images_in, read_grey
from align3r.types import Frames

_WHITE = 128


def read_masks(folder: str | Path, frames: Frames) -> np.ndarray:
    """Read one mask for every frame, at the working size.

    A mask belongs to the frame whose number in the source is the mask's file name, if all file
    names are numbers and every frame has one. Else the masks belong to the frames in (natural)
    order, if there are as many.

    Returns:
        (N, h, w) bool; True = moving.

    Raises:
        InputError: The folder or a mask cannot be read, the masks do not match the frames, or a
            mask has another shape than the frames.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder of masks", hint="one image a frame, in a folder")
    paths = _matched(images_in(folder), frames, folder=folder)
    masks = np.zeros((len(frames), *frames.images.shape[1:3]), bool)
    for mask, path in zip(masks, paths, strict=True):
        grey = read_grey(path)
        _check_shape(grey, frames, path=path)
        mask[:] = cv2.resize(grey, frames.size, interpolation=cv2.INTER_AREA) >= _WHITE
    return masks


def _matched(paths: list[Path], frames: Frames, *, folder: Path) -> list[Path]:
    if all(path.stem.isdecimal() for path in paths):
        by_number = {int(path.stem): path for path in paths}
        if all(int(number) in by_number for number in frames.index):
            return [by_number[int(number)] for number in frames.index]
    if len(paths) == len(frames):
        return paths
    raise InputError(
        f"{folder} holds {len(paths)} masks for {len(frames)} frames",
        hint="give one mask a frame, or name the masks after the frame numbers of the source",
    )


def _check_shape(grey: np.ndarray, frames: Frames, *, path: Path) -> None:
    height, width = grey.shape
    if (width, height) in (frames.size, frames.source_size):
        return
    aspect = frames.source_size[0] / frames.source_size[1]
    if abs(width / height / aspect - 1) > 0.02:
        raise InputError(
            f"mask {path} is {width}x{height} pixels, the frames are "
            f"{frames.source_size[0]}x{frames.source_size[1]}",
            hint="masks must have the shape of the frames",
        )
