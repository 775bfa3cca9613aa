"""Every metric of the papers: pure functions on numpy arrays, in float64."""

from align3r.evaluate.metrics.averages import average_rows
from align3r.evaluate.metrics.boundaries import boundary_f1
from align3r.evaluate.metrics.clouds import cloud_errors, register_clouds
from align3r.evaluate.metrics.depth import (
    DEPTH_METRICS,
    DepthRules,
    DepthScore,
    depth_errors,
    sequence_depth_errors,
)
from align3r.evaluate.metrics.depth_gauges import GAUGES, Gauge
from align3r.evaluate.metrics.masks import mask_iou
from align3r.evaluate.metrics.moge import MogePrediction, MogeTruth, moge_errors
from align3r.evaluate.metrics.relative_pose import (
    area_under_recall,
    pair_errors,
    relative_pose_scores,
    share_below,
    two_view_error,
)
from align3r.evaluate.metrics.resizing import resize_depth
from align3r.evaluate.metrics.temporal import TemporalConsistency
from align3r.evaluate.metrics.trajectory import (
    align_trajectory,
    path_length,
    statistics,
    trajectory_errors,
    trajectory_residuals,
)
from align3r.evaluate.metrics.two_view import pose_from_matches, reciprocal_matches
from align3r.geometry.association import associate

__all__ = [
    "DEPTH_METRICS",
    "GAUGES",
    "DepthRules",
    "DepthScore",
    "Gauge",
    "MogePrediction",
    "MogeTruth",
    "TemporalConsistency",
    "align_trajectory",
    "area_under_recall",
    "associate",
    "average_rows",
    "boundary_f1",
    "cloud_errors",
    "depth_errors",
    "mask_iou",
    "moge_errors",
    "pair_errors",
    "path_length",
    "pose_from_matches",
    "reciprocal_matches",
    "register_clouds",
    "relative_pose_scores",
    "resize_depth",
    "sequence_depth_errors",
    "share_below",
    "statistics",
    "trajectory_errors",
    "trajectory_residuals",
    "two_view_error",
]
