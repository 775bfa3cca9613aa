"""A network of the DUSt3R family as a pair predictor: frames are encoded once, pairs decoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from align3r.device import exact_convolutions, free_device_bytes, kept_heap, to_device, to_host
from align3r.errors import SolveError, UsageError
from align3r.geometry.cameras import image_centre
from align3r.io.storage import Storage
from align3r.models.pair_network import EnteredFrame, PairNetwork, PairOutput, Role
from align3r.pairwise.network.features import Entered, FeatureCache, join, part
from align3r.pairwise.network.schedule import Batch, Schedule
from align3r.pairwise.predictor import PairJournal, empty_predictions, in_half
from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Progress

_KEEP_EVERY_S = 20.0
"""What an interrupt can cost; on a GPU whole videos take no longer, and nothing is written."""
_ROLES: tuple[Role, Role] = (0, 1)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a network runs; see `NetworkOptions` for what a user sets."""

    device: torch.device
    """Where to compute."""
    batch: int = 0
    """Pairs in one batch; 0: chosen from the device and its free memory."""
    cache_bytes: int = 2_000_000_000
    """Bound of the encoded frames in memory."""
    compile: bool = False
    """Compile the decoder and the heads."""


class NetworkPredictor:
    """Point maps of pairs by a DUSt3R, MonST3R or Align3R network."""

    def __init__(self, name: str, network: PairNetwork, run: RunOptions) -> None:
        """Take a network that is on its device and in its precision already."""
        self.name = name
        self._network = network
        self._run = run
        # Compiled as a function: the module keeps its plain methods.
        self._decode: Callable[[EnteredFrame, EnteredFrame], PairOutput] = (
            torch.compile(network.decode) if run.compile else network.decode
        )

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

        Points and confidences are float16: relative error 5e-4 at most. With a journal, pairs
        found there are not computed again; with one pair a batch (on a CPU) the outcome is the
        same bit for bit, with more it is the same but for rounding.

        Raises:
            UsageError: An Align3R network without monocular depth.
            InputError: The journal cannot be written, or there is no space left.
            SolveError: The network answers values that are not numbers.
        """
        if self._network.takes_point_maps and mono is None:
            raise UsageError(
                f"{self.name} needs monocular depth and there is none",
                hint="use --prior auto, or --prior-dir with your own depth maps",
            )
        width, height = frames.size
        points, confidence = empty_predictions(len(edges), (height, width), storage)
        report = progress or (lambda stage, done, total: None)
        done = np.zeros(len(edges), bool)
        if journal is not None:
            done[journal.restore(points, confidence)] = True
        report("pairs", int(done.sum()), len(edges))
        unsaved: list[int] = []
        saved_at = time.monotonic()
        with kept_heap(), exact_convolutions(self._run.device):
            for batch, output in self._outputs(frames, np.asarray(edges), mono, done.copy()):
                self._check(batch, output)
                rows = torch.tensor(batch.rows)
                points[rows], confidence[rows] = _kept(output.points), _kept(output.confidence)
                done[rows] = True
                unsaved += batch.rows
                if journal is not None and time.monotonic() - saved_at >= _KEEP_EVERY_S:
                    journal.save(np.array(unsaved), points, confidence)
                    unsaved, saved_at = [], time.monotonic()
                report("pairs", int(done.sum()), len(edges))
        return PairPredictions(
            np.asarray(edges, np.int64), points, confidence, image_centre(frames.size)
        )

    def _check(self, batch: Batch, output: PairOutput) -> None:
        """Refuse what is not a number where it first shows."""
        for values in (*output.points, *output.confidence):
            bad = int(values.isnan().sum())
            if bad:
                raise SolveError(
                    f"{self.name} answers {bad} values that are not numbers for the pairs "
                    f"{', '.join(map(str, batch.pairs))}",
                    hint="use --network.precision fp32, or other weights",
                )

    @torch.inference_mode()
    def _outputs(
        self, frames: Frames, edges: np.ndarray, mono: MonoDepth | None, done: np.ndarray
    ) -> Iterator[tuple[Batch, PairOutput]]:
        """All batches but those whose pairs are all done already."""
        size = self._run.batch or batch_for(frames.size, self._run.device)
        schedule = Schedule(edges, size)
        with FeatureCache(schedule, self._run.cache_bytes) as cache:
            for k, batch in schedule:
                if done[list(batch.rows)].all():
                    cache.release(k)
                    continue
                missing = [frame for frame in batch.frames if frame not in cache]
                for start in range(0, len(missing), size):
                    self._encode(
                        missing[start : start + size], frames, mono, schedule=schedule, cache=cache
                    )
                entered = [cache.get(frame, self._run.device) for frame in batch.frames]
                by_frame = dict(zip(batch.frames, entered, strict=True))
                first, second = (
                    join([by_frame[pair[role]][role] for pair in batch.pairs]) for role in _ROLES
                )
                yield batch, self._decode(first, second)
                cache.release(k)

    def _encode(
        self,
        numbers: list[int],
        frames: Frames,
        mono: MonoDepth | None,
        *,
        schedule: Schedule,
        cache: FeatureCache,
    ) -> None:
        """Encode frames and let them enter in all roles they will have."""
        device = self._run.device
        image = _normalised(to_device(torch.from_numpy(frames.images[numbers]), device))
        point_map = None
        if self._network.takes_point_maps and mono is not None:
            point_map = to_device(torch.from_numpy(mono.point_maps[numbers]), device)
        encoded = self._network.encode(image, point_map)
        wanted = {role for number in numbers for role in schedule.roles(number)}
        in_roles = {role: self._network.enter(encoded, role) for role in _ROLES if role in wanted}
        for k, number in enumerate(numbers):
            entered: Entered = {
                role: part(in_roles[role], k) for role in _ROLES if role in schedule.roles(number)
            }
            cache.put(number, entered)


def batch_for(size: tuple[int, int], device: torch.device) -> int:
    """Pairs in one batch: one on a CPU, where more bring nothing; else what half the memory holds.

    Args:
        size: (width, height) of the frames.
        device: Where the network runs.
    """
    free = free_device_bytes(device)
    if free is None:
        return 1
    # The widest maps of a head: 128 channels at full size, three of them at a time in float32.
    bytes_a_pair = size[0] * size[1] * 128 * 4 * 3 * 2
    return int(np.clip(free // 2 // bytes_a_pair, 1, 32))


def _normalised(images: Tensor) -> Tensor:
    """(B, h, w, 3) uint8 to (B, 3, h, w) float32 in [-1, 1]."""
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def _kept(of_views: tuple[Tensor, Tensor]) -> Tensor:
    """(B, ...) of both views to (B, 2, ...) float16 in main memory."""
    return to_host(torch.stack([in_half(values) for values in of_views], dim=1))
