"""What a dense optical flow is, and the ones there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from align3r.flow.dis import DisFlow


class DenseFlow(Protocol):
    """Dense flow of two images; it is called from several threads at once."""

    @property
    def name(self) -> str:
        """Its key in `FLOWS`, for logs and scene.json."""

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


FLOWS: dict[str, Callable[[], DenseFlow]] = {DisFlow.name: DisFlow}
"""Makers of the flows by name."""
