"""Lines with the least sum of absolute errors, exact, for samples in memory or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from align3r.evaluate.metrics.selection import lower_median, weighted_median

Chunks = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
"""Gives true and predicted values, (n,) float64 each, chunk by chunk, anew at each call."""

SAMPLE = 1 << 16
_ROUNDS = 12
_WIDTH = 12.0
_ZERO = 1e-12


class Line(NamedTuple):
    """y = scale * x + shift."""

    scale: float
    shift: float


def least_absolute_line(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    pull: tuple[float, float] = (0.0, 0.0),
) -> Line:
    """argmin_{a,b} sum w |a x + b - y| + pull . (a, b).

    The sum is piecewise linear, so a best line goes through two samples. From such a line the
    search turns about a sample it goes through, as long as that lowers the sum (Wesolowsky, "A new
    descent algorithm for the least absolute value regression problem", 1981); every sample on the
    line is tried, so ties do not stop it early.

    Args:
        x: (n,).
        y: (n,).
        weights: (n,), none negative; None for equal ones.
        pull: Slope of a linear term.

    Returns:
        nan without samples, or if the pull outdoes them all. Where all x are the same no scale is
        fixed: then the shift is 0.
    """
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    x, y, w = (np.asarray(v, dtype=np.float64)[w > 0] for v in (x, y, w))
    if not len(x):
        return Line(np.nan, np.nan)
    if np.ptp(x) == 0:
        if any(pull):
            return Line(np.nan, np.nan)
        level = weighted_median(y, w)
        return Line(level / x[0], 0.0) if x[0] else Line(1.0, level)
    scale = _least_squares(x, y, w).scale
    through = int(np.argmin(np.abs(y - scale * x - weighted_median(y - scale * x, w))))
    line, cost = Line(scale, np.nan), np.inf
    while True:
        turned = _turn(x, y, w, through, pull=pull)
        if not np.isfinite(turned.scale):
            return turned
        turned_cost = _cost(x, y, w, turned, pull=pull)
        if not turned_cost < cost:
            return line
        line, cost = turned, turned_cost
        found = _downhill(x, y, w, line, pull=pull)
        if found is None:
            return line
        through = found


def least_absolute_line_of_chunks(chunks: Chunks) -> Line:
    """The same for chunks of (y, x) of which only a part fits into memory.

    The line of a sample says on which side of the best line almost all values are; those only add
    a linear term to the sum. The few others are kept, the problem is solved with them, and a last
    round makes sure that no value was on the other side (Portnoy and Koenker, "The Gaussian hare
    and the Laplacian tortoise", 1997).
    """
    count = sum(len(y) for y, _ in chunks())
    step = max(1, -(-count // SAMPLE))
    y, x = _every(chunks, step)
    line = least_absolute_line(x, y)
    if step == 1 or not np.isfinite(line.scale):
        return line
    middle = lower_median(x)
    spread = max(lower_median(np.abs(x - middle)), 1e-12 * abs(middle), np.finfo(np.float64).tiny)
    error = lower_median(np.abs(line.scale * x + line.shift - y))
    band = _WIDTH / np.sqrt(len(x)) * max(error, 1e-9 * lower_median(np.abs(y)))
    for _ in range(_ROUNDS):
        near = _Near(line, band, middle, spread)
        better = near.solve(chunks)
        band *= 4.0
        if not np.isfinite(better).all():
            continue  # The band holds too few values to say anything.
        if near.holds(chunks, better):
            return better
        line = better
    y, x = _every(chunks, 1)
    return least_absolute_line(x, y)


class _Near(NamedTuple):
    """A band about a line; wider, in y, the farther x is from the middle."""

    line: Line
    band: float
    middle: float
    spread: float

    def side(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n,) -1 below the line, 1 above it, 0 in the band."""
        residual = self.line.scale * x + self.line.shift - y
        width = self.band * (1.0 + np.abs(x - self.middle) / self.spread)
        return np.where(np.abs(residual) > width, np.sign(residual), 0.0)

    def solve(self, chunks: Chunks) -> Line:
        pull, kept = np.zeros(2), []
        for y, x in chunks():
            side = self.side(y, x)
            pull += side @ x, side.sum()
            kept.append((y[side == 0], x[side == 0]))
        y, x = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        return least_absolute_line(x, y, pull=(float(pull[0]), float(pull[1])))

    def holds(self, chunks: Chunks, line: Line) -> bool:
        """No value outside the band is on another side of the line."""
        return all(
            bool((self.side(y, x) * (line.scale * x + line.shift - y) >= 0).all())
            for y, x in chunks()
        )


def _every(chunks: Chunks, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Every step-th value over all chunks."""
    kept, seen = [(np.empty(0), np.empty(0))], 0
    for y, x in chunks():
        first = -seen % step
        kept.append((y[first::step], x[first::step]))
        seen += len(y)
    y, x = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return y, x


def _least_squares(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Line:
    mx, my = np.average(x, weights=w), np.average(y, weights=w)
    scale = float((w * (x - mx)) @ (y - my) / ((w * (x - mx)) @ (x - mx)))
    return Line(scale, float(my - scale * mx))


def _cost(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, line: Line, *, pull: tuple[float, float]
) -> float:
    errors = np.abs(line.scale * x + line.shift - y)
    return float(w @ errors + pull[0] * line.scale + pull[1] * line.shift)


def _turn(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, through: int, *, pull: tuple[float, float]
) -> Line:
    """The best of the lines through one sample."""
    dx, dy = x - x[through], y - y[through]
    apart = dx != 0
    dx, dy, w = dx[apart], dy[apart], w[apart]
    slope = weighted_median(dy / dx, w * np.abs(dx), pull=pull[0] - pull[1] * x[through])
    return Line(slope, float(y[through] - slope * x[through]))


def _downhill(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, line: Line, *, pull: tuple[float, float]
) -> int | None:
    """A sample on the line about which a turn lowers the sum most steeply; None at the optimum."""
    residual = line.scale * x + line.shift - y
    size = np.abs(line.scale * x) + abs(line.shift) + np.abs(y)
    on = np.flatnonzero(np.abs(residual) <= _ZERO * size)
    side = np.sign(residual)
    side[on] = 0.0
    # The slope of the sum when the line turns about (q, .): by the values off the line ...
    ws = w * side
    slope = (ws @ x + pull[0]) - x[on] * (ws.sum() + pull[1])
    # ... and by the values on it, which all get an error; sum w |x - q| by sums of sorted x.
    order = np.argsort(x[on])
    sx, sw = x[on][order], w[on][order]
    below, moment = np.cumsum(sw), np.cumsum(sw * sx)
    rise = np.empty(len(on))
    rise[order] = sx * (2 * below - below[-1]) - (2 * moment - moment[-1])
    descent = np.abs(slope) - rise
    best = int(np.argmax(descent)) if len(on) else 0
    if not len(on) or descent[best] <= _ZERO * float(w @ np.abs(x - x[on[best]])):
        return None
    return int(on[best])
