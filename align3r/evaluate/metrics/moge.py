"""MoGe's protocol for one image: depth, disparity, points, field of view and boundaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from align3r.errors import UsageError
from align3r.evaluate.metrics.boundaries import boundary_f1
from align3r.evaluate.metrics.cells import Cells, nearest_in_cells
from align3r.evaluate.metrics.depth import FACTOR
from align3r.evaluate.metrics.least_absolute import least_absolute_line
from align3r.evaluate.metrics.point_fits import PointFit, fit_scale_and_shift, fit_shift
from align3r.evaluate.metrics.selection import weighted_median

Kind = Literal["metric", "scale", "affine", "disparity"]

_EPS = 1e-6
_NO_SHIFT = (False, False, False)
POINT_DELTA = 0.25
RADII = (1, 2, 3)


@dataclass(frozen=True)
class MogeTruth:
    """What is true about an image."""

    depth: np.ndarray
    """(H, W) z-depth."""
    mask: np.ndarray
    """(H, W) bool, pixels whose depth is true."""
    points: np.ndarray | None = None
    """(H, W, 3) in the frame of the camera."""
    fov_x_deg: float | None = None
    segments: np.ndarray | None = None
    """(H, W) int, 0 where no segment is."""
    sharp: bool = False
    """The truth is exact at occlusions, so boundaries are measured."""


@dataclass(frozen=True)
class MogePrediction:
    """What was predicted of it; what is None is left out of the result."""

    depth: np.ndarray | None = None
    """(H, W) z-depth, or disparity for the kind disparity."""
    points: np.ndarray | None = None
    """(H, W, 3)."""
    fov_x_deg: float | None = None
    kind: Kind = "scale"
    """What depth and points are known up to: nothing, a scale, scale and shift; or scale and shift
    of the inverse."""


def moge_errors(truth: MogeTruth, prediction: MogePrediction) -> dict[str, float]:
    """All metrics of MoGe's protocol that the prediction allows.

    Alignments are fitted to the pixels of a 64x64 grid, except that of disparity; errors are of
    all valid pixels.

    Returns:
        `<what>_rel` and `<what>_delta1` with <what> one of depth_metric, depth_scale_invariant,
        depth_affine_invariant, disparity_affine_invariant, points_metric, points_scale_invariant,
        points_affine_invariant, local_points; `fov_x_mae`, `fov_x_deviation` (signed), degrees;
        `boundary_f1_radius1` to 3. nan where no pixel is valid
        or a valid one has no prediction.

    Raises:
        ValueError: The shapes do not fit.
        UsageError: A kind that does not exist.
    """
    if prediction.kind not in _DEPTH_OF:
        raise UsageError(
            f"kind of prediction {prediction.kind!r} does not exist",
            hint=f"one of {', '.join(_DEPTH_OF)}",
        )
    for name, array in (("depth", prediction.depth), ("points", prediction.points)):
        if array is not None and array.shape[:2] != truth.depth.shape:
            raise ValueError(f"true depth {truth.depth.shape}, predicted {name} {array.shape}")
    cells = nearest_in_cells(truth.mask)
    out: dict[str, float] = {}
    if prediction.depth is not None:
        out |= _depth_errors(truth, prediction.depth, prediction.kind, cells)
    if prediction.points is not None and truth.points is not None:
        out |= _points_errors(truth, truth.points, prediction, cells)
    if prediction.fov_x_deg is not None and truth.fov_x_deg is not None:
        deviation = prediction.fov_x_deg - truth.fov_x_deg
        out |= {"fov_x_mae": abs(deviation), "fov_x_deviation": deviation}
    return out


def fov_x(intrinsics: np.ndarray) -> float:
    """Horizontal field of view in degrees of (3, 3) intrinsics relative to width and height."""
    fx, cx = float(intrinsics[0, 0]), float(intrinsics[0, 2])
    return float(np.degrees(np.arctan(cx / fx) + np.arctan((1.0 - cx) / fx)))


def scale_depth(gt: np.ndarray, pred: np.ndarray) -> np.ndarray:
    """(2,) scale and shift 0: argmin_a sum (1/g) |a d - g|, of (n,) samples."""
    used = pred != 0
    g, d = gt[used], pred[used]
    return np.array([weighted_median(g / d, np.abs(d) / g), 0.0])


def affine_depth(gt: np.ndarray, pred: np.ndarray) -> np.ndarray:
    """(2,) scale and shift: argmin_{a,b} sum (1/g) |a d + b - g|, of (n,) samples."""
    return np.array(least_absolute_line(pred, gt, 1.0 / gt))


def affine_disparity(gt: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """(2,) scale and shift of predicted on true disparity by least squares, of (n,) samples."""
    if not len(gt) or not np.isfinite(disparity).all():
        return np.full(2, np.nan)
    columns = np.stack([disparity, np.ones(len(disparity))], axis=1)
    return np.asarray(np.linalg.lstsq(columns, 1.0 / gt, rcond=None)[0])


def _depth_errors(
    truth: MogeTruth, given: np.ndarray, kind: Kind, cells: Cells
) -> dict[str, float]:
    whole, given = truth.depth.astype(np.float64), given.astype(np.float64)
    gt, pred = whole[truth.mask], given[truth.mask]
    coarse = cells.of(whole), cells.of(given)
    out: dict[str, float] = {}
    aligned: dict[str, np.ndarray] = {}
    for name in _DEPTH_OF[kind]:
        aligned[name] = _DEPTH_ALIGNED[name](gt, pred, coarse, kind)
        out |= _named(name, _relative_depth(gt, aligned[name]))
    if truth.sharp:
        image = np.ones(whole.shape)
        # Of all alignments the one closest to what was predicted shows its boundaries; that of
        # disparity without the floor, which would flatten what is far.
        image[truth.mask] = (
            1.0 / np.maximum(_line(affine_disparity(gt, pred), pred), _EPS)
            if kind == "disparity"
            else aligned[_DEPTH_OF[kind][0]]
        )
        for radius in RADII:
            out[f"boundary_f1_radius{radius}"] = boundary_f1(
                whole, image, mask=truth.mask, radius=radius
            )
    return out


_Coarse = tuple[np.ndarray, np.ndarray]


def _scaled(_gt: np.ndarray, pred: np.ndarray, coarse: _Coarse, _kind: Kind) -> np.ndarray:
    return np.asarray(scale_depth(*coarse)[0] * pred)


def _shifted(_gt: np.ndarray, pred: np.ndarray, coarse: _Coarse, _kind: Kind) -> np.ndarray:
    return _line(affine_depth(*coarse), pred)


def _inverted(gt: np.ndarray, pred: np.ndarray, _coarse: _Coarse, kind: Kind) -> np.ndarray:
    disparity = pred if kind == "disparity" else 1.0 / np.maximum(pred, _EPS)
    floor = 1.0 / gt.max() if len(gt) else np.nan
    return np.asarray(1.0 / np.maximum(_line(affine_disparity(gt, disparity), disparity), floor))


def _line(fit: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.asarray(fit[0] * values + fit[1])


_DEPTH_ALIGNED: dict[str, Callable[[np.ndarray, np.ndarray, _Coarse, Kind], np.ndarray]] = {
    "depth_metric": lambda _gt, pred, _coarse, _kind: pred,
    "depth_scale_invariant": _scaled,
    "depth_affine_invariant": _shifted,
    "disparity_affine_invariant": _inverted,
}
_DEPTH_OF: dict[Kind, tuple[str, ...]] = {
    "metric": tuple(_DEPTH_ALIGNED),
    "scale": tuple(_DEPTH_ALIGNED)[1:],
    "affine": ("depth_affine_invariant",),
    "disparity": ("disparity_affine_invariant",),
}

_POINTS_FITTED: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], PointFit]] = {
    # Even metric points may have their origin elsewhere.
    "points_metric": fit_shift,
    "points_scale_invariant": lambda x, y, w: fit_scale_and_shift(x, y, w, shifted=_NO_SHIFT),
    "points_affine_invariant": fit_scale_and_shift,
}
_POINTS_OF: dict[Kind, tuple[str, ...]] = {
    "metric": tuple(_POINTS_FITTED),
    "scale": tuple(_POINTS_FITTED)[1:],
    "affine": ("points_affine_invariant",),
    "disparity": (),
}


def _points_errors(
    truth: MogeTruth, points: np.ndarray, prediction: MogePrediction, cells: Cells
) -> dict[str, float]:
    whole = points.astype(np.float64)
    given = np.asarray(prediction.points, dtype=np.float64)
    gt, pred = whole[truth.mask], given[truth.mask]
    coarse = cells.of(given), cells.of(whole)
    weights = 1.0 / np.linalg.norm(coarse[1], axis=1)
    out: dict[str, float] = {}
    for name in _POINTS_OF[prediction.kind]:
        fit = _POINTS_FITTED[name](*coarse, weights)
        out |= _named(name, _relative_points(gt, fit.apply(pred)))
    if truth.segments is not None and prediction.kind != "disparity":
        segments = np.where(truth.mask, truth.segments, 0)
        out |= _named("local_points", _local_points(segments, whole, given, cells))
    return out


def _local_points(
    segments: np.ndarray, whole: np.ndarray, given: np.ndarray, cells: Cells
) -> tuple[float, float]:
    """Each segment with its own fit, relative to its size; the mean over segments."""
    rows = []
    coarse, x, y = cells.of(segments), cells.of(given), cells.of(whole)
    # A segment that no cell has seen cannot be fitted.
    for label in np.unique(coarse[coarse > 0]):
        own = coarse == label
        fit = fit_scale_and_shift(x[own], y[own], np.ones(int(own.sum())))
        gt, pred = whole[segments == label], given[segments == label]
        size = float(np.ptp(gt, axis=0).max())
        if not (size > 0 and np.isfinite(fit.scale)):
            continue
        error = np.linalg.norm(fit.apply(pred) - gt, axis=1) / size
        rows.append((float(error.mean()), float((error < POINT_DELTA).mean())))
    if not rows:
        return np.nan, np.nan
    rel, delta = np.mean(rows, axis=0)
    return float(rel), float(delta)


def _relative_depth(gt: np.ndarray, pred: np.ndarray) -> tuple[float, float]:
    if not len(gt):
        return np.nan, np.nan
    with np.errstate(divide="ignore"):
        within = np.maximum(pred / gt, gt / pred) < FACTOR
    return float((np.abs(pred - gt) / (gt + _EPS)).mean()), float(within.mean())


def _relative_points(gt: np.ndarray, pred: np.ndarray) -> tuple[float, float]:
    if not len(gt):
        return np.nan, np.nan
    error, length = np.linalg.norm(pred - gt, axis=1), np.linalg.norm(gt, axis=1)
    within = error < POINT_DELTA * np.minimum(length, np.linalg.norm(pred, axis=1))
    return float((error / length).mean()), float(within.mean())


def _named(name: str, found: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_rel": found[0], f"{name}_delta1": found[1]}
