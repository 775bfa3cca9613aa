"""Cameras of CO3Dv2, in PyTorch3D's conventions, as ours.

PyTorch3D has row vectors, x to the left and y up: x_cam = x_world R + T. Its `ndc_isotropic`
intrinsics have half the short side of the image as their unit and grow to the left and up from its
middle. The principal point is brought to pixels as PyTorch3D does that for OpenCV, and as published
evaluations have it: size / 2 - p * unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_FORMAT = "ndc_isotropic"
_FLIP = np.array([-1.0, -1.0, 1.0])


def intrinsics(view: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """(3, 3) float64 pixels of an image of (width, height).

    Raises:
        ValueError: The view is another kind of camera; KeyError or TypeError: it is none.
    """
    if view.get("intrinsics_format", _FORMAT) != _FORMAT:
        raise ValueError(f"intrinsics in the format {view['intrinsics_format']!r}, not {_FORMAT}")
    unit = min(size) / 2
    fx, fy = _numbers(view["focal_length"], (2,)) * unit
    cx, cy = np.array(size) / 2 - _numbers(view["principal_point"], (2,)) * unit
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def cam_from_world(view: Mapping[str, Any]) -> np.ndarray:
    """(4, 4) float64, OpenCV axes; a rotation only as far as the file has one.

    Raises:
        ValueError, KeyError, TypeError: The view is no camera.
    """
    pose = np.eye(4)
    pose[:3, :3] = (_numbers(view["R"], (3, 3)) * _FLIP).T
    pose[:3, 3] = _numbers(view["T"], (3,)) * _FLIP
    return pose


def _numbers(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"numbers of shape {array.shape} instead of {shape}")
    return array
