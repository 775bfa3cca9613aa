"""From pair predictions to cameras and depth: the aligner."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from align3r.config import AlignOptions
from align3r.errors import SolveError, UsageError
from align3r.io.storage import Storage
from align3r.optim.constraints import anchors, near_origin, rough_poses
from align3r.optim.dense import dense_maps
from align3r.optim.gauge import from_camera_zero, in_metres, known_kept, moved, start_from
from align3r.optim.journal import Checkpoint
from align3r.optim.keyframes import keyframes_linked, solve_keyframes
from align3r.optim.report import align_report
from align3r.optim.sampling import Grid, check_connected, choose_grid, sample_predictions
from align3r.optim.stages import Scene, solve_joint
from align3r.optim.state import Fixed
from align3r.optim.surface import SURFACES, Surface, away_from_edges
from align3r.optim.threads import torch_threads
from align3r.types import KnownCameras, PairFlows, PairPredictions, Progress, Solution

log = logging.getLogger(__name__)

JOINT_FRAMES = 120
"""`auto`: up to so many frames Adam solves in one problem."""


def align(
    predictions: PairPredictions,
    *,
    n_frames: int,
    options: AlignOptions,
    flows: PairFlows | None = None,
    static: np.ndarray | None = None,
    prior: np.ndarray | None = None,
    metric: np.ndarray | None = None,
    known: KnownCameras | None = None,
    keyframes: np.ndarray | None = None,
    start: Solution | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    storage: Storage | None = None,
    device: torch.device | str = "cpu",
) -> Solution:
    """Bring all pair predictions into one scene.

    Args:
        predictions: E >= 1 pairs that connect all frames.
        n_frames: N >= 2.
        options: Parametrisation, schedule, weights.
        flows: Flow of pairs, for the flow term; their edges need not be the predictions'.
        static: (N, h, w) bool, True where nothing moves; None: everywhere.
        prior: (N, h, w) positive prior depth; needed for the geometries "scale" and "scale-grid",
            and what a prior weight keeps the depths near.
        metric: (N, h, w) depth in metres that gives the result its unit, unless poses do.
        known: Intrinsics and poses that are not solved for, or poses that the solve keeps near.
            With poses (two or more places) the result is in their unit and frame.
        keyframes: Frames whose pairs are solved first in the "keyframes" schedule.
        start: An earlier solution of the same pairs to set out from: all pairs at once, whatever
            the schedule.
        progress: Told ("align", done, total).
        checkpoint: Makes an interrupted call go on where it stopped, with the same result.
        storage: Gives out the arrays of depth and confidence; None: main memory.
        device: Where to compute.

    Returns:
        The cameras, dense depth and confidence; camera 0 is the identity unless poses are
        known. Where neither poses nor a metric depth give the unit of length, it makes the
        geometric mean of the pair scales 1/2.

    Raises:
        SolveError: No pairs, unconnected frames, or values that are not finite.
        UsageError: Options and arguments contradict each other.
    """
    given = known or KnownCameras()
    known, origin = near_origin(given)
    check_connected(np.asarray(predictions.edges), n_frames)
    lens = _lens(predictions, known)
    keys = np.zeros(0, np.int64) if keyframes is None else np.asarray(keyframes)
    with torch_threads(1):
        scene = _scene(predictions, n_frames, lens, options, device=torch.device(device))
        scene = _with_prior(replace(scene, flows=flows, static=static), prior)
        scene = _with_known(scene, known)
        if start is not None:
            scene = replace(scene, start=start_from(start, scene, origin))
        if _keyframes_first(scene, keys):
            estimate, losses = solve_keyframes(scene, keys, progress, checkpoint)
        else:
            estimate, losses = solve_joint(scene, progress, checkpoint)
    posed = anchors(scene.fixed, scene.rough).any_pose
    if not posed:
        estimate = from_camera_zero(estimate)
    every = _every_pixel(scene, lens, predictions.points.device)
    maps = dense_maps(estimate, scene, predictions, prior, centred=every, storage=storage)
    whole = moved(estimate, torch.from_numpy(origin))
    solution = Solution(
        known_kept(whole, given.exact),
        estimate.focal.cpu().numpy(),
        lens.principal_point,
        *maps,
        losses=losses,
        world_from_pair=whole.world_from_pair.cpu().numpy(),
    )
    _check_finite(solution, options)
    with torch_threads(1):
        solution = replace(solution, report=align_report(estimate, solution.depth, scene))
    return solution if metric is None or posed else in_metres(solution, metric)


@dataclass(frozen=True)
class _Lens:
    """What all frames share of their intrinsics."""

    principal_point: tuple[float, float]
    aspect: float
    """Horizontal over vertical focal length."""


def _lens(predictions: PairPredictions, known: KnownCameras) -> _Lens:
    """Principal point and aspect: the known ones, else the predictor's."""
    if known.intrinsics is None:
        return _Lens(predictions.principal_point, predictions.aspect)
    matrices = np.asarray(known.intrinsics, np.float64)
    matrices = matrices[np.isfinite(matrices).all(axis=(1, 2))]
    if len(matrices) == 0:
        return _Lens(predictions.principal_point, predictions.aspect)
    shared = np.stack(
        [matrices[:, 0, 2], matrices[:, 1, 2], matrices[:, 0, 0] / matrices[:, 1, 1]], axis=1
    )
    spread = np.ptp(shared, axis=0)
    if spread[:2].max() > 0.01 or spread[2] > 1e-4:
        raise UsageError(
            f"the known intrinsics differ between frames: principal points by "
            f"{spread[:2].max():.2f} pixels, aspect by {spread[2]:.4f}; only focal lengths may",
            hint="crop the frames to one common principal point",
        )
    cx, cy, aspect = (float(value) for value in shared[0])
    return _Lens((cx, cy), aspect)


