"""How predicted depth is brought to the scale of the truth: every alignment the papers use."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from align3r.errors import UsageError
from align3r.evaluate.metrics.least_absolute import Chunks, least_absolute_line_of_chunks
from align3r.evaluate.metrics.selection import StreamedMedian

_REWEIGHTED = 10
_SMALLEST_SCALE = 1e-3
_INVERSE_EPS = 1e-8
_ADAM_STEPS = 1000
_ADAM_STOP = 1e-6


class Gauge(NamedTuple):
    """depth = scale * prediction + shift, or the inverse of that."""

    scale: float
    shift: float = 0.0
    inverse: bool = False
    """The prediction is a disparity; what is not positive becomes depth 0."""

    def apply(self, prediction: np.ndarray) -> np.ndarray:
        """Depth, float64, same shape."""
        line = self.scale * np.asarray(prediction, dtype=np.float64) + self.shift
        if not self.inverse:
            return np.asarray(line)
        positive = line > 0
        return np.where(positive, 1.0 / np.where(positive, line, 1.0), 0.0)


def median_scale(chunks: Chunks) -> Gauge:
    """Lower median of the truth over lower median of the prediction (MonST3R)."""
    true, predicted = StreamedMedian(), StreamedMedian()
    for g, p in chunks():
        true.weigh(g)
        predicted.weigh(p)
    for g, p in chunks():
        true.gather(g)
        predicted.gather(p)
    return Gauge(true.median() / predicted.median())


def ratio_scale(chunks: Chunks) -> Gauge:
    """Lower median of the ratios of truth and prediction."""
    return _median_ratio(chunks, weighted=False)


def least_absolute_scale(chunks: Chunks) -> Gauge:
    """argmin_s sum |s p - g|, exact: the median of g / p with weights |p|."""
    return _median_ratio(chunks, weighted=True)


def _median_ratio(chunks: Chunks, *, weighted: bool) -> Gauge:
    median = StreamedMedian()
    for take in (median.weigh, median.gather):
        for g, p in chunks():
            g, p = g[p != 0], p[p != 0]
            take(g / p, np.abs(p) if weighted else None)
    return Gauge(median.median())


def reweighted_scale(chunks: Chunks) -> Gauge:
    """CUT3R's approximation of it: ten steps of least squares with weights 1 / error.

    The weights of the few samples with almost no error decide where it goes, so the rounding of
    the reference (float32, order of sums) shows in its third digit; this is float64.
    """
    count, sum_g, sum_p = _count_and_sums(chunks)
    if not count:
        return Gauge(np.nan)
    scale = sum_g / sum_p
    for _ in range(_REWEIGHTED):
        top = bottom = 0.0
        for g, p in chunks():
            w = 1.0 / (np.abs(scale * p - g) + 1e-8)
            top += float((w * p) @ g)
            bottom += float((w * p) @ p)
        scale = top / bottom
    return Gauge(max(scale, _SMALLEST_SCALE))


def least_squares(chunks: Chunks) -> Gauge:
    """argmin_{s,t} sum (s p + t - g)^2; without a spread of p a scale alone."""
    count, sum_g, sum_p = _count_and_sums(chunks)
    if not count:
        return Gauge(np.nan, np.nan)
    mean_g, mean_p = sum_g / count, sum_p / count
    # About the means, where the squares lose no digits.
    mixed = square = 0.0
    for g, p in chunks():
        mixed += float((p - mean_p) @ (g - mean_g))
        square += float((p - mean_p) @ (p - mean_p))
    if square <= 1e-24 * count * mean_p**2:
        return Gauge(mean_g / mean_p)
    scale = mixed / square
    return Gauge(scale, mean_g - scale * mean_p)


def _count_and_sums(chunks: Chunks) -> tuple[int, float, float]:
    count, sum_g, sum_p = 0, 0.0, 0.0
    for g, p in chunks():
        count, sum_g, sum_p = count + len(g), sum_g + float(g.sum()), sum_p + float(p.sum())
    return count, sum_g, sum_p


def least_absolute(chunks: Chunks) -> Gauge:
    """argmin_{s,t} sum |s p + t - g|, exact."""
    return Gauge(*least_absolute_line_of_chunks(chunks))


def adam_line(chunks: Chunks, rate: float) -> Gauge:
    """The same sum by at most 1000 steps of Adam from the ratio of medians.

    With the rate 1e-4 of MonST3R and CUT3R it does not arrive: only for columns they published.
    Holds all samples in memory.
    """
    start = median_scale(chunks).scale
    parts = list(chunks())
    if not np.isfinite(start):
        return Gauge(np.nan, np.nan)
    g, p = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    line = np.array([start, 0.0])
    first, second, before = np.zeros(2), np.zeros(2), np.inf
    for step in range(1, _ADAM_STEPS + 1):
        residual = line[0] * p + line[1] - g
        loss = float(np.abs(residual).sum())
        sign = np.sign(residual)
        gradient = np.array([sign @ p, sign.sum()])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        correction = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        line = line - rate * first / (1 - 0.9**step) / correction
        if abs(before - loss) < _ADAM_STOP:
            break
        before = loss
    return Gauge(float(line[0]), float(line[1]))


def least_squares_disparity(chunks: Chunks) -> Gauge:
    """Least squares of the prediction, taken as disparity, on 1 / truth (DepthCrafter)."""

    def inverse() -> Chunks:
        return lambda: ((1.0 / (g + _INVERSE_EPS), p) for g, p in chunks())

    return least_squares(inverse())._replace(inverse=True)


GAUGES: dict[str, Callable[[Chunks], Gauge]] = {
    "median": median_scale,
    "ratio": ratio_scale,
    "l1": least_absolute_scale,
    "scale": reweighted_scale,
    "lstsq": least_squares,
    "lad": least_absolute,
    "lad2": lambda chunks: adam_line(chunks, 1e-4),
    "lad2_fast": lambda chunks: adam_line(chunks, 0.05),
    "disp_lstsq": least_squares_disparity,
    "none": lambda _chunks: Gauge(1.0),
}
"""By the name in `DepthRules.align`. All but lad2 stream: `lad` reads the frames up to about four
times, `scale` twelve times, `median`, `ratio`, `l1` and `lstsq` two or three times."""


def find_gauge(align: str | float | Gauge, chunks: Chunks) -> Gauge:
    """The gauge of a name, or the given one; nan where there is nothing to align.

    Raises:
        UsageError: No alignment has that name.
    """
    if isinstance(align, Gauge):
        return align
    if not isinstance(align, str):
        return Gauge(float(align))
    if align not in GAUGES:
        raise UsageError(
            f"alignment of depth {align!r} does not exist", hint=f"one of {', '.join(GAUGES)}"
        )
    return GAUGES[align](chunks)
