"""The whole story: video in, reconstruction out; one call a stage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from align3r import __version__
from align3r.config import Options
from align3r.device import free_memory_bytes, resolve_device
from align3r.errors import UsageError
from align3r.flow.pairs import pair_flows
from align3r.flow.protocol import FLOWS
from align3r.geometry.cameras import intrinsic_matrix, resize_intrinsics
from align3r.io.cache import StageCache, cache_folder, fingerprint
from align3r.io.cameras import read_known_cameras
from align3r.io.maps import ArrayMaps
from align3r.io.masks import read_masks
from align3r.io.video import read_frames
from align3r.io.whole import check_output
from align3r.motion.ego_motion import moving_masks
from align3r.optim import align
from align3r.optim.prior import best_pair_prior, single_view
from align3r.pairing import build_pairs, keyframe_indices
from align3r.pairing.memory import MemoryPlan, plan_memory, require_room
from align3r.pairwise.registry import make_predictor
from align3r.progress import Report, as_report
from align3r.reconstruction import Reconstruction, ScaleKind
from align3r.stage_cache import AlignCheckpoint, cached_predictions
from align3r.stopwatch import Stopwatch
from align3r.types import Frames, KnownCameras, PairPredictions, Progress, Solution

log = logging.getLogger(__name__)

Source = str | Path | Sequence[str | Path]


def reconstruct(
    source: Source,
    *,
    out: str | Path | None = None,
    options: Options | None = None,
    progress: bool | Progress = False,
    **overrides: Any,
) -> Reconstruction:
    """Cameras, depth, moving masks and points of a video.

    Args:
        source: A video, a folder of images, a glob pattern, a list file or a list of images.
        out: Folder to save the result in, whole or not at all. Interrupted, the same call goes
            on from its last finished stage.
        options: All options; the defaults need no weights and no download.
        progress: True for bars on stderr, or a function called as progress(stage, done, total).
        **overrides: Fields of `Options` by name, e.g. `model="geometric"`.

    Returns:
        N frames in, N cameras, depth, confidence and motion maps out, at the source size.

    Raises:
        UsageError: Options that contradict each other, or a result that is there already.
        InputError: The input cannot be read, or the output not written.
        NoRoomError: The plan does not fit the memory.
        SolveError: The video says nothing, or the solution is not finite.
    """
    options = _with_overrides(options or Options(), overrides)
    report, watch = as_report(progress), Stopwatch()
    if out is not None:
        check_output(Path(out), options.output.overwrite)
    with watch.stage("read"):
        given = _read(source, options, report)
    memory = given.memory()
    log.info("%s", memory.describe())
    require_room(memory, free_memory_bytes())
    cache = None
    if out is not None:
        cache = StageCache(cache_folder(out), fingerprint(source, options))
    with watch.stage("predict pairs"):
        predictions = cached_predictions(cache, lambda: _predict(given, options, report))
    with watch.stage("align"):
        solution = _align(predictions, given, options, report, cache)
    for warning in predictions.warnings:
        log.warning("%s", warning)
    info = {
        "source": given.frames.source,
        "align3r": __version__,
        "options": asdict(options),
        "losses": solution.losses,
        "plan": memory.describe(),
        "pairs": len(given.edges),
        "warnings": list(predictions.warnings),
        "timings": watch.rows,
    }
    scene = _as_reconstruction(solution, given, predictions, info)
    if out is not None:
        _save(scene, Path(out), options, watch, report)
    if cache is not None:
        cache.clear()
    return scene


@dataclass(frozen=True)
class _Given:
    """What the user gives: frames, what is known of them, and the pairs to look at."""

    frames: Frames
    known: KnownCameras
    masks: np.ndarray | None
    """(N, h, w) bool, True = moving."""
    edges: np.ndarray
    """(E, 2) int64."""

    def memory(self) -> MemoryPlan:
        return plan_memory(len(self.frames), len(self.edges), self.frames.size)


def _read(source: Source, options: Options, report: Report) -> _Given:
    frames = read_frames(source, options.input, progress=report)
    known = read_known_cameras(options.camera, frames)
    masks = read_masks(options.camera.masks, frames) if options.camera.masks else None
    # A video of one frame is its own pair.
    alone = len(frames) == 1
    edges = np.zeros((1, 2), np.int64) if alone else build_pairs(len(frames), options.pairs)
    return _Given(frames, known, masks, edges)


@dataclass(frozen=True)
class Plan:
    """What a reconstruction would do and need."""

    memory: MemoryPlan
    free_bytes: int

    def describe(self) -> str:
        """One line for people."""
        return f"{self.memory.describe()}; {self.free_bytes / 1e9:.1f} GB are free"


def plan(source: Source, options: Options) -> Plan:
    """Read the input and plan, without computing anything.

    Raises:
        InputError: The input cannot be read.
        NoRoomError: The plan does not fit the memory.
    """
    memory = _read(source, options, as_report(False)).memory()
    free = free_memory_bytes()
    require_room(memory, free)
    return Plan(memory, free)


def _with_overrides(options: Options, overrides: dict[str, Any]) -> Options:
    unknown = set(overrides) - set(asdict(options))
    if unknown:
        raise UsageError(
            f"unknown options {sorted(unknown)}", hint=f"there are {sorted(asdict(options))}"
        )
    return replace(options, **overrides)


def _predict(given: _Given, options: Options, report: Report) -> PairPredictions:
    """Pairs with their flows and moving masks, whoever finds those: the predictor or we."""
    frames, edges, masks = given.frames, given.edges, given.masks
    predictor = make_predictor(options)
    found = predictor.predict(frames, edges, known=given.known, moving=masks, progress=report)
    if found.flows is None:
        flows = pair_flows(
            frames.images, edges, FLOWS["dis"](), on_pair=lambda k, n: report("flow", k, n)
        )
        found = replace(found, flows=flows)
    if masks is not None or not options.motion.enabled:
        still = np.zeros(frames.images.shape[:3], bool)
        return replace(found, moving=still if masks is None else masks)
    if found.moving is None and found.flows is not None:
        moving = moving_masks(found, found.flows, len(frames), options.motion.threshold)
        found = replace(found, moving=moving)
    return found


def _align(
    predictions: PairPredictions,
    given: _Given,
    options: Options,
    report: Report,
    cache: StageCache | None,
) -> Solution:
    n, known = len(given.frames), given.known
    if n == 1:
        return _one_frame(predictions, known)
    if known.world_from_cam is None:
        known = replace(known, world_from_cam=predictions.world_from_cam)
    prior = best_pair_prior(predictions, n) if options.align.geometry == "scale" else None
    return align(
        predictions,
        n_frames=n,
        options=options.align,
        flows=predictions.flows,
        static=None if predictions.moving is None else ~predictions.moving,
        prior=prior,
        known=known,
        keyframes=keyframe_indices(n, options.pairs.group),
        progress=report,
        checkpoint=AlignCheckpoint(cache) if cache is not None else None,
        device=resolve_device(options.device),
    )


def _one_frame(predictions: PairPredictions, known: KnownCameras) -> Solution:
    focal, depth = single_view(predictions)
    pose = np.eye(4)[None]
    if known.world_from_cam is not None and np.isfinite(known.world_from_cam).all():
        pose = known.world_from_cam
    confidence = predictions.confidence[0, 0].float().numpy()
    return Solution(
        pose, np.array([focal]), predictions.principal_point, depth[None], confidence[None]
    )


def _as_reconstruction(
    solution: Solution, given: _Given, predictions: PairPredictions, info: dict[str, Any]
) -> Reconstruction:
    frames, known = given.frames, given.known
    moving = predictions.moving
    if moving is None:
        moving = np.zeros(frames.images.shape[:3], bool)
    working = np.stack([intrinsic_matrix(f, solution.principal_point) for f in solution.focal])
    if known.intrinsics is not None:
        working = known.intrinsics
    scale: ScaleKind = "relative" if known.world_from_cam is None else "known-camera"
    return Reconstruction(
        world_from_cam=solution.world_from_cam,
        intrinsics=resize_intrinsics(working, frames.size, frames.source_size),
        times=frames.times,
        frame_index=frames.index,
        size=frames.source_size,
        maps=ArrayMaps(
            depth=solution.depth,
            confidence=solution.confidence,
            moving=moving,
            images=frames.images,
            source_size=frames.source_size,
        ),
        scale=scale,
        info=info,
    )


def _save(
    scene: Reconstruction, out: Path, options: Options, watch: Stopwatch, report: Report
) -> None:
    report("save", 0, 1)
    with watch.stage("save"):
        scene.save(out, options=options.output)
    report("save", 1, 1)
