"""Tables of Hypersim: how long a unit of a scene is, and what its camera is.

The projection of a scene is a matrix, and in some scenes that is not of an ordinary camera: the
lens is shifted or tilted. Whatever it is, it is a camera with some intrinsics that is turned a bit.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import rq

from align3r.datasets.files import reading
from align3r.errors import InputError
from align3r.io.files import check_pixels, read_text

_CV_FROM_GL = np.diag([1.0, -1.0, -1.0])
_SCALE = "meters_per_asset_unit"
_SINGULAR = 1e-9


@dataclass(frozen=True)
class Camera:
    """Of all images of a scene."""

    size: tuple[int, int]
    """(width, height)."""
    intrinsics: np.ndarray
    """(3, 3), integer pixel centres."""
    turned_from_cam: np.ndarray
    """(3, 3) rotation from the axes of the poses, OpenCV's, to those of the intrinsics."""


def read_scale(path: Path) -> float:
    """Metres in a unit of a scene, from its `metadata_scene.csv`.

    Raises:
        InputError: It cannot be read or says something else.
    """
    rows = _table(path)
    with reading(path):
        table = {row["parameter_name"]: row["parameter_value"] for row in rows}
        scale = float(table[_SCALE])
        if not 0 < scale < np.inf:
            raise ValueError(f"{_SCALE} is {scale:g}")
    return scale


def read_camera(path: Path, scene: str) -> Camera:
    """The camera of a scene, from `metadata_camera_parameters.csv` of all scenes.

    Raises:
        InputError: It cannot be read, has no such scene, or its projection is that of no camera.
    """
    row = next((row for row in _table(path) if row.get("scene_name") == scene), None)
    if row is None:
        raise InputError(f"{path} has no scene {scene}", hint="download that table again")
    with reading(path):
        width, height = (
            int(float(row[f"settings_output_img_{side}"])) for side in ("width", "height")
        )
        if min(width, height) < 1:
            raise ValueError(f"images of {width}x{height} pixels")
        clip = np.array([[float(row[f"M_proj_{i}{j}"]) for j in range(4)] for i in range(4)])
    check_pixels(path, (width, height))
    with reading(path):
        intrinsics, turn = _factors((width, height), clip)
    return Camera((width, height), intrinsics, turn)


def _factors(size: tuple[int, int], clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics and rotation of OpenGL's (4, 4) projection into clip coordinates.

    Raises:
        ValueError: It is no projection, or shows a mirror image.
    """
    width, height = size
    pixels = np.array([[width, 0, width - 1], [0, -height, height - 1], [0, 0, 2]]) / 2
    whole = pixels @ clip[[0, 1, 3], :3] @ _CV_FROM_GL
    if not (np.isfinite(clip).all() and np.linalg.det(whole) > _SINGULAR):
        raise ValueError("M_proj is no projection of a camera")
    upper, turn = rq(whole)
    signs = np.sign(np.diag(upper))
    upper, turn = upper * signs, turn * signs[:, None]
    return upper / upper[2, 2], turn


def _table(path: Path) -> list[dict[str, str]]:
    with reading(path):
        try:
            return list(csv.DictReader(io.StringIO(read_text(path)), strict=True))
        except csv.Error as error:
            raise ValueError(f"it is no table: {error}") from error
