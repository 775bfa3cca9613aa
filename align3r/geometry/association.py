"""Which frames of two recordings belong together, by their stamps."""

from __future__ import annotations

from typing import Literal

import numpy as np

from align3r.errors import UsageError

Association = Literal["nearest", "greedy"]


def nearest_times(times: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """(N,) where in `clock` (M > 0,), in any order, the nearest time to each of `times` (N,) is."""
    order = np.argsort(clock, kind="stable")
    right = np.searchsorted(clock[order], times).clip(max=len(clock) - 1)
    left = np.maximum(right - 1, 0)
    before, after = (np.abs(clock[order[k]] - times) for k in (left, right))
    return np.asarray(order[np.where(before <= after, left, right)])


def nearest_within(times: np.ndarray, clock: np.ndarray, within: float) -> np.ndarray:
    """As `nearest_times`, -1 where nothing in `clock` (M,) is as near as `within`."""
    if not len(clock):
        return np.full(len(times), -1)
    nearest = nearest_times(times, clock)
    return np.where(np.abs(clock[nearest] - times) <= within, nearest, -1)


def associate(
    one: np.ndarray, two: np.ndarray, *, within: float, rule: Association = "nearest"
) -> tuple[np.ndarray, np.ndarray]:
    """Which stamps of two sorted lists belong together.

    Args:
        one: (N,) seconds, float64.
        two: (M,) seconds, float64.
        within: Largest difference in seconds.
        rule: `nearest`: each stamp of the shorter list (the second if they are equally long) with
            the nearest of the longer, which may be taken twice, as in evo. `greedy`: the closest
            pairs first and each stamp once, as in the tools of the TUM benchmark.

    Returns:
        (K,) indices into `one` and (K,) into `two`, in the order of time.

    Raises:
        UsageError: A rule that does not exist.
    """
    if rule not in ("nearest", "greedy"):
        raise UsageError(f"association {rule!r} does not exist", hint="nearest or greedy")
    one, two = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    if rule == "greedy":
        return _greedy(one, two, within)
    short, long = (one, two) if len(one) < len(two) else (two, one)
    nearest = nearest_within(short, long, within)
    kept = np.flatnonzero(nearest >= 0)
    return (kept, nearest[kept]) if len(one) < len(two) else (nearest[kept], kept)


def _greedy(one: np.ndarray, two: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    pairs = []
    for i, stamp in enumerate(one):
        low = int(np.searchsorted(two, stamp - within, side="left"))
        high = int(np.searchsorted(two, stamp + within, side="right"))
        pairs += [(abs(float(stamp - two[j])), i, j) for j in range(low, high)]
    free_one, free_two = set(range(len(one))), set(range(len(two)))
    matches = []
    for gap, i, j in sorted(pairs):
        if gap < within and i in free_one and j in free_two:
            free_one.remove(i)
            free_two.remove(j)
            matches.append((i, j))
    found = np.array(sorted(matches), dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
