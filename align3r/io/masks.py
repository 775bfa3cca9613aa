"""Masks that the user made, white = moving, matched to the frames by number or by order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.io.images import images_in, read_grey
from align3r.io.lenses import Undistorter
from align3r.io.per_frame import check_aspect, match_to_frames
from align3r.types import Frames

_WHITE = 128


def read_masks(folder: str | Path, frames: Frames) -> np.ndarray:
    """Read one mask for every frame, at the working size, its distortion undone with the frame's.

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
    paths = match_to_frames(images_in(folder), frames, folder=folder, what="masks")
    masks = np.zeros((len(frames), *frames.images.shape[1:3]), bool)
    undistorter, lenses = Undistorter(), frames.lenses or (None,) * len(frames)
    for mask, path, lens in zip(masks, paths, lenses, strict=True):
        grey = read_grey(path)
        check_aspect(grey.shape, frames, path=path, what="mask")
        if lens is not None:
            grey = undistorter.apply(grey, lens)
        mask[:] = cv2.resize(grey, frames.size, interpolation=cv2.INTER_AREA) >= _WHITE
    return masks
