"""Which frame and unit a scene is told in: camera 0, the known cameras, or the solve's own."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from align3r.geometry.rigid import inverse_rigid
from align3r.optim.initial import Start
from align3r.optim.stages import Scene
from align3r.optim.state import MEAN_PAIR_SCALE, Estimate
from align3r.types import KnownCameras, Solution

log = logging.getLogger(__name__)


def start_from(solution: Solution, scene: Scene, origin: np.ndarray) -> Start:
    """An earlier solution at the pixels that take part, in the gauge of the solve.

    Args:
        solution: Of the same pairs.
        scene: The pixels.
        origin: (3,) place in the frame of the solution that is zero in the solve.

    Raises:
        ValueError: It is of other pairs.
    """
    n_pairs = len(scene.samples.edges)
    if solution.world_from_pair is None or len(solution.world_from_pair) != n_pairs:
        raise ValueError("the start is not a solution of these pairs")
    depth = solution.depth.reshape(len(solution.depth), -1)[:, scene.grid.index]
    arrays = (solution.world_from_cam, solution.focal, depth, solution.world_from_pair)
    whole = Estimate(*(torch.tensor(array).to(scene.fixed.focal) for array in arrays))
    near = moved(whole, torch.from_numpy(-origin))
    scale = torch.linalg.det(near.world_from_pair[:, :, :3]).pow(1 / 3)
    unit = MEAN_PAIR_SCALE / scale.log().mean().exp()
    near.world_from_cam[:, :3, 3] *= unit
    estimate = replace(near, depth=unit * near.depth, world_from_pair=unit * near.world_from_pair)
    return Start(estimate, math.log(float(unit)))


def from_camera_zero(estimate: Estimate) -> Estimate:
    """The same scene with camera 0 at the origin."""
    back = inverse_rigid(estimate.world_from_cam[:1])
    pair = back[:, :3, :3] @ estimate.world_from_pair
    pair[:, :, 3] += back[:, :3, 3]
    pose = back @ estimate.world_from_cam
    pose[0] = torch.eye(4).to(pose)
    return Estimate(pose, estimate.focal, estimate.depth, pair)


def in_metres(solution: Solution, metric: np.ndarray) -> Solution:
    """The same scene in the unit that most frames of a depth in metres (N, h, w) agree on.

    One factor for the video: the median over frames of each frame's median, so that neither moving
    things nor frames that the depth network misjudges pull it. Depth is multiplied where it is.
    """
    depth = solution.depth
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [np.log(there / here) for there, here in zip(metric, depth, strict=True)]
    of_frame = [torch.from_numpy(ratio).nanmedian() for ratio in ratios]
    unit = float(_agreed(torch.stack(of_frame)))
    poses, pairs, report = solution.world_from_cam.copy(), solution.world_from_pair, solution.report
    poses[:, :3, 3] *= unit
    depth *= unit
    return replace(
        solution,
        world_from_cam=poses,
        world_from_pair=None if pairs is None else unit * pairs,
        report=None if report is None else replace(report, pair_scale=unit * report.pair_scale),
        is_metric=True,
    )


def _agreed(of_frame: Tensor) -> Tensor:
    """The unit that most frames agree on, from the logarithm of each one's own (N,)."""
    size = of_frame.nanmedian()
    off = (of_frame - size).abs().nanmedian().exp() - 1
    log.info("the frames of the metric depth agree on the unit to %.1f %%", 100 * float(off))
    return size.exp()


def moved(estimate: Estimate, by: Tensor) -> Estimate:
    """The same scene, everything moved by one vector (3,)."""
    pose, pair = estimate.world_from_cam.clone(), estimate.world_from_pair.clone()
    pose[:, :3, 3] += by.to(pose)
    pair[:, :, 3] += by.to(pair)
    return replace(estimate, world_from_cam=pose, world_from_pair=pair)


def known_kept(estimate: Estimate, known: KnownCameras) -> np.ndarray:
    """(N, 4, 4) poses; known ones to the last digit as they were given."""
    poses = estimate.world_from_cam.cpu().numpy()
    if known.world_from_cam is None:
        return poses
    given = np.asarray(known.world_from_cam, np.float64)
    return np.where(np.isfinite(given).all(axis=(1, 2), keepdims=True), given, poses)
