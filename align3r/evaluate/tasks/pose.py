"""Camera poses of a video: ATE and RPE after one similarity."""

from __future__ import annotations

import numpy as np

from align3r.config import Options
from align3r.datasets.sequence import Sequence
from align3r.errors import InputError
from align3r.evaluate.metrics import path_length, trajectory_residuals
from align3r.evaluate.metrics.trajectory import statistics
from align3r.evaluate.pictures import trajectory_plot
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.tasks.reconstructing import reconstruct_sequence
from align3r.evaluate.tasks.values import Measured
from align3r.progress import Report

_FEWEST = 3


def measure(sequence: Sequence, _protocol: Protocol, options: Options, report: Report) -> Measured:
    """Reconstruct, align and measure the frames whose true pose is known.

    Raises:
        InputError: Fewer than three are known.
        SolveError: The true or the found camera stands still or moves on a line, which fixes no
            similarity: papers leave such sequences out.
        Align3rError: What `reconstruct` raises.
    """
    gt = sequence.truth.world_from_cam
    known = np.isfinite(gt).all(axis=(1, 2))
    if known.sum() < _FEWEST:
        raise InputError(
            f"{sequence.name} has {known.sum()} frames with a true pose of {len(gt)}",
            hint=f"at least {_FEWEST} are needed",
        )
    scene = reconstruct_sequence(sequence, options, report)
    gt, est = gt[known], scene.world_from_cam[known]
    found = trajectory_residuals(gt, est, refuse_lines=True)
    row = {
        "ate_m": statistics(found.position)["rmse"],
        "rpe_trans_m": statistics(found.translation)["rmse"],
        "rpe_rot_deg": statistics(found.rotation_deg)["rmse"],
        "path_m": path_length(gt),
        "scale": found.fit.scale,
    }
    about = {"poses": int(known.sum()), "info": scene.info}
    picture = trajectory_plot(gt, found.fit.apply(est))
    return Measured(row, sequence.frames, about, {"path": picture})
