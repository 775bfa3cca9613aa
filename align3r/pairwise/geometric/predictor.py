"""The embedded predictor: flow, self-calibration and triangulation; no network, no download.

It looks at the whole video first (`survey`), finds cameras and focal length (`calibrate`), fuses
the depth of every frame from all its flows (`frames_depth`), and answers each pair from that.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from align3r.geometry.cameras import image_centre
from align3r.io.storage import Storage
from align3r.motion.masks import Match, motion_masks
from align3r.pairwise.geometric.answers import DENSE, DenseDepth, answer_pairs, dense_depths
from align3r.pairwise.geometric.calibrate import CalibratedScene, find_scene
from align3r.pairwise.geometric.depth import FUSED, FusedDepth, PixelModel, flat, fuse
from align3r.pairwise.geometric.frames_depth import GuidedFlows, survey_depths
from align3r.pairwise.geometric.kept import PerFrame
from align3r.pairwise.geometric.survey import survey
from align3r.pairwise.predictor import PairJournal
from align3r.parallel import in_threads
from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Progress


class GeometricPredictor:
    """Point maps of pairs by dense flow, self-calibration and triangulation."""

    name = "geometric"

    def __init__(self, *, motion_threshold: float = 6.0, find_motion: bool = True) -> None:
        """Args are those of `MotionOptions`."""
        self._motion_threshold = motion_threshold
        self._find_motion = find_motion

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

        Raises:
            SolveError: No two frames can be matched (no texture, or nothing in common).
        """
        report = progress or (lambda stage, done, total: None)
        # Frames and pairs are computed side by side; threads inside each small matrix product
        # would only wait for each other.
        with threadpool_limits(1, user_api="blas"):
            return self._predict(
                frames, edges, known, moving=moving, report=report, storage=storage
            )

    def _predict(
        self,
        frames: Frames,
        edges: np.ndarray,
        known: KnownCameras,
        *,
        moving: np.ndarray | None,
        report: Progress,
        storage: Storage | None,
    ) -> PairPredictions:
        images, shape = frames.images, frames.images.shape[:3]
        centre = _centre(frames, known)
        found = survey(
            images,
            centre,
            moving=moving,
            on_pair=lambda k, m: report("flow", k, m),
            storage=storage,
        )
        report("cameras", 0, 1)
        scene = find_scene(found, frames, known, centre)
        report("cameras", 1, 1)
        coarse = survey_depths(found, scene.cameras, images, parallax=scene.parallax)
        flows = GuidedFlows(found, scene.cameras, coarse)
        asked = flows.compute(
            images,
            np.asarray(edges),
            on_pair=lambda k, m: report("guided flow", k, m),
            storage=storage,
        )
        fused = PerFrame(FusedDepth, FUSED, shape, name="survey.fused", storage=storage)
        fused.fill(_fused(flows, frames, scene), lambda k: report("depth", k, len(frames)))
        if moving is None:
            moving = self._moving(images, fused, flows)
        depths = PerFrame(DenseDepth, DENSE, shape, name="survey.dense", storage=storage)
        depths.fill(
            dense_depths(images, fused, moving, parallax=scene.parallax),
            lambda k: report("dense depth", k, len(frames)),
        )
        return answer_pairs(asked, scene, flows, depths, moving=moving, storage=storage)

    def _moving(
        self, images: np.ndarray, fused: PerFrame[FusedDepth], flows: GuidedFlows
    ) -> np.ndarray:
        disagreement, n = fused.all("miss_px"), len(fused)
        if not self._find_motion:
            return np.zeros(disagreement.shape, bool)
        if n < 3:
            return motion_masks(disagreement, threshold=self._motion_threshold, images=images)
        return motion_masks(
            disagreement,
            threshold=self._motion_threshold,
            images=images,
            to_next=[*(Match(*flows.get(k, k + 1)) for k in range(n - 1)), None],
            to_previous=[None, *(Match(*flows.get(k, k - 1)) for k in range(1, n))],
            remembers=True,
        )


def _centre(frames: Frames, known: KnownCameras) -> tuple[float, float]:
    if known.intrinsics is None:
        return image_centre(frames.size)
    middle = known.intrinsics[:, :2, 2].mean(0)
    return float(middle[0]), float(middle[1])


def _fused(flows: GuidedFlows, frames: Frames, scene: CalibratedScene) -> Iterator[FusedDepth]:
    return in_threads(lambda i: _fuse_frame(flows, i, frames, scene), range(len(frames)))


def _fuse_frame(flows: GuidedFlows, i: int, frames: Frames, scene: CalibratedScene) -> FusedDepth:
    model = PixelModel(scene.cameras.focal, scene.cameras.centre)
    pairs = [flows.evidence(i, j, model) for j in range(len(frames)) if flows.has(i, j)]
    width, height = frames.size
    return fuse(pairs) if pairs and scene.parallax else flat(pairs, (height, width))
