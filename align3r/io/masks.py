"""Masks that the user made, white = moving, matched to the frames by number or by order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.io.images import decode, images_in
from align3r.io.lenses import Undistorter
from align3r.io.per_frame import check_aspect, match_to_frames
from align3r.types import Frames

_WHITE = 128
_NEARLY = 32
"""Levels that soft edges and JPEG leave between black or white and what is taken for it."""
_FEW_LEVELS = 8
_FEW_COLOURS = 64
"""A picture has thousands; labels have one for each thing that moves."""
_SOFT_PART = 0.2
"""Of a mask's pixels that may be neither black nor white: edges, blurred ones too."""
_HINT = "a mask is black and white, white = moving, or has one plain colour a thing on black"


def read_masks(folder: str | Path, frames: Frames) -> np.ndarray:
    """Read one mask for every frame, at the working size, its distortion undone with the frame's.

    A mask belongs to the frame whose number in the source is the mask's file name, if all file
    names are numbers and every frame has one. Else the masks belong to the frames in (natural)
    order, if there are as many.

    Where a mask has colours they are labels, as in DAVIS: all but black moves.

    Returns:
        (N, h, w) bool; True = moving.

    Raises:
        InputError: The folder or a mask cannot be read, the masks do not match the frames, a mask
            has another shape than the frames or is a picture, or all are grey and none is white.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder of masks", hint="one image a frame, in a folder")
    paths = match_to_frames(images_in(folder), frames, folder=folder, what="masks")
    masks = np.zeros((len(frames), *frames.images.shape[1:3]), bool)
    undistorter, lenses = Undistorter(), frames.lenses or (None,) * len(frames)
    brightest = 0
    for mask, path, lens in zip(masks, paths, lenses, strict=True):
        grey = _read_mask(path)
        check_aspect(grey.shape, frames, path=path, what="mask")
        brightest = max(brightest, int(grey.max()))
        if lens is not None:
            grey = undistorter.apply(grey, lens)
        mask[:] = cv2.resize(grey, frames.size, interpolation=cv2.INTER_AREA) >= _WHITE
    if 0 < brightest < _WHITE:
        raise InputError(
            f"no mask in {folder} has white: the brightest level is {brightest} of 255",
            hint="make what moves 255; a mask of zeros and ones is to be multiplied by 255",
        )
    return masks


def _read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8, white = moving.

    Raises:
        InputError: It cannot be read, or is a picture.
    """
    image = decode(path, cv2.IMREAD_ANYCOLOR)
    if image.ndim == 3:
        if int(np.ptp(image, axis=2).max()) > _NEARLY:
            return _of_labels(image, path)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    levels = np.bincount(image.ravel(), minlength=256)
    soft = levels[_NEARLY:-_NEARLY].sum() / image.size
    if np.count_nonzero(levels) > _FEW_LEVELS and soft > _SOFT_PART:
        raise InputError(
            f"{path} is no mask but a picture: {100 * soft:.0f} % of its pixels are neither black "
            "nor white",
            hint=_HINT,
        )
    return image


def _of_labels(image: np.ndarray, path: Path) -> np.ndarray:
    """What is not black in an image of few colours, as white."""
    colours = image.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    count = len(np.unique(colours))
    if count > _FEW_COLOURS:
        raise InputError(
            f"{path} is no mask but a picture: it has {count} different colours", hint=_HINT
        )
    return np.where(colours > 0, 255, 0).astype(np.uint8)
