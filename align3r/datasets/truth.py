"""What is true about the frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Truth:
    """What is true about every frame of a sequence; lengths in metres where the data has them.

    Maps are read when they are asked for, one frame at a time.
    """

    world_from_cam: np.ndarray
    """(N, 4, 4) float64, OpenCV axes; nan where the pose of a frame is not known."""
    intrinsics: np.ndarray
    """(N, 3, 3) float64, source pixels; the centre of the top-left pixel is (0, 0); nan where not
    known."""
    times: np.ndarray
    """(N,) float64 seconds."""
    size: tuple[int, int]
    """(width, height) of the frames."""
    depth: Callable[[int], np.ndarray] | None
    """Frame number -> float32 z-depth at every `depth_stride`-th pixel from pixel 0 on; nan where
    not known. None if no frame has depth."""
    depth_stride: int = 1
    """Pixels from one true depth to the next, in both directions."""
    moving: Callable[[int], np.ndarray] | None = None
    """Frame number -> (H, W) bool; None if nobody marked what moves."""
    flow: Callable[[int], np.ndarray] | None = None
    """Frame number i -> (H, W, 2) float32 pixels from frame i to frame i + 1, nan where not known;
    None if there is none. The last frame has none."""
    metric: bool = True
    """Whether lengths are in metres; if not, in a unit of the data set's own."""

    def __len__(self) -> int:
        return len(self.times)

    def select(self, frames: Sequence[int] | np.ndarray) -> Truth:
        """The truth of some of the frames, in the order given.

        Flow stays only where the next frame chosen is the next frame there is: it is None unless
        that holds for all.
        """
        chosen = [int(i) for i in frames]
        neighbours = all(b == a + 1 for a, b in pairwise(chosen))
        return replace(
            self,
            world_from_cam=self.world_from_cam[chosen],
            intrinsics=self.intrinsics[chosen],
            times=self.times[chosen],
            depth=_of(self.depth, chosen),
            moving=_of(self.moving, chosen),
            flow=_of(self.flow, chosen) if neighbours else None,
        )


def _of(
    read: Callable[[int], np.ndarray] | None, chosen: list[int]
) -> Callable[[int], np.ndarray] | None:
    return None if read is None else lambda i: read(chosen[i])
