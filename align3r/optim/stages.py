"""One solve: a scene, or a part of one, from its start to its estimate."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from align3r.config import AlignOptions
from align3r.optim.constraints import POSE_WEIGHT, RoughPoses, anchors
from align3r.optim.depth_prior import DepthPrior, depth_prior
from align3r.optim.gauss_newton import gauss_newton
from align3r.optim.initial import Start, initialise
from align3r.optim.journal import Arrays, Checkpoint, Journal
from align3r.optim.residuals import Problem
from align3r.optim.sampling import (
    Grid,
    Samples,
    flow_observations,
    point_observations,
)
from align3r.optim.solve import Recipe, adam, as_started
from align3r.optim.state import Estimate, Fixed, Raw, decode, encode, estimate_of
from align3r.optim.surface import Surface
from align3r.types import PairFlows, Progress

log = logging.getLogger(__name__)

# The start is within a degree, but Adam's first steps are as long as the rate: at 0.05 they throw
# the cameras six degrees off, and 300 steps do not bring the weakly determined directions back.
CAMERA_SHARE = 0.2

SMOOTH_WITHOUT_FLOW = 5.0
"""Times the weight of smoothness where no flow is used: pair predictions alone say so little of
small translations that the path is mostly their noise. Known poses say enough."""

SMALLEST = 160
"""Long side below which flow is not taken to be any sharper than it is there."""
FLOW_PIXELS = 512
"""Long side of the image whose pixels the flow term counts in, whatever the working size: that is
what its weight and its Huber loss were made for."""

SOLVERS = {"adam": adam, "gauss-newton": gauss_newton, "none": as_started}


@dataclass(frozen=True)
class Scene:
    """Everything the solves read, at the pixels that take part."""

    samples: Samples
    grid: Grid
    centred: Tensor
    """(N, 2, P) pixel minus principal point, y in units of the horizontal focal length."""
    aspect: float
    """Horizontal over vertical focal length."""
    surface: Surface
    """Which depths there are."""
    fixed: Fixed
    """Float64."""
    flows: PairFlows | None
    static: np.ndarray | None
    options: AlignOptions
    rough: RoughPoses | None = None
    near: Tensor | None = None
    """(N, P) depth that the prior term keeps near; None: the start's."""
    start: Start | None = None
    """Float64; found from the pairs where there is none."""

    def part(self, frames: np.ndarray, fixed: Fixed) -> tuple[Scene, np.ndarray]:
        """The scene of some frames only, and the numbers of the pairs among them."""
        number = np.full(len(self.centred), -1)
        number[frames] = np.arange(len(frames))
        inside = np.flatnonzero((number[self.samples.edges] >= 0).all(1))
        take, pick = torch.from_numpy(frames), torch.from_numpy(inside)
        samples = Samples(
            number[self.samples.edges[inside]],
            self.samples.points[pick],
            self.samples.confidence[pick],
        )
        part = replace(
            self,
            samples=samples,
            centred=self.centred[take],
            surface=self.surface.part(take),
            fixed=fixed,
            flows=_flows_between(self.flows, number),
            static=None if self.static is None else self.static[frames],
            near=None if self.near is None else self.near[take],
            rough=None if self.rough is None else self.rough.part(number),
        )
        return part, inside


def _flows_between(flows: PairFlows | None, number: np.ndarray) -> PairFlows | None:
    """The flows whose two frames have a new number, renumbered."""
    if flows is None:
        return None
    edges = number[flows.edges]
    keep = np.flatnonzero((edges >= 0).all(1))
    if len(keep) == 0:
        return None
    return PairFlows(
        edges=edges[keep],
        forward=flows.forward[keep],
        backward=flows.backward[keep],
        forward_valid=flows.forward_valid[keep],
        backward_valid=flows.backward_valid[keep],
    )


