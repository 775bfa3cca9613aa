"""Lenses: what a camera with distortion saw becomes what a pinhole at its place would have seen.

The pinhole has the size, the principal point and the aspect of the camera. Its focal length is the
shortest at which every one of its pixels was seen by the camera, so nothing has to be made up; a
fisheye is cut off at 120 degrees across, where a flat image becomes more stretch than picture.
The camera models are COLMAP's, by pycolmap; all flips of its half pixel are here.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.types import LensCamera

if TYPE_CHECKING:
    import pycolmap

_WIDEST = np.tan(np.radians(60.0))
_ALONG = 24
_AROUND = 48
_KEPT = 2
"""Maps of so many cameras are kept: two floats a pixel each."""
_ROWS = 128
_LARGEST = 65536


def check_lens(camera: LensCamera, *, origin: str) -> LensCamera:
    """The camera, if it is one.

    Raises:
        InputError: The model is unknown or has no focal length, its parameters are too few or too
            many, not finite, or make no sense.
    """
    model, count = camera.model, len(camera.params)
    kinds = _param_names()
    if model not in kinds:
        raise InputError(
            f"{origin} has a camera of the model {model!r}, which is none that can be undistorted",
            hint=f"there are {', '.join(sorted(kinds))}",
        )
    if count != len(kinds[model]):
        raise InputError(
            f"{origin} has {count} parameters for a camera {model}, which has {len(kinds[model])}",
            hint=f"they are {', '.join(kinds[model])}",
        )
    if not np.isfinite(camera.params).all():
        raise InputError(
            f"the camera in {origin} has parameters that are not finite", hint="check the file"
        )
    if not all(1 <= side <= _LARGEST for side in camera.size):
        raise InputError(
            f"the camera in {origin} has images of {camera.size[0]}x{camera.size[1]} pixels",
            hint=f"a side has 1 to {_LARGEST} pixels",
        )
    focals = [p for p, name in zip(camera.params, kinds[model], strict=True) if name[0] == "f"]
    if min(focals) <= 0:
        raise InputError(
            f"the camera in {origin} has a focal length of {min(focals):g}",
            hint="it is positive, in pixels",
        )
    return camera


def is_distorted(camera: LensCamera) -> bool:
    """Whether the camera is something else than a pinhole."""
    names = _param_names()[camera.model]
    if camera.model in ("SIMPLE_PINHOLE", "PINHOLE"):
        return False
    bent = [p for p, name in zip(camera.params, names, strict=True) if name not in _LINEAR]
    return "FISHEYE" in camera.model or camera.model == "EUCM" or any(bent)


def resized(camera: LensCamera, size: tuple[int, int]) -> LensCamera:
    """The same camera with images of another (width, height)."""
    if size == camera.size:
        return camera
    scaled = _colmap(camera)
    scaled.rescale(*size)
    return LensCamera(camera.model, size, tuple(float(p) for p in scaled.params))


def linear_part(camera: LensCamera) -> np.ndarray:
    """(3, 3) float64 intrinsics without the distortion; centre of the top-left pixel (0, 0)."""
    k = np.array(_colmap(camera).calibration_matrix(), np.float64)
    k[:2, 2] -= 0.5
    return k


@lru_cache(maxsize=64)
def zoom(camera: LensCamera) -> float:
    """What its focal lengths are multiplied by, so that the pinhole shows nothing unseen.

    Raises:
        InputError: The distortion leaves nothing to see.
    """
    if not is_distorted(camera):
        return 1.0
    low, high = 0.05, 8.0
    if not _sees(camera, high):
        width, height = camera.size
        raise InputError(
            f"the distortion of the {camera.model} camera of {width}x{height} pixels folds its "
            "image over within an eighth of its view",
            hint="check the order and the signs of its parameters, and the focal length in pixels",
        )
    while high / low > 1.0005:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if _sees(camera, middle) else (middle, high)
    return high


def pinhole(camera: LensCamera) -> np.ndarray:
    """(3, 3) float64 of the pinhole; centre of the top-left pixel (0, 0).

    Raises:
        InputError: The distortion leaves nothing to see.
    """
    k = linear_part(camera)
    k[:2, :2] *= zoom(camera)
    return k


def distorted_pixels(camera: LensCamera, pixels: np.ndarray) -> np.ndarray:
    """(M, 2) where the camera shows what its pinhole shows at (M, 2); both from centre (0, 0)."""
    k = pinhole(camera)
    rays = np.ones((len(pixels), 3))
    rays[:, :2] = (pixels - k[:2, 2]) / k[[0, 1], [0, 1]]
    return np.asarray(_colmap(camera).img_from_cam(rays)) - 0.5


class Undistorter:
    """Takes the distortion out of images; the maps of the last cameras are kept."""

    def __init__(self) -> None:
        self._maps: OrderedDict[LensCamera, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def apply(self, image: np.ndarray, camera: LensCamera, *, nearest: bool = False) -> np.ndarray:
        """What the pinhole sees.

        Args:
            image: (h, w) or (h, w, 3), of any size with the aspect of the camera.
            camera: Of the images at their source size.
            nearest: Take the nearest pixel and mix none: for depth, which has edges.

        Returns:
            An image of the same shape and type.

        Raises:
            InputError: The distortion leaves nothing to see.
        """
        if not is_distorted(camera):
            return image
        camera = resized(camera, (image.shape[1], image.shape[0]))
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_CUBIC
        u, v = self._maps_of(camera)
        return np.asarray(cv2.remap(image, u, v, how, borderMode=cv2.BORDER_REPLICATE))

    def _maps_of(self, camera: LensCamera) -> tuple[np.ndarray, np.ndarray]:
        if camera not in self._maps:
            self._maps[camera] = _distortion_maps(camera)
            while len(self._maps) > _KEPT:
                self._maps.popitem(last=False)
        self._maps.move_to_end(camera)
        return self._maps[camera]


def _distortion_maps(camera: LensCamera) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) float32 column and row of the source of every pixel, strip by strip."""
    width, height = camera.size
    u, v = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    for top in range(0, height, _ROWS):
        rows, columns = np.mgrid[top : min(top + _ROWS, height), 0:width]
        found = distorted_pixels(camera, np.stack([columns.ravel(), rows.ravel()], 1))
        u[top : top + _ROWS] = found[:, 0].reshape(rows.shape)
        v[top : top + _ROWS] = found[:, 1].reshape(rows.shape)
    return u, v