def _centred(pixels: np.ndarray, lens: _Lens, n_frames: int, device: torch.device) -> Tensor:
    """(N, 2, P) pixel minus principal point, y in units of the horizontal focal length."""
    offset = (pixels - np.array(lens.principal_point)) * np.array([1.0, lens.aspect])
    return torch.from_numpy(offset.T).float().to(device).expand(n_frames, -1, -1)


def _scene(
    predictions: PairPredictions,
    n_frames: int,
    lens: _Lens,
    options: AlignOptions,
    *,
    device: torch.device,
) -> Scene:
    """The predictions at the pixels that take part; nothing known, no flow yet."""
    _, _, height, width, _ = predictions.points.shape
    grid = choose_grid(height, width, options.pixels, np.random.default_rng(0))
    blank = torch.full((n_frames, len(grid.index)), torch.nan, dtype=torch.float64, device=device)
    return Scene(
        samples=sample_predictions(predictions, grid, device),
        grid=grid,
        centred=_centred(grid.pixels(), lens, n_frames, device),
        aspect=lens.aspect,
        surface=Surface(torch.ones_like(blank, dtype=torch.float32)),
        fixed=Fixed(blank[:, :1, None].expand(-1, 4, 4), blank[:, 0], blank),
        flows=None,
        static=None,
        options=options,
    )


def _with_known(scene: Scene, known: KnownCameras) -> Scene:
    """The scene with known poses and focal lengths as constraints."""
    fixed = scene.fixed
    if known.intrinsics is not None:
        focal = torch.from_numpy(np.asarray(known.intrinsics, np.float64)[:, 0, 0].copy())
        fixed = replace(fixed, focal=focal.to(fixed.focal))
    if known.exact.world_from_cam is not None:
        pose = np.asarray(known.exact.world_from_cam, np.float64)
        unknown = ~np.isfinite(pose).all(axis=(1, 2), keepdims=True)
        pose = np.where(unknown, np.nan, pose)
        fixed = replace(fixed, world_from_cam=torch.from_numpy(pose).to(fixed.focal))
    return replace(scene, fixed=fixed, rough=rough_poses(known, fixed.focal.device))


