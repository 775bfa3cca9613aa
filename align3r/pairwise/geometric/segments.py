"""Where a video is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3r.pairwise.geometric.survey import Survey

_LEAST_AGREEMENT = 0.16
"""Share of the pixels with a match that obeys one epipolar geometry. Frames of two scenes reach
0.07 to 0.11 by chance; frames that are hardly alike any more have at least 0.22."""


def among(found: Survey, chosen: np.ndarray) -> Survey:
    """What a survey found between frames that are both among the (N,) bool selection."""
    return replace(
        found,
        observations=found.observations.among(chosen),
        views=[v for v in found.views if chosen[v.i] and chosen[v.j]],
        flows={(i, j): flow for (i, j), flow in found.flows.items() if chosen[i] and chosen[j]},
    )


def segments(found: Survey, usable: np.ndarray) -> list[np.ndarray]:
    """Runs of frames between hard cuts.

    A cut lies where no pair of frames across it agrees on one epipolar geometry.

    Args:
        found: What was found among the usable frames.
        usable: (N,) bool; the others belong to no run.

    Returns:
        Frame numbers of each run, in order of time.
    """
    agreement = np.zeros(max(len(usable) - 1, 0))
    for view in found.views:
        cover = float(found.flows[view.i, view.j].valid.mean())
        share = 1.0 if view.fundamental is None else float(view.inlier.mean())
        across = slice(view.i, view.j)
        agreement[across] = np.maximum(agreement[across], cover * share)
    number = np.r_[0, np.cumsum(agreement < _LEAST_AGREEMENT)]
    return [run for k in np.unique(number) if len(run := np.flatnonzero((number == k) & usable))]
