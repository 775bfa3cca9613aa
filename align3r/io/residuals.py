"""The residual report of a solution as scene.json keeps it: columns of rounded numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from align3r.types import AlignReport, Residuals


def residuals_info(report: AlignReport) -> dict[str, Any]:
    """What `info["residuals"]` of a result holds; nan becomes null in the file.

    `whole` has one number a name; `frames` and `pairs` a list each, in the order of the frames and
    of the pairs (`i`, `j`), so that a table library takes them as they are.
    """
    pairs = {"i": report.edges[:, 0].tolist(), "j": report.edges[:, 1].tolist()}
    scale = [float(f"{value:.4g}") for value in report.pair_scale]
    return {
        "whole": {name: values[0] for name, values in _columns(report.whole).items()},
        "path_scale": round(report.path_scale, 4),
        "path_scale_from": report.path_scale_from,
        "frames": _columns(report.frames),
        "pairs": {**pairs, "scale": scale, **_columns(report.pairs)},
    }


def _columns(values: Residuals) -> dict[str, list[float]]:
    return {
        "points": _rounded(values.points, 4),
        "inliers": _rounded(values.inliers, 3),
        "flow_px": _rounded(values.flow_px, 3),
        "flow_inliers": _rounded(values.flow_inliers, 3),
    }


def _rounded(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