def solve_part(scene: Scene, solve: int, journal: Journal) -> tuple[Estimate, dict[str, float]]:
    """Solve one scene whole; the estimate is float64, in the unit of the fixed values."""
    options = scene.options
    n_frames = len(scene.centred)
    fixed = scene.fixed.to(torch.float32)
    shared = options.focal == "shared"
    shapes = {"log_map": scene.surface.shape, "pair": (len(scene.samples.edges), 8)}
    resume = journal.resume(solve, shapes)
    problem = _problem(scene)
    start = scene.start or initialise(scene.samples, problem, fixed, shared_focal=shared)
    if options.prior_weight > 0:
        problem = replace(problem, near=_depth_prior(scene, start))
    final, losses = SOLVERS[options.solver](
        _encoded(scene, start) if resume is None else _kept(scene, resume),
        problem,
        fixed,
        _recipe(scene),
        resume=resume,
        save=lambda arrays: journal.save(solve, arrays),
        tick=lambda done: journal.tick(solve, done),
    )
    estimate = _precise(final, scene)
    log.info(
        "solve %d: %d frames, %d pairs, %s; path %.3g median depths long",
        solve,
        n_frames,
        len(scene.samples.edges),
        ", ".join(f"{name} {value:.4g}" for name, value in losses.items()),
        _path_in_depths(estimate),
    )
    return estimate, losses


def _encoded(scene: Scene, start: Start) -> Raw:
    """Raw parameters of a start."""
    surface, shared = scene.surface.to(start.estimate.depth.dtype), scene.options.focal == "shared"
    raw = encode(start.estimate, surface, shared_focal=shared, log_unit=start.log_unit)
    return {name: value.to(scene.centred) for name, value in raw.items()}


def _kept(scene: Scene, resume: Arrays) -> Raw:
    """Raw parameters of a solve that was interrupted."""
    return {
        name[len("value/") :]: torch.from_numpy(value).to(scene.centred.device)
        for name, value in resume.items()
        if name.startswith("value/")
    }


def _depth_prior(scene: Scene, start: Start) -> DepthPrior:
    """The given prior depth, or that of the start."""
    near = start.estimate.depth if scene.near is None else scene.near
    still = scene.static
    if still is not None:
        still = still.reshape(len(still), -1)[:, scene.grid.index]
    return depth_prior(near.to(scene.centred).log(), still)


def _path_in_depths(estimate: Estimate) -> float:
    """Length of the camera path over the median depth: near zero, nothing tells the depth."""
    step = estimate.world_from_cam[:, :3, 3].diff(dim=0).norm(dim=1).sum()
    return float(step / estimate.depth.median())


def _precise(raw: Raw, scene: Scene) -> Estimate:
    """Decode in float64, so that rotations are rotations to the last digit."""
    fine = {name: value.double() for name, value in raw.items()}
    state = decode(fine, scene.fixed, scene.surface.to(torch.float64))
    return estimate_of(state, fine["log_unit"].exp())


def _recipe(scene: Scene) -> Recipe:
    options, weights = scene.options, {"pair": 1.0}
    if scene.flows is not None and options.flow_weight > 0:
        weights["flow"] = options.flow_weight
    if options.smooth_weight > 0:
        # The other terms are means: a sum over frames would outgrow them in a long video and
        # shorten the path.
        held = "flow" in weights or anchors(scene.fixed, scene.rough).any_pose
        share = 1.0 if held else SMOOTH_WITHOUT_FLOW
        weights["smooth"] = share * options.smooth_weight / (len(scene.centred) - 1)
    if scene.rough is not None:
        weights["pose"] = POSE_WEIGHT
    if options.prior_weight > 0:
        weights["prior"] = options.prior_weight
    return Recipe(
        steps=options.steps,
        rate=options.learning_rate,
        camera_share=CAMERA_SHARE,
        weights=weights,
        warm=scene.start is not None,
    )


def _problem(scene: Scene) -> Problem:
    flow = None
    if scene.flows is not None and scene.options.flow_weight > 0:
        plain = scene.centred * scene.centred.new_tensor([1.0, 1.0 / scene.aspect])[:, None]
        unit = FLOW_PIXELS / max(*scene.grid.size, SMALLEST)
        flow = flow_observations(scene.flows, plain, scene.grid, scene.static, unit=unit)
    return Problem(
        centred=scene.centred,
        aspect=scene.aspect,
        pairs=point_observations(scene.samples, len(scene.centred)),
        flow=flow,
        surface=scene.surface,
        rough=scene.rough,
    )


def solve_joint(
    scene: Scene, progress: Progress | None, checkpoint: Checkpoint | None
) -> tuple[Estimate, dict[str, float]]:
    """All pairs in one problem."""
    return solve_part(scene, 0, Journal(1, scene.options.steps, progress, checkpoint))
