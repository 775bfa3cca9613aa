"""What every pair predictor offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from align3r.io.storage import Storage
from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Progress

LARGEST = 60_000.0
"""float16 ends at 65504; points farther away than this are as good as infinitely far."""


class PairJournal(Protocol):
    """Where a predictor that takes its time keeps the pairs it has finished."""

    def restore(self, points: Tensor, confidence: Tensor) -> np.ndarray:
        """Fill in the pairs that an interrupted run has saved; gives their (K,) rows.

        Args:
            points: (E, 2, h, w, 3) from the storage, of all pairs, as in `PairPredictions`.
            confidence: (E, 2, h, w), likewise.
        """
        ...

    def save(self, rows: np.ndarray, points: Tensor, confidence: Tensor) -> None:
        """Keep some more pairs.

        Args:
            rows: (K,) their rows in the list of pairs.
            points: (E, 2, h, w, 3) of all pairs.
            confidence: (E, 2, h, w) of all pairs.

        Raises:
            InputError: The disk cannot be written, or there is no space left.
        """
        ...

    def forget(self) -> None:
        """Take no pair for finished any more: the arrays are about to change."""
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
        storage: Storage | None = None,
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
            storage: Gives out the arrays `predictions.points`, `predictions.confidence` and those
                of the flows, as `empty_flows` does; None: main memory.

        Raises:
            SolveError: The video says nothing (no texture, no overlap).
        """
        ...


def empty_predictions(
    n_pairs: int, shape: tuple[int, int], storage: Storage | None
) -> tuple[Tensor, Tensor]:
    """Points (E, 2, h, w, 3) and confidences (E, 2, h, w) to be filled, float16.

    Raises:
        InputError: There is no space left for their files.
    """
    storage = storage or Storage()
    points = storage.empty("predictions.points", (n_pairs, 2, *shape, 3), np.float16)
    confidence = storage.empty("predictions.confidence", (n_pairs, 2, *shape), np.float16)
    return torch.from_numpy(points), torch.from_numpy(confidence)


def in_half(values: Tensor) -> Tensor:
    """Any shape in float16, within its range: what is larger than `LARGEST` becomes that."""
    return values.clamp(-LARGEST, LARGEST).half()
