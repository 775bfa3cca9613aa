"""Where things and cameras are: 4x4 poses, metres; x right, y down, z forward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from align3r.datasets.rendered.paints import Place


def at(place: Place, yaw_deg: float = 0.0) -> np.ndarray:
    """4x4 pose: turned about the vertical, then put at a place in metres."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    pose = np.eye(4)
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose[:3, 3] = place
    return pose


def still(place: Place, yaw_deg: float = 0.0) -> Callable[[float], np.ndarray]:
    """A pose, turned about the vertical, that does not change with time."""
    return still_at(at(place, yaw_deg))


def still_at(pose: np.ndarray) -> Callable[[float], np.ndarray]:
    """A 4x4 pose that does not change with time."""
    return lambda _t: pose


def look(place: np.ndarray, target: np.ndarray, roll_rad: float) -> np.ndarray:
    """4x4 pose of a camera at `place` that looks at `target`, level but for the roll."""
    z = (target - place) / np.linalg.norm(target - place)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    c, s = np.cos(roll_rad), np.sin(roll_rad)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], -1) @ [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    pose[:3, 3] = place
    return pose


def intrinsics(size: tuple[int, int], *, focal: float = 0.885) -> np.ndarray:
    """(3, 3): the principal point is the middle of the image; `focal` is in widths of the image.

    The usual one gives a horizontal view of 59 degrees.
    """
    w, h = size
    f = focal * w
    return np.array([[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1.0]])


def turned(axis: int, degrees: float) -> np.ndarray:
    """4x4 pose: turned about x, y or z (0, 1, 2) through the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    pose = np.eye(4)
    pose[[first, second], [first, second]] = c
    pose[first, second], pose[second, first] = -s, s
    return pose
