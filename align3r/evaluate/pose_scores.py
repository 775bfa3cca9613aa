"""The figures of relative poses, with the rules of a protocol."""

from __future__ import annotations

import numpy as np

from align3r.evaluate.metrics import relative_pose_scores
from align3r.evaluate.protocols import PoseRules


def pose_scores(
    rotation: np.ndarray, translation: np.ndarray, rules: PoseRules
) -> dict[str, float]:
    """RRA, RTA and AUC of (P,) errors in degrees; what is not finite was not found."""
    return relative_pose_scores(
        rotation, translation, thresholds=rules.thresholds, areas=rules.areas, rule=rules.rule
    )


def two_view_scores(
    rotation: np.ndarray, translation: np.ndarray, rules: PoseRules
) -> dict[str, float]:
    """The same, where a pose that was not found has the error that the protocol gives it."""
    lost = ~(np.isfinite(rotation) & np.isfinite(translation))
    rotation, translation = (
        np.where(lost, rules.failure_deg, error) for error in (rotation, translation)
    )
    return pose_scores(rotation, translation, rules)
