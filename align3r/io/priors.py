"""Depth or disparity maps that the user made, one a frame: exr, npz, npy or 16-bit png."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from align3r.errors import InputError, TooLargeError, UsageError
from align3r.io.arrays import read_npy, read_npz
from align3r.io.exr import read_channels
from align3r.io.images import cannot_read, natural_key
from align3r.io.lenses import Undistorter, zoom
from align3r.io.per_frame import check_aspect, match_to_frames
from align3r.io.png import read_depth_png
from align3r.types import Frames

log = logging.getLogger(__name__)

Kind = Literal["depth", "disparity"]
"""Depth: larger is farther. Disparity, inverse depth up to a shift: larger is nearer."""

_CHANNELS = ("Z", "Y", "depth", "R")
_HINT = "wanted: a 2-D array in npy or npz, a channel Z in exr, or a grey png of 16 bits"
# Renderers write 1e10 where a ray meets nothing.
_NOTHING = 1e9


@dataclass(frozen=True)
class PriorMap:
    """What a depth network, or the user, says about one frame."""

    values: np.ndarray
    """(H, W) float32 depth or disparity."""
    focal: float | None
    """Horizontal focal length in pixels of `values`."""


class PriorMaps:
    """The user's maps of all frames, read one at a time."""

    def __init__(
        self, folder: str | Path, frames: Frames, *, kind: Kind, is_metric: bool = False
    ) -> None:
        """Find the map of every frame (see `match_to_frames`); reads none.

        No file says its unit: `is_metric` does, for depth.

        Raises:
            UsageError: Disparity is said to be metric.
            InputError: The folder cannot be read, holds no maps or several formats, or they do not
                match the frames.
        """
        folder = Path(folder)
        self.name = folder.resolve().name
        self.kind = kind
        self.is_metric = is_metric
        if is_metric and kind == "disparity":
            raise UsageError(
                "maps of disparity cannot be metric: it has an unknown shift",
                hint="give depth in metres, or leave out --prior.metric",
            )
        self._frames = frames
        self._paths = match_to_frames(_maps_in(folder), frames, folder=folder, what=f"{kind} maps")

    def __iter__(self) -> Iterator[PriorMap]:
        """Every frame's map, undistorted as it; the nearest known value where one is unknown.

        An exr is read from its channel Z, else Y, depth, R or the only one; a npz from its array
        `depth`, else the only one with two axes, with a focal length if it has `focallength_px`;
        a png holds millimetres. Unknown are nan, infinity, negative values, 0 in a png, and depth
        0 (a disparity of 0 is known to be far away).

        Raises:
            InputError: A map cannot be read, is not 2-D, has another shape than the frames, or
                knows nothing.
        """
        filled, holed = 0, 0
        undistorter, lenses = Undistorter(), self._frames.lenses or (None,) * len(self._paths)
        for path, lens in zip(self._paths, lenses, strict=True):
            values, focal = _read(path)
            check_aspect(values.shape, self._frames, path=path, what=f"{self.kind} map")
            if lens is not None:
                # Depth along the viewing direction stays what it is; edges are not mixed.
                values = undistorter.apply(values, lens, nearest=True)
                focal = None if focal is None else focal * zoom(lens)
            values, unknown = self._fill(values, path)
            filled, holed = filled + unknown, holed + (unknown > 0)
            yield PriorMap(values, focal)
        if filled:
            log.warning(
                "%d pixels in %d of %d %s maps are unknown; the nearest known value stands in",
                filled,
                holed,
                len(self._paths),
                self.kind,
            )

    def _fill(self, values: np.ndarray, path: Path) -> tuple[np.ndarray, int]:
        """The map without holes, and how many pixels they had."""
        positive = (values > 0) & (values < _NOTHING)
        if not positive.any():
            raise InputError(
                f"{self.kind} map {path} knows nothing: none of its {values.size} pixels is "
                "finite and positive",
                hint="leave the frame out, or give it a map",
            )
        known = positive | (values == 0) if self.kind == "disparity" else positive
        if known.all():
            return values, 0
        return _nearest_known(values, known), int(known.size - known.sum())


def check_maps(folder: str | Path) -> None:
    """Find out whether a folder holds depth maps: its first file is read, as it would be for a run.

    Raises:
        InputError: The folder cannot be read, holds no maps or several formats, or the first is
            none: a photograph, a mask.
    """
    _read(_maps_in(Path(folder))[0])


def _nearest_known(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give every unknown pixel the value of the known pixel nearest to it."""
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8),
        cv2.DIST_L2,
        cv2.DIST_MASK_5,
        labelType=cv2.DIST_LABEL_PIXEL,
    )
    value_of = np.empty(int(label.max()) + 1, np.float32)
    value_of[label[known]] = values[known]
    return np.where(known, values, value_of[label])


def _maps_in(folder: Path) -> list[Path]:
    """The maps of a folder, in natural order."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder of maps", hint="one file a frame, in a folder")
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise cannot_read(folder, error) from error
    maps = [path for path in entries if path.suffix.lower() in _READERS and path.is_file()]
    formats = sorted({path.suffix.lower() for path in maps})
    if not maps:
        raise InputError(
            f"none of the {len(entries)} entries of {folder} is a depth map",
            hint=f"depth maps end in {', '.join(sorted(_READERS))}",
        )
    if len(formats) > 1:
        raise InputError(
            f"{folder} holds files of several formats: {', '.join(formats)}",
            hint="keep the depth maps in a folder of their own",
        )
    return sorted(maps, key=natural_key)


def _read(path: Path) -> tuple[np.ndarray, float | None]:
    """A map as (H, W) float32, and its focal length if the file tells."""
    try:
        values, focal = _READERS[path.suffix.lower()](path)
    except ValueError as error:
        raise InputError(f"depth map {path} cannot be read: {error}", hint=_HINT) from error
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiu":
        shape = "x".join(map(str, values.shape)) or "a single"
        raise InputError(f"{path} is no depth map but {shape} {values.dtype}", hint=_HINT)
    if focal is not None and not 0 < focal < np.inf:
        raise InputError(
            f"focallength_px of {path} is {focal:g}", hint="make it positive, or leave it out"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is as good as infinitely far
        return np.asarray(values, np.float32), focal


def _read_npy(path: Path) -> tuple[np.ndarray, None]:
    return read_npy(path), None


def _read_npz(path: Path) -> tuple[np.ndarray, float | None]:
    arrays = read_npz(path)
    focal = float(arrays["focallength_px"].item()) if "focallength_px" in arrays else None
    if "depth" in arrays:
        return arrays["depth"], focal
    flat = [array for array in arrays.values() if array.ndim == 2]
    if len(flat) != 1:
        raise ValueError(f"no array is called depth, {len(flat)} have two axes")
    return flat[0], focal


def _read_png(path: Path) -> tuple[np.ndarray, None]:
    try:
        return read_depth_png(path), None
    except TooLargeError:
        raise
    except InputError as error:
        raise InputError(str(error), hint=_HINT) from error


def _read_exr(path: Path) -> tuple[np.ndarray, None]:
    channels = read_channels(path)
    only = next(iter(channels)) if len(channels) == 1 else None
    name = next((name for name in _CHANNELS if name in channels), only)
    if name is None:
        raise ValueError(f"its channels are {', '.join(sorted(channels))}")
    return channels[name], None


_READERS: dict[str, Callable[[Path], tuple[np.ndarray, float | None]]] = {
    ".exr": _read_exr,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".png": _read_png,
}
