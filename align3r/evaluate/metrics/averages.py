"""From rows of frames, images or sequences to the one row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def average_rows(
    rows: Sequence[Mapping[str, float]], *, weight: str | None = None
) -> dict[str, float]:
    """Mean of each metric over the rows that have it.

    Args:
        rows: Metrics by name. A row without a metric, or where it is nan, is left out of that
            metric's mean.
        weight: The entry that weighs the rows, for example `pixels`; None for equal weights. Its
            sum is in the result.

    Returns:
        Every metric of any row, nan where no row with a weight has it.
    """
    names = dict.fromkeys(name for row in rows for name in row if name != weight)
    weights = np.array([1.0 if weight is None else float(row[weight]) for row in rows])
    out = {}
    for name in names:
        values = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
        there = ~np.isnan(values)
        total = weights[there].sum()
        out[name] = float(values[there] @ weights[there] / total) if total else np.nan
    return out if weight is None else out | {weight: float(weights.sum())}
