"""What every pair predictor offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Progress


class PairPredictor(Protocol):
    """Point maps of both views of a pair, in the first view's camera.

    Networks look at the two frames; a predictor may also look at the whole video before it
    answers for a pair.
    """

    name: str

    def predict(
        self,
        frames: Frames,
        edges: np.ndarray,
        *,
        known: KnownCameras,
        mono: MonoDepth | None = None,
        moving: np.ndarray | None = None,
        progress: Progress | None = None,
    ) -> PairPredictions:
        """Predict all pairs.

        Args:
            frames: The video at the working size.
            edges: (E, 2) pairs (i, j).
            known: Cameras the user knows, in working pixels.
            mono: Monocular depth, for predictors that look at it.
            moving: (N, h, w) bool, regions the user knows to move.
            progress: Called as progress(stage, done, total).

        Raises:
            SolveError: The video says nothing (no texture, no overlap).
        """
        ...
