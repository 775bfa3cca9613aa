"""Everything about a video at once: path, focal length, depth and moving masks."""

from __future__ import annotations

import numpy as np

from align3r.config import Options
from align3r.datasets.sequence import Sequence
from align3r.evaluate.metrics.depth_gauges import Gauge
from align3r.evaluate.metrics.trajectory import align_trajectory, path_length
from align3r.evaluate.pictures import depth_strip, trajectory_plot
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.score import STANDS_STILL_M, score
from align3r.evaluate.tasks.depth import DepthPairs, consistency
from align3r.evaluate.tasks.reconstructing import reconstruct_sequence
from align3r.evaluate.tasks.values import Measured
from align3r.progress import Report
from align3r.reconstruction import Reconstruction


def measure(sequence: Sequence, _protocol: Protocol, options: Options, report: Report) -> Measured:
    """Reconstruct, and take every figure of `score`.

    Raises:
        Align3rError: What `reconstruct` raises.
    """
    scene = reconstruct_sequence(sequence, options, report)
    truth = sequence.truth
    row = score(scene, truth)
    pictures = {}
    if truth.depth is not None:
        pairs = DepthPairs(scene, truth)
        row |= consistency(pairs)
        pictures["depth"] = depth_strip(sequence, pairs.frame, [Gauge(row["depth_scale"])])
    path = _path(scene, truth.world_from_cam)
    if path is not None:
        pictures["path"] = path
    return Measured(row, sequence.frames, {"info": scene.info}, pictures)


def _path(scene: Reconstruction, gt: np.ndarray) -> np.ndarray | None:
    """Both paths in one picture; None where one of the cameras stands still."""
    known = np.isfinite(gt).all(axis=(1, 2))
    gt, est = gt[known], scene.world_from_cam[known]
    if min(path_length(gt), path_length(est)) <= STANDS_STILL_M:
        return None
    fit = align_trajectory(gt[:, :3, 3], est[:, :3, 3])
    return trajectory_plot(gt, fit.apply(est))
