"""The result: a camera, a depth map, a confidence map and a motion mask for every frame."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from align3r.config import OutputOptions
from align3r.export_options import ExportOptions
from align3r.types import LensCamera

ScaleKind = Literal["relative", "prior-metric", "known-camera"]


class FrameMaps(Protocol):
    """Per-frame images at the source size, read or made when asked for."""

    def depth(self, i: int) -> np.ndarray:
        """(H, W) float32 z-depth; nan where unknown."""
        ...

    def confidence(self, i: int) -> np.ndarray:
        """(H, W) float32."""
        ...

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool."""
        ...

    def image(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB at the working size, which may be smaller than the source."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed video. N frames in, N of everything out; OpenCV axes; source pixels."""

    world_from_cam: np.ndarray
    """(N, 4, 4) float64."""
    intrinsics: np.ndarray
    """(N, 3, 3) float64, source pixels; the centre of the top-left pixel is (0, 0)."""
    times: np.ndarray
    """(N,) float64 seconds."""
    frame_index: np.ndarray
    """(N,) int64 number of each frame in the source."""
    size: tuple[int, int]
    """(width, height) of the source frames."""
    maps: FrameMaps
    """Where depth, confidence, masks and images come from."""
    scale: ScaleKind = "relative"
    """What the unit of length is."""
    info: dict[str, Any] = field(default_factory=dict)
    """Everything else of scene.json: options, losses, timings, warnings."""

    def __post_init__(self) -> None:
        n = len(self.world_from_cam)
        if not n == len(self.intrinsics) == len(self.times) == len(self.frame_index):
            raise ValueError("a reconstruction holds one camera, time and number per frame")

    def __len__(self) -> int:
        return len(self.world_from_cam)

    @property
    def in_metres(self) -> bool:
        """Whether the unit of length is the metre: a depth prior or the user says so."""
        return self.scale == "prior-metric" or self.info.get("scale_to_metres") == 1.0

    @property
    def lenses(self) -> tuple[LensCamera, ...]:
        """N cameras that took the frames of the source, where their distortion was undone.

        All of a result is about the undistorted frames; empty where the frames of the source are
        those of the result. `io.lenses.Undistorter` takes a frame of the source to the result's.
        """
        found = self.info.get("lenses")
        if not found:
            return ()
        cameras = [
            LensCamera(c["model"], (int(c["width"]), int(c["height"])), tuple(c["params"]))
            for c in found["cameras"]
        ]
        return tuple(cameras[k] for k in found["of_frame"])

    def _number(self, i: int) -> int:
        """Frame number of an index; negative ones count from the end, as everywhere in Python.

        Raises:
            TypeError: It is no whole number.
            IndexError: There is no such frame.
        """
        try:
            number = operator.index(i)
        except TypeError:
            raise TypeError(f"a frame is a whole number, not {i!r} ({type(i).__name__})") from None
        n = len(self)
        if not -n <= number < n:
            raise IndexError(f"frame {number} of {n}: there are 0 to {n - 1}, and -{n} to -1")
        return number % n

    def depth(self, i: int) -> np.ndarray:
        """(H, W) float32 z-depth of frame i at the source size; nan where unknown."""
        return self.maps.depth(self._number(i))

    def confidence(self, i: int) -> np.ndarray:
        """(H, W) float32 confidence of frame i at the source size; larger is better, >= 1."""
        return self.maps.confidence(self._number(i))

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool at the source size; True where the scene moves."""
        return self.maps.moving(self._number(i))

    def image(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB of frame i at the working size."""
        return self.maps.image(self._number(i))

    def points(
        self,
        *,
        min_confidence: float = 1.5,
        moving: bool | None = None,
        frames: Sequence[int] | None = None,
        stride: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of the scene in world coordinates.

        Args:
            min_confidence: Leave out pixels below this confidence.
            moving: True: moving pixels only; False: static pixels only; None: both.
            frames: Numbers of the frames to take, 0 to N - 1; None: all.
            stride: Take every n-th pixel in both directions.

        Returns:
            Points (M, 3) float32 and their colours (M, 3) uint8 RGB.
        """
        chosen = range(len(self)) if frames is None else frames
        parts = [
            self._frame_points(i, min_confidence=min_confidence, moving=moving, stride=stride)
            for i in chosen
        ]
        points = [np.zeros((0, 3), np.float32), *(part[0] for part in parts)]
        colours = [np.zeros((0, 3), np.uint8), *(part[1] for part in parts)]
        return np.concatenate(points), np.concatenate(colours)

    def save(self, out: str | Path, *, options: OutputOptions | None = None) -> Path:
        """Write the result folder, whole or not at all, with what `options` adds to it.

        Returns:
            The folder.

        Raises:
            InputError: The place cannot be written, or is full.
            UsageError: The folder exists and `options.overwrite` is off.
            SolveError: A camera is none, so that nobody could load it.
        """
        # A look upwards: what people see beside the numbers is made by the viewer's room.
        from align3r.view.folder import save

        return save(self, out, options or OutputOptions())

    def export(
        self, to: str, path: str | Path, *, options: ExportOptions | None = None, **overrides: Any
    ) -> Path:
        """Write the scene in another program's format, whole or not at all.

        Args:
            to: Name of the format: "colmap", "nerfstudio", "tum", "ply", "glb" and more; see
                `align3r.io.exports.EXPORTS`.
            path: The file or the folder to write.
            options: How; the defaults when not given.
            **overrides: Fields of `ExportOptions` by name, e.g. `source="video.mp4"`.

        Returns:
            `path`.

        Raises:
            UsageError: There is no such format or option, or `path` is taken by something else.
            InputError: The place cannot be written, is full, or a file of the scene is damaged.
        """
        # The other look upwards, to every file format.
        from align3r.io.exports import export

        return export(self, to, path, options=options, **overrides)

    def _frame_points(
        self, i: int, *, min_confidence: float, moving: bool | None, stride: int
    ) -> tuple[np.ndarray, np.ndarray]:
        depth = self.depth(i)[::stride, ::stride]
        keep = np.isfinite(depth) & (self.confidence(i)[::stride, ::stride] >= min_confidence)
        if moving is not None:
            keep &= self.moving(i)[::stride, ::stride] == moving
        rows, columns = np.nonzero(keep)
        v, u, z = rows * stride, columns * stride, depth[rows, columns]
        pose = self.world_from_cam[i]
        world_from_pixel = pose[:3, :3] @ np.linalg.inv(self.intrinsics[i])
        points = np.empty((len(z), 3), np.float32)
        for axis, (per_u, per_v, one) in enumerate(world_from_pixel):
            points[:, axis] = (per_u * u + per_v * v + one) * z + pose[axis, 3]
        image = self.image(i)
        scale_y, scale_x = image.shape[0] / self.size[1], image.shape[1] / self.size[0]
        # Pixel u covers [u, u + 1) of the width, so its centre lies in this working pixel.
        colours = image[((v + 0.5) * scale_y).astype(int), ((u + 0.5) * scale_x).astype(int)]
        return points, colours
