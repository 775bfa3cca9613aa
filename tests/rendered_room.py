"""A rendered room: what a camera takes that walks through it, and what is exactly true."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from align3r.datasets.rendered.film import Film, Order
from align3r.datasets.rendered.flow import landing, optical_flow
from align3r.datasets.rendered.raycast import pixel_centres, rays_through, trace

SIZE = (96, 72)
MOMENTS = tuple(5.0 * i for i in range(6))
"""When the camera of the videos takes an image: in frames of the film, twelve a second."""
FOCAL = 0.885


@dataclass(frozen=True)
class Still:
    """An image and what is true about it."""

    moment: float
    """When, in frames of the film."""
    image: np.ndarray
    """(h, w, 3) uint8 RGB."""
    depth: np.ndarray
    """(h, w) float64 metres."""
    moving: np.ndarray
    """(h, w) bool."""
    which: np.ndarray
    """(h, w) number of what is seen."""
    k: np.ndarray
    """(3, 3) pixels."""
    world_from_cam: np.ndarray
    """(4, 4)."""

    @property
    def cam_from_world(self) -> np.ndarray:
        return np.linalg.inv(self.world_from_cam)


@lru_cache
def film(size: tuple[int, int] = SIZE, focal: float = FOCAL) -> Film:
    """The room; `focal` in widths of the image."""
    room = Film(Order("bare_room", 0, size, 30))
    room.k = np.array([[focal * size[0], 0, (size[0] - 1) / 2], [0, 0, 0], [0, 0, 1.0]])
    room.k[1, 1:] = room.k[0, 0], (size[1] - 1) / 2
    return room


def pose_at(moment: float) -> np.ndarray:
    """(4, 4) world_from_cam; moments may be fractions of a frame."""
    return np.asarray(film().shot(moment).world_from_cam)  # type: ignore[arg-type]


_TAKEN: dict[tuple[float, tuple[int, int], float], Still] = {}


def still(moment: float, size: tuple[int, int] = SIZE, focal: float = FOCAL) -> Still:
    """What the camera takes at a moment; rendered once."""
    key = (float(moment), size, focal)
    if key not in _TAKEN:
        room, shape = film(size, focal), size[::-1]
        seen = room.seen(moment)  # type: ignore[arg-type]
        _TAKEN[key] = Still(
            moment=float(moment),
            image=room.image(moment),  # type: ignore[arg-type]
            depth=seen.depth.reshape(shape),
            moving=room.moving(seen),
            which=seen.which.reshape(shape),
            k=room.k,
            world_from_cam=pose_at(moment),
        )
    return _TAKEN[key]


def recognised(image: np.ndarray) -> Still:
    """The still that an image of any size shows: what is true can be told from the image alone."""
    height, width = image.shape[:2]
    alike = [s for s in _TAKEN.values() if s.image.shape[1] * height == s.image.shape[0] * width]
    assert alike
    size = alike[0].image.shape[1::-1]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    misses = [float(np.abs(small - s.image).mean()) for s in alike]
    assert min(misses) < 5, "an image of something else"
    return alike[int(np.argmin(misses))]


def depth_through(moment: float, k: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) metres, as another camera in the same place would see it."""
    room, rays = film(), rays_through(pixel_centres(size), k)
    t = room.shot(moment).t  # type: ignore[arg-type]
    return np.asarray(trace(room.solids, pose_at(moment), rays, t=t).depth.reshape(size[::-1]))


def flow_to(moment: float, later: float) -> np.ndarray:
    """(h, w, 2) pixels to where each point lies later; 1e9 where that is behind the camera."""
    room = film()
    shot, there = room.shot(moment), room.shot(later)  # type: ignore[arg-type]
    landed = landing(room.solids, room.seen(moment), shot.t, there)  # type: ignore[arg-type]
    flow = optical_flow(pixel_centres(SIZE), landed, SIZE)
    return np.asarray(np.nan_to_num(flow, nan=1e9).reshape(*SIZE[::-1], 2))


def file_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_picture(path: Path, image: np.ndarray) -> None:
    """Colour as RGB, or levels as they are."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(file_at(path)), bgr, quality)


def levels(depth: np.ndarray, a_metre: float) -> np.ndarray:
    return np.rint(depth * a_metre).astype(np.uint16)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    file_at(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def in_row(numbers: Any) -> str:
    return " ".join(f"{x:.9f}" for x in np.ravel(numbers))
