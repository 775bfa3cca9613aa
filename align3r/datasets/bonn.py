"""Bonn RGB-D Dynamic: people and things that move, in TUM's layout (Palazzolo et al., IROS 2019).

What is in `groundtruth.txt` are poses of the markers on the sensor, not of its camera.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.datasets.files import check_sequence
from align3r.datasets.frames import Pinhole
from align3r.datasets.sequence import Sequence
from align3r.datasets.stamped import Need, Pairing, Partner, read_stamped, recordings
from align3r.datasets.tum import SIZE

CAMERA: Pinhole = (542.822841, 542.576870, 315.593520, 237.756098)
"""Of the colour camera. Its images are distorted, by the coefficients .039903, -.099343, -.00073,
-.000144, 0 of OpenCV: 3 pixels at the corners."""

_AXES = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_MARKER_FROM_CAM = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0, 0, 0, 1],
    ]
)
"""As published; its rotation is too large by 6 %."""


def names(root: Path, **_: object) -> list[str]:
    """Folders with the three lists, whatever the settings of `read`."""
    return recordings(root, "rgbd_bonn_*")


def read(
    root: Path,
    name: str,
    *,
    association: Partner = "greedy",
    within: float = 0.02,
    need: Need = "both",
    intrinsics: Pinhole | None = None,
) -> Sequence:
    """A sequence, its frames in order of time; poses are those of the camera.

    Args:
        root: With folders `rgbd_bonn_*`.
        name: As `rgbd_bonn_balloon2`.
        association: See `stamped.Pairing`.
        within: See `stamped.Pairing`.
        need: See `stamped.Pairing`.
        intrinsics: Of images at another size than the published one.

    Raises:
        InputError: Files are missing or cannot be read, or no image has what is needed.
        UsageError: A setting does not exist.
    """
    check_sequence(name, recordings(root, "rgbd_bonn_*"), root)
    return read_stamped(
        root / name,
        ("bonn", name),
        pairing=Pairing(association=association, within=within, need=need),
        intrinsics=(intrinsics, {SIZE: CAMERA}),
        camera_of=camera_from_markers,
    )


def camera_from_markers(world_from_markers: np.ndarray) -> np.ndarray:
    """(N, 4, 4) world_from_cam of the poses of the markers: A^-1 M A B with the published A and B,
    where the nearest rotation takes the place of what B has."""
    u, _, vt = np.linalg.svd(_MARKER_FROM_CAM[:3, :3])
    marker_from_cam = _MARKER_FROM_CAM.copy()
    marker_from_cam[:3, :3] = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return np.asarray(np.linalg.inv(_AXES) @ world_from_markers @ _AXES @ marker_from_cam)
