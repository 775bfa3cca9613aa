"""Which frames show anything at all, and where a video is cut."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from align3r.pairwise.geometric.survey import Survey

_LEAST_CONTRAST = 6.0
"""Grey levels between the brightest and the darkest parts of a frame that shows something."""
_BLUR_PX = 2.0
_LEAST_AGREEMENT = 0.16
"""Share of the pixels with a match that obeys one epipolar geometry. Frames of two scenes reach
0.07 to 0.11 by chance; frames that are hardly alike any more have at least 0.22."""


def blank_frames(images: np.ndarray) -> np.ndarray:
    """(N,) bool: frames of (N, h, w, 3) uint8 in one colour, but for noise."""
    blank = np.zeros(len(images), bool)
    for i, image in enumerate(images):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        # Noise is averaged away; a fade to black keeps a little of the scene for a while.
        dark, bright = np.percentile(cv2.GaussianBlur(grey, (0, 0), _BLUR_PX), (0.5, 99.5))
        blank[i] = bright - dark < _LEAST_CONTRAST
    return blank


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