def _sees(camera: LensCamera, zoom: float) -> bool:
    """Whether the camera saw all that a pinhole with its focal lengths times `zoom` shows.

    Looked at along straight lines from the principal point to the border: inside the image, and
    ever farther out, because a polynomial that turns back shows everything twice.
    """
    width, height = camera.size
    k = linear_part(camera)
    across = np.linspace(-0.5, width - 0.5, _AROUND)
    down = np.linspace(-0.5, height - 0.5, _AROUND)
    border = np.concatenate(
        [np.stack([across, np.full(_AROUND, y)], 1) for y in (-0.5, height - 0.5)]
        + [np.stack([np.full(_AROUND, x), down], 1) for x in (-0.5, width - 0.5)]
    )
    ends = (border - k[:2, 2]) / (zoom * k[[0, 1], [0, 1]])
    if np.abs(ends).max() > _WIDEST:
        return False
    part = np.linspace(0, 1, _ALONG)[:, None, None]
    rays = np.concatenate([ends * part, np.ones((_ALONG, len(ends), 1))], -1)
    with np.errstate(all="ignore"):
        seen = np.asarray(_colmap(camera).img_from_cam(rays.reshape(-1, 3)))
    seen = seen.reshape(_ALONG, -1, 2) - 0.5
    if not np.isfinite(seen).all():
        return False
    # Half a pixel at the border is not seen by anyone: images end at the edge of their pixels.
    inside = (seen > -1.0).all() and (seen < [width, height]).all()
    outwards = np.linalg.norm(seen - seen[:1], axis=-1)
    return bool(inside and (np.diff(outwards, axis=0) > 0).all())


_LINEAR = frozenset({"f", "fx", "fy", "cx", "cy"})


@lru_cache(maxsize=1)
def _param_names() -> dict[str, list[str]]:
    """What the parameters of every camera model mean; of those with a focal length."""
    import pycolmap

    found = {}
    for name, kind in pycolmap.CameraModelId.__members__.items():
        if name == "INVALID":
            continue
        names = pycolmap.Camera.create_from_model_id(1, kind, 500.0, 640, 480).params_info
        found[name] = [part.strip() for part in names.split(",")]
    return {name: params for name, params in found.items() if params[0] in _LINEAR}


def _colmap(camera: LensCamera) -> pycolmap.Camera:
    import pycolmap

    width, height = camera.size
    words: dict[str, Any] = {"model": camera.model, "width": width, "height": height}
    return pycolmap.Camera(**words, params=list(camera.params))
