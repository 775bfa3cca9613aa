"""From what is seen to one scene: cameras and depth, then what moves, then both again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from align3r.config import Options
from align3r.device import resolve_device
from align3r.given import Given
from align3r.io.cache import StageCache
from align3r.io.storage import Storage
from align3r.optim import align
from align3r.optim.gauge import in_metres
from align3r.optim.prior import best_pair_prior, single_view
from align3r.prediction import looks_again, see_motion_again
from align3r.progress import Report
from align3r.stage_cache import AlignCheckpoint
from align3r.types import KnownCameras, MonoDepth, PairPredictions, Solution

log = logging.getLogger(__name__)

_WORTH_A_SOLVE = 1e-3
"""Share of the pixels that changed their side from which the scene is solved again."""


def solve(
    predictions: PairPredictions,
    given: Given,
    options: Options,
    *,
    mono: MonoDepth | None,
    report: Report,
    cache: StageCache | None,
    storage: Storage,
) -> tuple[Solution, np.ndarray | None]:
    """Cameras and depth of all frames, and (N, h, w) what moves, if that was looked for.

    Masks that are a first guess are found again with the solved cameras, and if that changes
    them, the scene is solved again, from where the first solve ended.

    Raises:
        SolveError: The pairs do not hold together, or the solution is not finite.
        UsageError: Options and arguments contradict each other.
    """
    work = _Work(given, options, mono, report, cache, storage)
    solution, moving = work.solve(predictions)
    # Poses of the predictor's own have no unit that anybody knows, unlike the user's.
    if work.metric is not None and not solution.is_metric and given.known.world_from_cam is None:
        solution = in_metres(solution, work.metric)
    return solution, moving


@dataclass(frozen=True)
class _Work:
    """What the first and the second solve of a video have in common."""

    given: Given
    options: Options
    mono: MonoDepth | None
    report: Report
    cache: StageCache | None
    storage: Storage

    @property
    def metric(self) -> np.ndarray | None:
        """(N, h, w) depth in metres, if there is one and it may give the unit."""
        if self.options.scale == "relative":
            return None
        return self.mono.depth if self.mono is not None and self.mono.is_metric else None

    def solve(self, predictions: PairPredictions) -> tuple[Solution, np.ndarray | None]:
        """As `solve`, in the unit that the aligner gives."""
        given, options = self.given, self.options
        if len(given.frames) == 1:
            return _one_frame(predictions, given.known), predictions.moving
        first = self.align(predictions)
        if not looks_again(predictions, given, options):
            return first, predictions.moving
        moving = see_motion_again(first, predictions, given, options, report=self.report)
        before = predictions.moving
        changed = 1.0 if before is None else float((moving != before).mean())
        log.info("moving masks: %.2f %% of the pixels changed with solved cameras", 100 * changed)
        if changed < _WORTH_A_SOLVE or options.align.flow_weight == 0:
            return first, moving
        return self.align(replace(predictions, moving=moving), start=first), moving

    def align(self, predictions: PairPredictions, *, start: Solution | None = None) -> Solution:
        n, known, options = len(self.given.frames), self.given.known, self.options
        if known.world_from_cam is None:
            known = replace(known, world_from_cam=predictions.world_from_cam)
        checkpoint = None
        if self.cache is not None:
            checkpoint = AlignCheckpoint(self.cache, again=start is not None)
        return align(
            predictions,
            n_frames=n,
            options=options.align,
            flows=predictions.flows,
            static=None if predictions.moving is None else ~predictions.moving,
            prior=self._prior(predictions),
            metric=self.metric,
            known=known,
            keyframes=self.given.keyframes,
            start=start,
            progress=self.report,
            checkpoint=checkpoint,
            storage=self.storage,
            device=resolve_device(options.device),
        )

    def _prior(self, predictions: PairPredictions) -> np.ndarray | None:
        """(N, h, w) prior depth, if the options ask for one."""
        if self.options.align.geometry != "depth":
            n = len(self.given.frames)
            return best_pair_prior(predictions, n) if self.mono is None else self.mono.depth
        if self.options.align.prior_weight > 0 and self.mono is not None:
            return self.mono.depth
        return None


def _one_frame(predictions: PairPredictions, known: KnownCameras) -> Solution:
    focal, depth = single_view(predictions)
    pose = np.eye(4)[None]
    if known.world_from_cam is not None and np.isfinite(known.world_from_cam).all():
        pose = known.world_from_cam
    confidence = predictions.confidence[0, 0].float().numpy()
    # A copy: the depth is a part of the predicted points.
    depths = depth[None].copy()
    return Solution(pose, np.array([focal]), predictions.principal_point, depths, confidence[None])
