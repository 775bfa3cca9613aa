"""What the user says about the lenses: numbers, a JSON file, or a COLMAP model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from align3r.config import CameraOptions
from align3r.errors import InputError, UsageError
from align3r.geometry.cameras import LONGEST_FOCAL
from align3r.io.calibration_json import (
    CALIBRATION_HINT,
    UNKNOWN_SIZE,
    opencv_camera,
    read_json_cameras,
)
from align3r.io.colmap_model import ColmapModel, read_colmap
from align3r.io.frame_names import FrameId, FrameNames
from align3r.io.images import cannot_read
from align3r.io.lenses import resized
from align3r.types import LensCamera

Size = tuple[int, int]

_ASPECT_SLACK = 0.01


@dataclass(frozen=True)
class Calibration:
    """The cameras of the frames, as far as the user knows them."""

    origin: str
    """For people."""
    shared: LensCamera | None = None
    """The camera of all frames; or that of frames without one of their own."""
    own: dict[str, LensCamera] = field(default_factory=dict)
    """Cameras by the name of the image."""

    def matcher(self, *, is_video: bool, first_number: int | None) -> CameraFinder:
        """What finds the camera of a frame."""
        names = None
        if self.own:
            names = FrameNames(
                list(self.own), origin=self.origin, is_video=is_video, first_number=first_number
            )
        return CameraFinder(self, names)


@dataclass(frozen=True)
class CameraFinder:
    """The camera of every frame, at the size of the frames."""

    calibration: Calibration
    names: FrameNames | None

    def find(self, frame: FrameId, size: Size) -> LensCamera | None:
        """The camera of a frame of (width, height); None where the user knows none.

        Raises:
            InputError: The camera was calibrated with images of another shape.
        """
        camera, name = self.calibration.shared, None
        if self.names is not None:
            name = self.names.find(frame)
        if name is not None:
            camera = self.calibration.own[name]
        return None if camera is None else fitted(camera, size, origin=self.calibration.origin)


def fitted(camera: LensCamera, size: Size, *, origin: str) -> LensCamera:
    """The camera for frames of (width, height), which may be smaller or larger than it was.

    Raises:
        InputError: The frames have another shape.
    """
    if camera.size == UNKNOWN_SIZE:
        middle = (size[0] / 2, size[1] / 2)
        params = list(camera.params)
        params[2:4] = [m if np.isnan(p) else p for m, p in zip(middle, params[2:4], strict=True)]
        return LensCamera(camera.model, size, tuple(params))
    aspect = (camera.size[0] / camera.size[1]) / (size[0] / size[1])
    if abs(aspect - 1) > _ASPECT_SLACK:
        raise InputError(
            f"the camera of {origin} has images of {camera.size[0]}x{camera.size[1]} pixels, the "
            f"frames are {size[0]}x{size[1]}",
            hint="calibrate with frames of this shape: a crop cannot be told from the size",
        )
    return resized(camera, size)


def read_calibration(options: CameraOptions) -> Calibration | None:
    """The cameras that the options name; None where they name none.

    A focal length alone has its principal point at the centre of the frames.

    Raises:
        UsageError: The options contradict each other, or their numbers are no camera.
        InputError: A file or a model cannot be read, or is no calibration.
    """
    given = {
        "--focal": options.focal is not None,
        "--intrinsics": options.intrinsics is not None or options.calibration is not None,
    }
    if all(given.values()) or (options.intrinsics and options.calibration):
        raise UsageError("the intrinsics are given twice", hint="give one of --focal, --intrinsics")
    if options.distortion is not None and not (options.focal or options.intrinsics):
        raise UsageError(
            "--distortion is given without the focal length that it belongs to",
            hint="add --focal or --intrinsics fx fy cx cy; a calibration file has its own",
        )
    if options.lens != "opencv" and options.distortion is None:
        raise UsageError(
            f"--camera.lens {options.lens} says what --distortion means, and there is no "
            "--distortion",
            hint="add --distortion k1 k2 k3 k4; a calibration file has its own lens",
        )
    if options.calibration is not None:
        return read_calibration_file(Path(options.calibration).expanduser())
    if options.intrinsics is not None:
        return Calibration("--intrinsics", shared=_from_numbers(options.intrinsics, options))
    if options.focal is not None:
        centre = (np.nan, np.nan)  # Where that is, the frames say.
        numbers = (options.focal, options.focal, *centre)
        return Calibration("--focal", shared=_from_numbers(numbers, options))
    if options.colmap is not None:
        return _of_model(read_colmap(Path(options.colmap).expanduser()))
    return None


def read_calibration_file(path: Path) -> Calibration:
    """Cameras of a JSON file, of a cameras.txt or cameras.bin, or of a folder with a model.

    Raises:
        InputError: It cannot be read, or is no calibration.
    """
    try:
        path.stat()
        is_folder = path.is_dir()
    except OSError as error:
        raise cannot_read(path, error) from error
    if is_folder or path.suffix in (".txt", ".bin"):
        if not is_folder and path.stem != "cameras":
            raise InputError(f"{path} is no calibration", hint=CALIBRATION_HINT)
        return _of_model(read_colmap(path))
    shared, own = read_json_cameras(path)
    return Calibration(str(path), shared=shared, own=own)


def _of_model(model: ColmapModel) -> Calibration:
    own = {name: model.cameras[number] for name, number in model.camera_of.items()}
    cameras = list(model.cameras.values())
    # Frames that are not in the model were taken by its camera, if it has but one.
    shared = cameras[0] if len(cameras) == 1 else None
    if not own and shared is None:
        raise InputError(
            f"{model.origin} holds {len(cameras)} cameras, and does not say which took which frame",
            hint="give the folder with images.bin or images.txt, too",
        )
    return Calibration(model.origin, shared=shared, own={} if shared is not None else own)


def _from_numbers(numbers: tuple[float, float, float, float], options: CameraOptions) -> LensCamera:
    """A camera of numbers as OpenCV has them; all that is wrong with them is wrong use."""
    words = ", ".join(f"{value:g}" for value in numbers)
    if not np.isfinite(numbers[: 2 if options.focal else 4]).all():
        raise UsageError(f"intrinsics {words} are not finite", hint="unit: pixels")
    if numbers[0] <= 0 or numbers[1] <= 0:
        raise UsageError(
            f"focal lengths {numbers[0]:g}, {numbers[1]:g} are not positive", hint="unit: pixels"
        )
    if max(numbers[:2]) >= LONGEST_FOCAL:
        raise UsageError(
            f"focal lengths {numbers[0]:g}, {numbers[1]:g} are of no camera: they are below "
            f"{LONGEST_FOCAL:g}",
            hint="unit: pixels",
        )
    bent = list(options.distortion or ())
    if not np.isfinite(bent).all():
        raise UsageError("the distortion has numbers that are not finite", hint="k1 k2 p1 p2 ...")
    try:
        return opencv_camera(numbers, bent, fisheye=options.lens == "fisheye")
    except ValueError as error:
        raise UsageError(
            f"--distortion: {error}", hint="in the order of OpenCV: k1 k2 p1 p2 k3 k4 k5 k6"
        ) from error
