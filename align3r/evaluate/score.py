"""The score of a reconstruction against the truth of its sequence."""

from __future__ import annotations

import numpy as np

from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.evaluate.metrics import depth_errors, mask_iou, path_length, trajectory_errors
from align3r.reconstruction import Reconstruction

STANDS_STILL_M = 1e-6


def score(scene: Reconstruction, truth: Truth) -> dict[str, float]:
    """Compare a reconstruction with the truth, frame by frame.

    Depth is compared at every pixel that has a true depth, with one scale for the sequence; a
    pixel without a predicted depth has a relative error of 1 and is outside delta1. The scale is
    the median of the ratios: the ratio of the medians, which some protocols take, hangs on the
    few pixels at the median depth (`abs_rel_median_scale` has it for comparison). The trajectory
    has a scale of its own, unless the true camera stands still: then it takes the depth's.

    Args:
        scene: The reconstruction; `scene.frame_index` says which frames of the truth it is about.
        truth: The truth about every frame of the source.

    Returns:
        `frames`, `path_m`, `ate_m`, `ate_percent` (of the path), `rpe_trans_m`, `rpe_rot_deg`,
        `focal`, `focal_error_percent`, `abs_rel`, `delta1`, `rmse_m`, `abs_rel_median_scale`,
        `depth_scale` (that scale), `depth_missing` (part of the compared pixels without a
        prediction), `scale_gap_percent` (scale of the trajectory against that of the depth),
        `moving_fraction` (predicted); and,
        where the truth knows what moves, `abs_rel_static`, `delta1_static`, `abs_rel_moving`,
        `delta1_moving`, `mask_iou`.
        nan where there is nothing to compare.

    Raises:
        InputError: The reconstruction is of another video.
    """
    check_same_video(scene.size, scene.frame_index, truth)
    depth, scale = _depth_scores(scene, truth)
    return {
        "frames": len(scene),
        **_pose_scores(scene, truth, depth_scale=scale),
        **_focal_scores(scene, truth),
        **depth,
        **_mask_scores(scene, truth),
    }


def check_same_video(size: tuple[int, int], frame_index: np.ndarray, truth: Truth) -> None:
    """Refuse the truth of another video.

    Args:
        size: (width, height) of the source frames.
        frame_index: (N,) int64 numbers of the frames that are compared.
        truth: The truth about every frame of the source.

    Raises:
        InputError: The frames have another size than the truth's, or it ends before them.
    """
    hint = "reconstruct the frames that the truth is about"
    if size != truth.size:
        raise InputError(
            f"the reconstruction is of {size[0]}x{size[1]} frames, the truth of "
            f"{truth.size[0]}x{truth.size[1]}",
            hint=hint,
        )
    if len(frame_index) and frame_index.max() >= len(truth):
        raise InputError(
            f"the reconstruction has frame {frame_index.max()}, the truth ends at {len(truth) - 1}",
            hint=hint,
        )


def _pose_scores(scene: Reconstruction, truth: Truth, *, depth_scale: float) -> dict[str, float]:
    gt = truth.world_from_cam[scene.frame_index]
    known = np.isfinite(gt).all(axis=(1, 2))
    gt, est = gt[known], scene.world_from_cam[known]
    path_m = path_length(gt)
    still = path_m <= STANDS_STILL_M or path_length(est) == 0.0
    names = ("ate_m", "rpe_trans_m", "rpe_rot_deg")
    if not len(gt) or (still and not np.isfinite(depth_scale)):
        unknown = dict.fromkeys(("ate_percent", "scale_gap_percent", *names), np.nan)
        return {"path_m": path_m, **unknown}
    errors = trajectory_errors(gt, est, scale=depth_scale if still else None)
    return {
        "path_m": path_m,
        "ate_percent": 100 * errors["ate_m"] / path_m if path_m > STANDS_STILL_M else np.nan,
        "scale_gap_percent": 100 * abs(errors["scale"] / depth_scale - 1),
        **{name: errors[name] for name in names},
    }


def _focal_scores(scene: Reconstruction, truth: Truth) -> dict[str, float]:
    """Mean over the frames; the truth may have fx and fy a little apart, their mean counts."""
    k = truth.intrinsics[scene.frame_index]
    true_focal = (k[:, 0, 0] + k[:, 1, 1]) / 2
    focal = (scene.intrinsics[:, 0, 0] + scene.intrinsics[:, 1, 1]) / 2
    error = 100 * np.abs(focal / true_focal - 1).mean()
    return {"focal": float(focal.mean()), "focal_error_percent": float(error)}


def _depth_scores(scene: Reconstruction, truth: Truth) -> tuple[dict[str, float], float]:
    """The depth figures, and the one scale they were made with."""
    gt, pred, moving = _compared_depth(scene, truth)
    every = depth_errors(gt, pred, align="ratio")
    missing = float((~np.isfinite(pred)).mean()) if len(pred) else np.nan
    out = {
        "abs_rel": every["abs_rel"],
        "delta1": every["delta1"],
        "rmse_m": every["rmse"],
        "abs_rel_median_scale": depth_errors(gt, pred, align="median")["abs_rel"],
        "depth_scale": every["scale"],
        "depth_missing": missing,
    }
    if truth.moving is not None:
        for name, mask in (("static", ~moving), ("moving", moving)):
            part = depth_errors(gt, pred, mask=mask, align=every["scale"])
            out[f"abs_rel_{name}"], out[f"delta1_{name}"] = part["abs_rel"], part["delta1"]
    return out, every["scale"]


def _compared_depth(
    scene: Reconstruction, truth: Truth
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True depth, predicted depth and true mask of all pixels with a true depth, flat."""
    every = (slice(None, None, truth.depth_stride),) * 2
    nothing = np.zeros(0, np.float32)
    if truth.depth is None:
        return nothing, nothing, np.zeros(0, bool)
    parts = []
    for i, frame in enumerate(scene.frame_index.tolist()):
        gt, pred = truth.depth(frame), scene.depth(i)[every]
        moving = np.zeros(gt.shape, bool) if truth.moving is None else truth.moving(frame)[every]
        known = np.isfinite(gt) & (gt > 0)
        parts.append((gt[known], pred[known], moving[known]))
    gt, pred, moving = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return gt, pred, moving


def _mask_scores(scene: Reconstruction, truth: Truth) -> dict[str, float]:
    predicted = np.stack([scene.moving(i) for i in range(len(scene))])
    out = {"moving_fraction": float(predicted.mean())}
    if truth.moving is not None:
        true = np.stack([truth.moving(frame) for frame in scene.frame_index.tolist()])
        out["mask_iou"] = mask_iou(true, predicted)
    return out
