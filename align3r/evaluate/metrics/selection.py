"""Weighted medians, exact: of an array, and of values that arrive in chunks."""

from __future__ import annotations

import numpy as np

_BITS = 18
_BUCKETS = 1 << _BITS
_ROUNDING = 1e-12
_SIGN = 1 << (_BITS - 1)


def weighted_median(
    values: np.ndarray, weights: np.ndarray | None = None, *, pull: float = 0.0
) -> float:
    """argmin_x sum w |x - v| + pull x; where an interval is best, its lower end.

    Without weights and pull this is the lower median, element (n - 1) // 2 of the sorted values.

    Args:
        values: (n,).
        weights: (n,), none negative; None for equal ones.
        pull: Slope of a linear term.

    Returns:
        nan if there are no values or no weight, or if the pull outdoes all weights, so that no
        value is best.
    """
    if weights is None and not pull:
        return lower_median(values)
    weights = np.ones(len(values)) if weights is None else weights
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    if not len(values) or not reached[-1] > 0 or abs(pull) > reached[-1] * (1 + _ROUNDING):
        return np.nan
    place = np.searchsorted(reached, 0.5 * (reached[-1] - pull))
    return float(values[order[min(place, len(values) - 1)]])


def lower_median(values: np.ndarray) -> float:
    """Element (n - 1) // 2 of the sorted values, as torch has it; nan if there are none."""
    if not len(values):
        return np.nan
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


class StreamedMedian:
    """The weighted median of values that are seen twice in chunks and never held together.

    The first round counts the weight in buckets of 1.5 % width (the upper bits of the floating
    point number), the second keeps the values of the bucket in which half is reached.
    """

    def __init__(self) -> None:
        self._weight = np.zeros(_BUCKETS)
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []
        self._bucket: int | None = None

    def weigh(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """First round: (n,) finite values and their weights, none for equal ones."""
        self._weight += np.bincount(_buckets(values), weights, minlength=_BUCKETS)

    def gather(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Second round: the same values and weights again."""
        if self._bucket is None:
            reached = np.cumsum(self._weight)
            self._bucket = int(np.searchsorted(reached, 0.5 * reached[-1]))
        inside = _buckets(values) == self._bucket
        kept, place = np.unique(values[inside], return_inverse=True)
        share = None if weights is None else weights[inside]
        self._kept.append((kept, np.bincount(place.ravel(), share, minlength=len(kept))))

    def median(self) -> float:
        """After both rounds; nan if there were no values or no weight."""
        if self._bucket is None or not self._weight.any():
            return np.nan
        values, weights = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        order = np.argsort(values)
        below = self._weight[: self._bucket].sum()
        reached = below + np.cumsum(weights[order])
        place = np.searchsorted(reached, 0.5 * self._weight.sum())
        return float(values[order[min(place, len(values) - 1)]])


def _buckets(values: np.ndarray) -> np.ndarray:
    """Numbers of buckets, in the order of the values."""
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.uint64) >> np.uint64(64 - _BITS)
    upper = bits.astype(np.int64)
    # Negative numbers have the sign bit and run backwards.
    return np.where(upper & _SIGN, upper ^ (_BUCKETS - 1), upper | _SIGN)