def _with_prior(scene: Scene, prior: np.ndarray | None) -> Scene:
    """The scene with the depths that the options allow, and those they are kept near."""
    options = scene.options
    if prior is not None and options.prior_weight > 0:
        scene = replace(scene, near=_at_grid(prior, scene))
    if options.geometry == "depth":
        return scene
    if prior is None:
        raise UsageError(
            "a scale map needs a prior depth, and there is none", hint="use --align.geometry depth"
        )
    surface = SURFACES[options.geometry](_at_grid(prior, scene), scene.grid, options.cells)
    if surface.basis is None:
        return replace(scene, surface=surface)
    smooth = away_from_edges(prior)
    at_grid = torch.from_numpy(smooth.reshape(len(smooth), -1)[:, scene.grid.index])
    static = smooth if scene.static is None else scene.static & smooth
    samples = scene.samples.only(at_grid.to(scene.centred.device))
    return replace(scene, surface=surface, samples=samples, static=static)


def _at_grid(prior: np.ndarray, scene: Scene) -> Tensor:
    """(N, P) prior depth at the pixels that take part."""
    bad = int((~(np.isfinite(prior) & (prior > 0))).sum())
    if bad:
        raise SolveError(
            f"the prior depth has {bad} of {prior.size} values that are not positive numbers",
            hint="use --align.geometry depth, and leave --align.prior-weight at 0",
        )
    picked = prior.reshape(len(prior), -1)[:, scene.grid.index].astype(np.float32)
    return torch.from_numpy(picked).to(scene.centred.device)


def _keyframes_first(scene: Scene, keyframes: np.ndarray) -> bool:
    """Whether this is the schedule, and there is no earlier solution to set out from."""
    wanted = _keyframes_wanted(scene, keyframes)
    if wanted and scene.start is not None:
        log.info("from an earlier solution all pairs are solved at once, no keyframes first")
    return wanted and scene.start is None


def _keyframes_wanted(scene: Scene, keyframes: np.ndarray) -> bool:
    options, n_frames = scene.options, len(scene.centred)
    known = anchors(scene.fixed, scene.rough)
    if options.schedule == "joint":
        return False
    if options.schedule == "auto":
        linked = keyframes_linked(scene.samples.edges, n_frames, keyframes)
        slow = options.solver == "adam" and n_frames > JOINT_FRAMES
        return slow and linked and not known.any_pose
    if len(keyframes) < 2:
        raise UsageError(
            f"the keyframes schedule needs at least two keyframes and has {len(keyframes)}",
            hint="use --pairs.graph keyframes with a smaller --pairs.group, "
            "or --align.schedule joint",
        )
    poses = known.world_from_cam[torch.from_numpy(np.asarray(keyframes)), 0, 0]
    if known.any_pose and int(poses.isfinite().sum()) < 2:
        raise UsageError(
            f"poses are known of fewer than two of the {len(keyframes)} keyframes",
            hint="use --align.schedule joint",
        )
    return True


def _every_pixel(scene: Scene, lens: _Lens, device: torch.device) -> Tensor:
    """(N, 2, h * w) every pixel minus the principal point."""
    height, width = scene.grid.size
    every = Grid(np.arange(height * width), (height, width), (height, width))
    return _centred(every.pixels(), lens, len(scene.centred), device)


def _check_finite(solution: Solution, options: AlignOptions) -> None:
    """No camera or depth that is not a number leaves the aligner."""
    other = "--align.solver adam"
    if options.solver == "adam":
        other = f"an --align.learning-rate below {options.learning_rate:g}"
    for name, values in (
        ("poses", solution.world_from_cam),
        ("focal lengths", solution.focal),
        ("depths", solution.depth),
    ):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise SolveError(
                f"{bad} of {values.size} {name} are not finite after the alignment",
                hint=f"look at the pair predictions, or use {other}",
            )
