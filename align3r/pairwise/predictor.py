"""What every pair predictor offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from torch import Tensor

from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Progress


class PairJournal(Protocol):
    """Where a predictor that takes its time keeps the pairs it has finished."""

    def load(self) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """What an interrupted run has saved, piece by piece."""
        ...

    def save(self, rows: np.ndarray, points: Tensor, confidence: Tensor) -> None:
        """Keep some pairs.

        Args:
            rows: (K,) their rows in the list of pairs.
            points: (K, 2, h, w, 3), as in `PairPredictions`.
            confidence: (K, 2, h, w), as in `PairPredictions`.

        Raises:
            InputError: The disk cannot be written, or there is no space left.
        """
        ...


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
        journal: PairJournal | None = None,
    ) -> PairPredictions:
        """Predict all pairs.

        Args:
            frames: The video at the working size.
            edges: (E, 2) pairs (i, j).
            known: Cameras the user knows, in working pixels.
            mono: Monocular depth, for predictors that look at it.
            moving: (N, h, w) bool, regions the user knows to move.
            progress: Called as progress(stage, done, total).
            journal: Where finished pairs are kept and found again; a predictor may ignore it.

        Raises:
            SolveError: The video says nothing (no texture, no overlap).
        """
        ...
