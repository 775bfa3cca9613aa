"""Frames on their way in: undistorted, fitted to the working size, and looked through for cuts."""

from __future__ import annotations

import numpy as np

from align3r.errors import InputError
from align3r.io.calibration import CameraFinder
from align3r.io.fitting import FITS, Fit, FitName
from align3r.io.frame_names import FrameId
from align3r.io.lenses import Undistorter, is_distorted
from align3r.io.shots import ShotFinder, picked_cuts
from align3r.types import Frames, LensCamera


class FrameCollector:
    """Undistorts frames and fits them to the working size as they come; all have one size."""

    def __init__(self, fit: FitName, long_side: int, cameras: CameraFinder | None) -> None:
        self.shots = ShotFinder()
        self._cameras = cameras
        self._undistorter = Undistorter()
        self._lenses: list[LensCamera] = []
        self._without_lens = ""
        self._names: list[str] = []
        self._make_fit = FITS[fit]
        self._long_side = long_side
        self._fit: Fit | None = None
        self._first = ""
        self._source_size = (0, 0)
        self._images: list[np.ndarray] = []
        self._times: list[float] = []
        self._index: list[int] = []

    def add(
        self, image: np.ndarray, *, name: str, time: float, number: int, file: str | None = None
    ) -> None:
        """Take the next frame.

        Args:
            image: (H, W, 3) uint8 RGB at the source size.
            name: For people.
            time: Seconds.
            number: In the source.
            file: Of an image; None in a video.

        Raises:
            InputError: It has another size than the frames before, or its camera is of another
                shape.
        """
        width, height = image.shape[1::-1]
        if self._fit is None:
            self._first, self._source_size = name, (width, height)
            self._fit = self._make_fit(self._source_size, self._long_side)
        elif (width, height) != self._source_size:
            first_width, first_height = self._source_size
            raise InputError(
                f"{name} is {width}x{height} pixels but {self._first} is "
                f"{first_width}x{first_height}",
                hint="all frames must have one size",
            )
        image = self._undistorted(image, FrameId(number, time, file), name)
        self._images.append(self._fit.apply(image))
        if file is not None:
            self._names.append(file)
        self._times.append(time)
        self._index.append(number)

    def __len__(self) -> int:
        return len(self._images)

    def _undistorted(self, image: np.ndarray, frame: FrameId, name: str) -> np.ndarray:
        if self._cameras is None:
            return image
        camera = self._cameras.find(frame, (image.shape[1], image.shape[0]))
        if camera is None:
            self._without_lens = self._without_lens or name
            return image
        self._lenses.append(camera)
        return self._undistorter.apply(image, camera)

    def frames(self, source: str) -> Frames:
        """All that were added, with the cuts between them.

        Raises:
            InputError: A lens is known for some of them only.
        """
        lenses = tuple(self._lenses) if any(map(is_distorted, self._lenses)) else ()
        if lenses and len(lenses) < len(self):
            raise InputError(
                f"{len(lenses)} of {len(self)} frames have a lens whose distortion is undone, and "
                f"{self._without_lens} has no camera",
                hint="give one camera for all frames with --intrinsics, or leave out the others",
            )
        index = np.array(self._index, np.int64)
        return Frames(
            images=np.stack(self._images),
            times=np.array(self._times, np.float64),
            index=index,
            source_size=self._source_size,
            source=source,
            names=tuple(self._names),
            lenses=lenses,
            cuts=picked_cuts(self.shots.finish(), index),
        )
