"""Errors of depth over images and sequences, in one pass once the gauge is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from align3r.errors import UsageError
from align3r.evaluate.metrics.depth_gauges import Gauge, find_gauge

DepthFrames = Iterable[Sequence[np.ndarray]]
"""(gt, pred) or (gt, pred, mask) of each frame, (H, W) each. Iterated several times: a list, or an
object that reads the frames anew each time."""

FLOOR = 1e-5
"""Smallest depth inside logarithms and ratios."""
FACTOR = 1.25


@dataclass(frozen=True)
class DepthRules:
    """Which pixels count, how depth is aligned and how it is clipped."""

    align: str | float | Gauge = "median"
    """A name in `GAUGES`, a scale, or a gauge."""
    per: Literal["sequence", "frame"] = "sequence"
    """What has a gauge of its own."""
    near: float = 0.0
    """Only pixels with a larger true depth count."""
    far: float = np.inf
    """Only pixels with a smaller true depth count."""
    clip: tuple[float, float] = (-np.inf, np.inf)
    """The aligned prediction is brought between these before it is measured."""
    positive: bool = True
    """A prediction of zero or less is none; the papers take it as it is."""

    def counted(self, gt: np.ndarray) -> np.ndarray:
        """True depth, nan where it does not count."""
        return np.where((gt > self.near) & (gt < self.far), gt, np.nan)


class _Pixels(NamedTuple):
    """True depth g, aligned prediction p and p at least `FLOOR`, (n,) each."""

    g: np.ndarray
    p: np.ndarray
    q: np.ndarray


@dataclass(frozen=True)
class Metric:
    """Some function of the means of some values of each pixel."""

    values: tuple[str, ...]
    of: Callable[..., np.ndarray]


def _within(power: int) -> Callable[[_Pixels], np.ndarray]:
    factor = FACTOR**power
    return lambda x: (x.q < factor * x.g) & (x.g < factor * x.q)


_VALUES: dict[str, Callable[[_Pixels], np.ndarray]] = {
    "relative": lambda x: np.abs(x.p - x.g) / x.g,
    "relative_square": lambda x: np.square(x.p - x.g) / x.g,
    "square": lambda x: np.square(x.p - x.g),
    "log": lambda x: np.log(x.q) - np.log(x.g),
    "log_square": lambda x: np.square(np.log(x.q) - np.log(x.g)),
    "log10": lambda x: np.abs(np.log10(x.q) - np.log10(x.g)),
    "inverse_square": lambda x: np.square(1.0 / x.q - 1.0 / x.g),
    **{f"within{k}": _within(k) for k in (1, 2, 3)},
}

DEPTH_METRICS: dict[str, Metric] = {
    "abs_rel": Metric(("relative",), lambda m: m),
    "sq_rel": Metric(("relative_square",), lambda m: m),
    "rmse": Metric(("square",), np.sqrt),
    "log_rmse": Metric(("log_square",), np.sqrt),
    "log10": Metric(("log10",), lambda m: m),
    "delta1": Metric(("within1",), lambda m: m),
    "delta2": Metric(("within2",), lambda m: m),
    "delta3": Metric(("within3",), lambda m: m),
    # Of inverse depth; and without the part that one factor explains, in percent.
    "irmse": Metric(("inverse_square",), np.sqrt),
    "silog": Metric(
        ("log_square", "log"), lambda s, m: 100.0 * np.sqrt(np.maximum(s - np.square(m), 0.0))
    ),
}


@dataclass(frozen=True)
class DepthScore:
    """What was measured of a sequence; nothing here grows with the size of its frames."""

    sums: np.ndarray
    """(T, values) sums over the pixels of each frame."""
    pixels: np.ndarray
    """(T,) pixels that counted in each frame."""
    gauges: tuple[Gauge, ...]
    """One, or one a frame."""

    def pooled(self) -> dict[str, float]:
        """Every metric over all pixels of all frames together; nan where nothing counted.

        With `pixels`, and with `scale` and `shift` if the sequence had one gauge.
        """
        row = _row(self.sums.sum(axis=0), int(self.pixels.sum()))
        if len(self.gauges) == 1:
            row |= {"scale": self.gauges[0].scale, "shift": self.gauges[0].shift}
        return row

    def frames(self) -> list[dict[str, float]]:
        """Every metric of each frame by itself, with its `pixels`."""
        return [_row(s, int(n)) for s, n in zip(self.sums, self.pixels, strict=True)]


def sequence_depth_errors(frames: DepthFrames, rules: DepthRules | None = None) -> DepthScore:
    """Measure the depth of a sequence, frame by frame, never holding it whole.

    A pixel without a prediction (nan, inf and, if the rules say so, zero or negative) counts as a
    prediction of depth 0: a relative error of 1, outside delta. It has no say in the gauge. Pixels
    without a true depth (nan, inf, zero or negative) do not count.

    Args:
        frames: True z-depth, predicted z-depth (or disparity, for alignments that take it) and,
            where given, a mask of the pixels that count.
        rules: Of the protocol; the ratio of medians over all pixels if not given.

    Raises:
        ValueError: The shapes of a frame differ; the frames can be iterated only once.
        UsageError: An alignment, or a `per`, that does not exist.
    """
    rules = rules or DepthRules()
    if iter(frames) is frames:
        raise ValueError("the frames are read several times: give a list, not an iterator")
    if rules.per not in ("sequence", "frame"):
        raise UsageError(f"alignment per {rules.per!r} does not exist", hint="sequence or frame")
    gauges: list[Gauge] = []
    if rules.per == "sequence":
        gauges = [find_gauge(rules.align, lambda: (_known(*x) for x in _samples(frames, rules)))]
    sums, pixels = [], []
    for g, p, known in _samples(frames, rules):
        if rules.per == "frame":
            gauges.append(find_gauge(rules.align, _only(_known(g, p, known))))
        sums.append(_sums(g, _aligned(p, known, gauges[-1], rules)))
        pixels.append(len(g))
    return DepthScore(
        np.array(sums).reshape(-1, len(_VALUES)), np.array(pixels, dtype=np.int64), tuple(gauges)
    )


def depth_errors(
    gt: np.ndarray,
    pred: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    align: str | float | Gauge = "median",
) -> dict[str, float]:
    """Errors of depth over all pixels that have a true depth, pooled, with one gauge for all.

    Args:
        gt: True z-depth of any shape; nan, inf or <= 0 where there is none.
        pred: Predicted z-depth, same shape; a missing one counts as in `sequence_depth_errors`.
        mask: Same shape, bool; only these pixels count.
        align: As in `DepthRules`.

    Returns:
        All of `DEPTH_METRICS`, `scale`, `shift`, `pixels`. All nan but `pixels` when there is
        nothing to compare.

    Raises:
        ValueError: The shapes do not fit.
        UsageError: An alignment that does not exist.
    """
    frame = (gt, pred) if mask is None else (gt, pred, mask)
    return sequence_depth_errors([frame], DepthRules(align=align)).pooled()


def _samples(
    frames: DepthFrames, rules: DepthRules
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """True depth, prediction and whether there is one, of the pixels of each frame that count."""
    for gt, pred, *mask in frames:
        if gt.shape != pred.shape or (mask and mask[0].shape != gt.shape):
            raise ValueError(f"true depth {gt.shape}, prediction {pred.shape}: shapes differ")
        counts = np.isfinite(gt) & (gt > max(rules.near, 0.0)) & (gt < rules.far)
        if mask:
            counts &= mask[0].astype(bool)
        g, p = gt[counts].astype(np.float64), pred[counts].astype(np.float64)
        known = np.isfinite(p)
        yield g, p, known & (p > 0) if rules.positive else known


def _known(g: np.ndarray, p: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return g[known], p[known]


def _only(
    chunk: tuple[np.ndarray, np.ndarray],
) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    return lambda: iter([chunk])


def _aligned(p: np.ndarray, known: np.ndarray, gauge: Gauge, rules: DepthRules) -> np.ndarray:
    out = np.zeros_like(p)
    out[known] = gauge.apply(p[known])
    return np.asarray(np.clip(out, *rules.clip))


def _sums(g: np.ndarray, p: np.ndarray) -> np.ndarray:
    pixels = _Pixels(g, p, np.maximum(p, FLOOR))
    return np.array([float(value(pixels).sum()) for value in _VALUES.values()])


def _row(sums: np.ndarray, pixels: int) -> dict[str, float]:
    means = dict(zip(_VALUES, sums / pixels if pixels else sums * np.nan, strict=True))
    row = {
        name: float(metric.of(*(means[value] for value in metric.values)))
        for name, metric in DEPTH_METRICS.items()
    }
    return row | {"pixels": pixels}
