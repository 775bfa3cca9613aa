"""The result: a camera, a depth map, a confidence map and a motion mask for every frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

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

    def depth(self, i: int) -> np.ndarray:
        """(H, W) float32 z-depth of frame i at the source size; nan where unknown."""
        return self.maps.depth(i)

    def confidence(self, i: int) -> np.ndarray:
        """(H, W) float32 confidence of frame i at the source size; larger is better, >= 1."""
        return self.maps.confidence(i)

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool at the source size; True where the scene moves."""
        return self.maps.moving(i)

    def image(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB of frame i at the working size."""
        return self.maps.image(i)
