"""What a dense optical flow is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np


class DenseFlow(Protocol):
    """Dense flow of two images; it is called from several threads at once."""

    @property
    def name(self) -> str:
        """Its name among the options, for logs and scene.json."""

    def __call__(
        self, source: np.ndarray, target: np.ndarray, *, start: np.ndarray | None = None
    ) -> np.ndarray:
        """Flow from source to target.

        Args:
            source: (h, w, 3) uint8 RGB.
            target: Image of the same shape.
            start: (h, w, 2) float32 first guess, in pixels.

        Returns:
            (h, w, 2) float32, finite: pixel of source + flow = its match in target.
        """


@runtime_checkable
class BatchedFlow(DenseFlow, Protocol):
    """Dense flow that needs no start and is quickest with many pairs at once."""

    def many(self, images: np.ndarray, ways: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        """Flows between images of one video.

        Args:
            images: (N, h, w, 3) uint8 RGB.
            ways: (source, target) of each flow.

        Returns:
            (h, w, 2) float32, finite, for each way in turn.
        """
