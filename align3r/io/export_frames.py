"""The frames of a result as exports write them: all maps and the camera at the size of the images.

Images come from the source, read again at its full size, and undistorted as they were for the
result. Where the source is gone they are those of the result, at the working size; then intrinsics
and maps are brought to that size, so that an export is consistent in itself either way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from align3r.errors import InputError, UsageError
from align3r.export_options import ExportOptions
from align3r.geometry.cameras import resize_intrinsics
from align3r.io.images import shrink
from align3r.io.maps import upsample_depth
from align3r.io.sources import Source
from align3r.io.video import source_images
from align3r.reconstruction import Reconstruction

log = logging.getLogger(__name__)

_ALIKE = 12.0
"""Mean grey levels: images of the result differ by less from their own frames (JPEG and resizing
cost one to five levels at the working size), and those of another video by more."""


@dataclass(frozen=True)
class ExportFrames:
    """N frames at one size."""

    scene: Reconstruction
    size: tuple[int, int]
    """(width, height) of images, depth, confidence and masks."""
    intrinsics: np.ndarray
    """(N, 3, 3) float64 in pixels of this size; the centre of the top-left pixel is (0, 0)."""
    source: Source | None
    """Where images are read; None: from the result."""

    def __len__(self) -> int:
        return len(self.scene)

    def images(self) -> Iterator[np.ndarray]:
        """The frames in order, (H, W, 3) uint8 RGB.

        Raises:
            InputError: The source cannot be read, or is another one than the result was made from.
        """
        if self.source is None:
            yield from (self.scene.image(i) for i in range(len(self)))
            return
        found = source_images(self.source, self.scene.frame_index, lenses=self.scene.lenses)
        for i, image in enumerate(found):
            self._check_alike(i, image)
            yield image

    def depth(self, i: int) -> np.ndarray:
        """(H, W) float32 z-depth; nan where unknown."""
        return upsample_depth(self.scene.depth(i), self.size)

    def confidence(self, i: int) -> np.ndarray:
        """(H, W) float32."""
        return self._resized(self.scene.confidence(i))

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool."""
        return self._resized(self.scene.moving(i).astype(np.float32)) > 0.5

    def anything_moves(self) -> bool:
        """Whether any frame has a moving pixel: masks are written for all frames, or for none."""
        return any(self.scene.moving(i).any() for i in range(len(self)))

    def _resized(self, values: np.ndarray) -> np.ndarray:
        if values.shape[::-1] == self.size:
            return values
        return np.asarray(cv2.resize(values, self.size, interpolation=cv2.INTER_LINEAR))

    def _check_alike(self, i: int, image: np.ndarray) -> None:
        width, height = image.shape[1::-1]
        name = f"frame {self.scene.frame_index[i]} of {self.source}"
        hint = "give the input of this result with --source, or add --images working"
        if (width, height) != self.size:
            raise InputError(
                f"{name} is {width}x{height} pixels, the result is {self.size[0]}x{self.size[1]}",
                hint=hint,
            )
        known = self.scene.image(i)
        small = shrink(image, (known.shape[1], known.shape[0]))
        apart = float(np.abs(small.astype(np.float32) - known).mean())
        if apart > _ALIKE:
            raise InputError(
                f"{name} is another image than that of the result: {apart:.0f} grey levels apart",
                hint=hint,
            )


def export_frames(scene: Reconstruction, options: ExportOptions) -> ExportFrames:
    """Decide where the images of an export come from, and say so where it matters.

    Raises:
        UsageError: Source images are asked for, and it is not known where the source is.
        InputError: Source images are asked for, and the source is not there or is another one.
    """
    source = options.source or scene.info.get("source_path")
    must = options.images == "source" or (options.source is not None and options.images == "auto")
    if options.images == "working":
        return _working(scene)
    if source is None:
        if must:
            raise UsageError(
                "where the source is, is not written in this result",
                hint="add --source video.mp4, or --images working",
            )
        return _working_with_words(scene, "where its source is, is not written in this result")
    frames = ExportFrames(scene, scene.size, scene.intrinsics, source)
    try:
        # Looking at the first frame tells whether it is there, and whether it is the right one.
        next(frames.images())
    except InputError as error:
        if must and options.source is None:
            raise InputError(
                str(error), hint="say where it is with --source VIDEO, or add --images working"
            ) from error
        if must:
            raise
        return _working_with_words(scene, str(error))
    return frames


def _working(scene: Reconstruction) -> ExportFrames:
    size = scene.image(0).shape[1::-1]
    intrinsics = resize_intrinsics(scene.intrinsics, scene.size, size)
    return ExportFrames(scene, (size[0], size[1]), intrinsics, None)


def _working_with_words(scene: Reconstruction, why: str) -> ExportFrames:
    frames = _working(scene)
    if frames.size != scene.size:
        log.warning(
            "%s: images and cameras are written at %dx%d, not at the %dx%d of the source; "
            "--source VIDEO gives them their full size",
            why,
            *frames.size,
            *scene.size,
        )
    return frames
