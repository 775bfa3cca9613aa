"""Pictures of an evaluation: depth against its truth, paths against theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from align3r.datasets.sequence import Sequence as Frames
from align3r.evaluate.metrics.depth_gauges import Gauge
from align3r.view.camera_plot import round_length
from align3r.view.comparison import diverging
from align3r.view.palette import DepthRange, depth_picture, spread, time_colour

PANEL = 260
"""Width of a panel, pixels."""
ERROR_SPAN = 0.25
"""Ratios to the truth from 1 / 1.25 to 1.25 span the colours of an error."""
_INK, _FAINT, _WHITE = (45, 45, 52), (205, 205, 212), 255


def depth_strip(
    sequence: Frames,
    pair: Callable[[int], tuple[np.ndarray, np.ndarray]],
    gauges: Sequence[Gauge],
    *,
    columns: int = 5,
) -> np.ndarray:
    """A few frames, one column each: image, true depth, predicted depth, their ratio.

    One range of inverse depth holds for all. In a ratio white is right, red too far, blue too
    near; full colour is a quarter. What is not known is dark.

    Args:
        sequence: The frames.
        pair: Frame number -> true and predicted depth, (H, W) each.
        gauges: Of the prediction: one for all frames or one each.
        columns: At most so many frames.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    chosen = [int(i) for i in spread(len(sequence), columns)]
    maps = []
    for i in chosen:
        gt, pred = pair(i)
        maps.append((gt, gauges[i if len(gauges) > 1 else 0].apply(pred)))
    span = _range([gt for gt, _ in maps])
    strip = [_column(sequence.image(i), *both, span) for i, both in zip(chosen, maps, strict=True)]
    return np.concatenate(strip, axis=1)


def _range(depths: Sequence[np.ndarray]) -> DepthRange:
    known = [depth[np.isfinite(depth) & (depth > 0)] for depth in depths]
    inverse = 1.0 / np.concatenate(known)
    if not inverse.size:
        return DepthRange(0.0, 1.0)
    far, near = np.percentile(inverse, [2, 97])
    return DepthRange(float(far), float(max(near, far * (1 + 1e-6))))


def _column(image: np.ndarray, gt: np.ndarray, pred: np.ndarray, span: DepthRange) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(np.where(gt > 0, pred / gt, np.nan))
    error = diverging(np.where(np.isfinite(ratio), ratio / np.log1p(ERROR_SPAN), np.nan))
    shown = [np.where(np.isfinite(d) & (d > 0), d, np.nan) for d in (gt, pred)]
    size = PANEL, round(PANEL * image.shape[0] / image.shape[1])
    panels = [cv2.resize(image, size, interpolation=cv2.INTER_AREA)]
    for picture in (*(depth_picture(d.astype(np.float32), span) for d in shown), error):
        panels.append(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST))
    framed = [
        cv2.copyMakeBorder(panel, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(_WHITE,) * 3)
        for panel in panels
    ]
    return np.concatenate(framed)


def trajectory_plot(gt: np.ndarray, est: np.ndarray, *, side: int = 480) -> np.ndarray:
    """The true path (grey) and the aligned estimate (blue to orange), in the plane they lie in.

    Grey lines join the poses of one moment; the bar is a length in the unit of the truth.

    Args:
        gt: (N, 4, 4) true poses.
        est: (N, 4, 4) estimated poses, aligned.
        side: Pixels.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    true, found = gt[:, :3, 3], est[:, :3, 3]
    middle = true.mean(axis=0)
    # The two directions in which the true path is longest.
    axes = np.linalg.svd(true - middle, full_matrices=False)[2][:2]
    flat = [(positions - middle) @ axes.T for positions in (true, found)]
    reach = float(np.abs(np.concatenate(flat)).max()) or 1.0
    twice = 2 * side
    scale = 0.44 * twice / reach
    paths = [(xy * scale + twice / 2).round().astype(np.int32) for xy in flat]
    picture = np.full((twice, twice, 3), _WHITE, np.uint8)
    for a, b in zip(*paths, strict=True):
        cv2.line(picture, _at(a), _at(b), _FAINT, 2, cv2.LINE_AA)
    cv2.polylines(picture, [paths[0]], False, (120, 120, 128), 5, cv2.LINE_AA)
    n = len(true)
    for i in range(n - 1):
        colour = time_colour((i + 0.5) / max(n - 1, 1))
        cv2.line(picture, _at(paths[1][i]), _at(paths[1][i + 1]), colour, 4, cv2.LINE_AA)
    _bar(picture, reach, scale)
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))


def _bar(picture: np.ndarray, reach: float, scale: float) -> None:
    length = round_length(reach / 2)
    y, x = picture.shape[0] - 30, 30
    cv2.line(picture, (x, y), (x + round(length * scale), y), _INK, 5)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, f"{length:g}", (x, y - 16), font, 0.9, _INK, 2, cv2.LINE_AA)


def _at(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def single_depth(image: np.ndarray, gt: np.ndarray, pred: np.ndarray) -> np.ndarray:
    """The column of one image, its prediction scaled by the median ratio; as in `depth_strip`."""
    both = np.isfinite(gt) & (gt > 0) & np.isfinite(pred) & (pred > 0)
    scale = float(np.median(gt[both] / pred[both])) if both.any() else 1.0
    return _column(image, gt, pred * scale, _range([gt]))
