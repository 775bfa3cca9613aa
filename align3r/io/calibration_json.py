"""Cameras in JSON, in the dialects that people have, and in the numbers of OpenCV.

Every dialect has a pixel convention of its own, and all of them are turned into COLMAP's here:

    a matrix K, flat fx fy cx cy, numbers     centre of the top-left pixel (0, 0), as in OpenCV
    nerfstudio's fl_x ..., names of a "model" centre of the top-left pixel (0.5, 0.5), as in COLMAP
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from align3r.errors import InputError
from align3r.io import files
from align3r.io.lenses import check_lens
from align3r.types import LensCamera

Size = tuple[int, int]

UNKNOWN_SIZE: Size = (1, 1)
"""Size of a camera whose file does not say it: that of the frames."""
CALIBRATION_HINT = (
    "wanted: a COLMAP model or cameras.txt, a transforms.json of nerfstudio, or JSON with "
    '"camera_matrix" and "distortion_coefficients", with "fx", "fy", "cx", "cy", or with '
    '"model", "width", "height" and "params" as COLMAP has them'
)

_OPENCV = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE = ("k1", "k2", "k3", "k4")
_COUNTS = (1, 2, 4, 5, 8)
_MATRICES = ("camera_matrix", "K", "intrinsic_matrix", "intrinsics", "mtx")
_LISTS = ("distortion_coefficients", "dist_coeffs", "distortion", "dist", "D")


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        InputError: The file cannot be read.
        ValueError: It is no JSON, or no object.
    """
    found = files.read_json(path)
    if not isinstance(found, dict):
        raise ValueError("it holds no names")
    return found


def read_json_cameras(path: Path) -> tuple[LensCamera | None, dict[str, LensCamera]]:
    """The camera of all frames, and those of single frames by the name of their image.

    Raises:
        InputError: The file cannot be read, or is no calibration.
    """
    try:
        found = read_json(path)
        if "frames" in found:
            return _from_nerfstudio(found, path)
        return _camera(found, path), {}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is no calibration: {why}", hint=CALIBRATION_HINT) from error


def opencv_camera(
    numbers: tuple[float, ...], bent: list[float], *, fisheye: bool, size: Size = UNKNOWN_SIZE
) -> LensCamera:
    """fx, fy, cx, cy and coefficients in OpenCV's order and convention, as COLMAP's camera.

    Raises:
        ValueError: There is no such lens with so many coefficients.
    """
    fx, fy, cx, cy = numbers
    linear = (fx, fy, cx + 0.5, cy + 0.5)
    if fisheye:
        if len(bent) > len(_FISHEYE):
            raise ValueError(f"{len(bent)} coefficients, and a fisheye has up to 4, k1 to k4")
        return LensCamera("OPENCV_FISHEYE", size, (*linear, *_filled(bent, 4)))
    if not any(bent):
        return LensCamera("PINHOLE", size, linear)
    if len(bent) > 8 and not any(bent[8:]):
        bent = bent[:8]
    if len(bent) not in _COUNTS:
        raise ValueError(f"{len(bent)} coefficients, and lenses have 1, 2, 4, 5 or 8")
    if len(bent) <= 4:
        return LensCamera("OPENCV", size, (*linear, *_filled(bent, 4)))
    return LensCamera("FULL_OPENCV", size, (*linear, *_filled(bent, 8)))


def _filled(values: list[float], count: int) -> tuple[float, ...]:
    return (*values, *[0.0] * (count - len(values)))


def _from_nerfstudio(
    found: dict[str, Any], path: Path
) -> tuple[LensCamera | None, dict[str, LensCamera]]:
    """One camera for all at the top, or one in every frame."""
    own = {}
    for frame in found["frames"]:
        name = frame["file_path"]
        if not isinstance(name, str):
            raise ValueError(f"a file_path is {name!r}")
        if "fl_x" in frame:
            own[name] = _camera({**found, **frame}, path)
    shared = _camera(found, path) if "fl_x" in found else None
    if shared is None and not own:
        raise KeyError("fl_x")
    return shared, own


def _camera(found: Mapping[str, Any], path: Path) -> LensCamera:
    """The camera of an object in one of the dialects."""
    width = found.get("width", found.get("image_width", found.get("w")))
    height = found.get("height", found.get("image_height", found.get("h")))
    size = UNKNOWN_SIZE if width is None or height is None else (int(width), int(height))
    if "model" in found and "params" in found:
        camera = LensCamera(str(found["model"]), size, _numbers(found["params"]))
    elif "fl_x" in found:
        fx = float(found["fl_x"])
        if size == UNKNOWN_SIZE and not {"cx", "cy"} <= found.keys():
            raise KeyError("cx")
        centre = (float(found.get("cx", size[0] / 2)), float(found.get("cy", size[1] / 2)))
        fisheye = "FISHEYE" in str(found.get("camera_model", "OPENCV"))
        fy = float(found.get("fl_y", fx))
        linear = (fx, fy, centre[0] - 0.5, centre[1] - 0.5)
        camera = opencv_camera(linear, _coefficients(found, fisheye), fisheye=fisheye, size=size)
    else:
        camera = _opencv_json(found, size)
    return check_lens(camera, origin=str(path))


def _opencv_json(found: Mapping[str, Any], size: Size) -> LensCamera:
    """A matrix, or flat names; with "model", as COLMAP counts pixels."""
    kind = str(found.get("model", found.get("distortion_model", "")))
    fisheye = any(word in kind.lower() for word in ("fisheye", "equidistant"))
    matrix = next((found[key] for key in _MATRICES if key in found), None)
    if matrix is None:
        half = 0.5 if "model" in found else 0.0
        linear = (
            float(found["fx"]),
            float(found.get("fy", found["fx"])),
            float(found["cx"]) - half,
            float(found["cy"]) - half,
        )
    else:
        k = np.array(_numbers(matrix))
        if k.size != 9:
            raise ValueError(f"its matrix has {k.size} numbers, not 9")
        k = k.reshape(3, 3)
        linear = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        if k[2].tolist() != [0.0, 0.0, 1.0] or k[1, 0] != 0 or abs(k[0, 1]) > 1e-6 * k[0, 0]:
            raise ValueError("its matrix is not fx 0 cx, 0 fy cy, 0 0 1, row by row")
    bent = next((found[key] for key in _LISTS if key in found), None)
    values = _coefficients(found, fisheye) if bent is None else list(_numbers(bent))
    return opencv_camera(linear, values, fisheye=fisheye, size=size)


def _coefficients(found: Mapping[str, Any], fisheye: bool) -> list[float]:
    """k1, k2, ... by name; without the zeros at the end that say nothing."""
    names = _FISHEYE if fisheye else _OPENCV
    values = [float(found.get(name, 0.0)) for name in names]
    if fisheye:
        return values
    if "fl_x" in found and any(values[5:]):
        # For nerfstudio k4 is one more power of the radius, for OpenCV a denominator.
        raise ValueError(f"its k4 is {values[5]:g}, a coefficient that OpenCV's lens does not have")
    if any(values[4:]):
        return values
    return values[:4]


def _numbers(value: Any) -> tuple[float, ...]:
    """All numbers of nested lists, row by row; of OpenCV's {"data": [...]} as well."""
    if isinstance(value, Mapping):
        value = value["data"]
    flat = np.asarray(value, np.float64).ravel()
    return tuple(float(number) for number in flat)
