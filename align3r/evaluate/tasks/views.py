"""Relative poses of a few images of one scene: RRA, RTA and AUC over all pairs."""

from __future__ import annotations

import numpy as np

from align3r.config import Options
from align3r.datasets.sequence import Sequence
from align3r.errors import InputError, SolveError
from align3r.evaluate.metrics import pair_errors
from align3r.evaluate.pose_scores import pose_scores
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.tasks.reconstructing import reconstruct_sequence
from align3r.evaluate.tasks.values import Measured
from align3r.progress import Report


def measure(sequence: Sequence, protocol: Protocol, options: Options, report: Report) -> Measured:
    """Reconstruct and compare all pairs; images that cannot be solved count as lost pairs.

    Raises:
        InputError: A true pose is not known.
        Align3rError: What `reconstruct` raises, but for SolveError.
    """
    gt = sequence.truth.world_from_cam
    unknown = int((~np.isfinite(gt).all(axis=(1, 2))).sum())
    if unknown:
        raise InputError(
            f"{sequence.name} has no true pose for {unknown} of {len(gt)} images",
            hint="leave the sequence out with --sequences",
        )
    about: dict[str, object] = {}
    try:
        scene = reconstruct_sequence(sequence, options, report)
        est = np.linalg.inv(scene.world_from_cam)
        about["info"] = scene.info
    except SolveError as error:
        est = np.full(gt.shape, np.nan)
        about["not_solved"] = str(error)
    rules = protocol.poses
    rotation, translation = pair_errors(np.linalg.inv(gt), est, convention=rules.convention)
    row = pose_scores(rotation, translation, rules)
    about |= {"rotation_deg": rotation.tolist(), "translation_deg": translation.tolist()}
    return Measured(row | {"pairs": float(len(rotation))}, sequence.frames, about)
