"""The residual report of a solution as scene.json keeps it: columns of rounded numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from align3r.types import AlignReport, KnownCameras, Residuals


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


def pose_residuals(world_from_cam: np.ndarray, known: KnownCameras) -> dict[str, Any]:
    """How far the (N, 4, 4) cameras of a solution are from the poses that were given.

    `degrees` and `position`, in the unit of the given poses, have a number a frame, nan where
    none was given; `exact` says whether the solve had to keep them.
    """
    assert known.world_from_cam is not None
    given = np.asarray(known.world_from_cam, np.float64)
    turn = given[:, :3, :3].transpose(0, 2, 1) @ world_from_cam[:, :3, :3]
    # The sine and not the cosine alone: that tells no angles below a hundredth of a degree.
    axis = np.stack([turn[:, i, j] - turn[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)
    sine, cosine = np.linalg.norm(axis, axis=1) / 2, (np.trace(turn, axis1=1, axis2=2) - 1) / 2
    degrees = np.degrees(np.arctan2(sine, cosine))
    position = np.linalg.norm(world_from_cam[:, :3, 3] - given[:, :3, 3], axis=1)
    there = np.isfinite(position)
    return {
        "exact": known.pose_sigma is None,
        "given": int(there.sum()),
        "median": {
            "degrees": float(f"{np.median(degrees[there]):.4g}") if there.any() else None,
            "position": float(f"{np.median(position[there]):.4g}") if there.any() else None,
        },
        "sigma": None if known.pose_sigma is None else known.pose_sigma[0].tolist(),
        "degrees": [float(f"{value:.4g}") for value in degrees],
        "position": [float(f"{value:.4g}") for value in position],
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
