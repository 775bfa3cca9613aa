"""A network that sees all frames as a pair predictor: it looks once and then answers every pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from align3r.device import exact_convolutions, kept_heap
from align3r.errors import SolveError
from align3r.geometry.rigid import inverse_rigid
from align3r.io.storage import Storage
from align3r.models.vggt.scene import moved
from align3r.pairwise.predictor import PairJournal, empty_predictions, in_half
from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Progress


@dataclass(frozen=True)
class SeenFrames:
    """What a network says of N frames of one scene, in one unit of length."""

    world_from_cam: Tensor
    """(N, 4, 4) float64, in main memory."""
    points: Tensor
    """(N, h, w, 3) float32, each frame's in its own camera, whose pixels are square."""
    confidence: Tensor
    """(N, h, w) float32, at least 1."""
    principal_point: tuple[float, float]
    """Pixels."""

    @classmethod
    def empty(cls, frames: Frames, storage: Storage | None) -> SeenFrames:
        """To be filled frame by frame.

        Raises:
            InputError: There is no space left for the files of the storage.
        """
        storage, shape = storage or Storage(), frames.images.shape[:3]
        return cls(
            torch.eye(4, dtype=torch.float64).repeat(len(frames), 1, 1),
            torch.from_numpy(storage.empty("survey.points", (*shape, 3), np.float32)),
            torch.from_numpy(storage.empty("survey.confidence", shape, np.float32)),
            (0.0, 0.0),
        )


def seen_bytes(n_frames: int, size: tuple[int, int]) -> int:
    """Size of `SeenFrames` of so many frames of (width, height), which the storage may map."""
    return n_frames * size[0] * size[1] * 4 * 4


class Look(Protocol):
    """A network at work."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def __call__(self, frames: Frames, storage: Storage | None, report: Progress) -> SeenFrames:
        """See all frames, in the storage's arrays; reports the stage `frames`.

        Raises:
            NoRoomError: They do not fit the memory of the device.
        """
        ...


class MultiViewPredictor:
    """Point maps of pairs by a network that knows cameras and depth of all frames."""

    def __init__(self, name: str, look: Look) -> None:
        """Take a network that is on its device and in its precision already."""
        self.name = name
        self._look = look

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
        """Predict all pairs; see `PairPredictor.predict`.

        Points and confidences are float16. Nothing is kept in the journal: the network takes the
        time, and a half-finished look is of no use; the pairs that follow are a matter of moments.

        Raises:
            NoRoomError: The frames do not fit the memory of the device.
            InputError: There is no space left on the disk.
            SolveError: The network answers values that are not numbers.
        """
        report = progress or (lambda stage, done, total: None)
        with kept_heap(), exact_convolutions(self._look.device), torch.inference_mode():
            seen = self._look(frames, storage, report)
        self._check(seen)
        edges = np.asarray(edges, np.int64)
        points, confidence = empty_predictions(len(edges), frames.images.shape[1:3], storage)
        for k, (i, j) in enumerate(edges.tolist()):
            first_from_second = inverse_rigid(seen.world_from_cam[i]) @ seen.world_from_cam[j]
            points[k, 0] = in_half(seen.points[i])
            points[k, 1] = in_half(moved(first_from_second.float(), seen.points[j]))
            for side, frame in enumerate((i, j)):
                confidence[k, side] = in_half(seen.confidence[frame])
            report("pairs", k + 1, len(edges))
        return PairPredictions(edges, points, confidence, seen.principal_point)

    def _check(self, seen: SeenFrames) -> None:
        """Refuse what is not a number where it first shows."""
        for frame, values in enumerate(
            zip(seen.world_from_cam, seen.points, seen.confidence, strict=True)
        ):
            bad = sum(int(part.isnan().sum()) for part in values)
            if bad:
                raise SolveError(
                    f"{self.name} answers {bad} values that are not numbers for frame {frame}",
                    hint="use --network.precision fp32, or other weights",
                )
