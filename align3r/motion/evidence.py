"""Evidence of motion: every pair of a frame has a vote on each pixel, and the median decides.

A vote is the distance, in pixels, between the flow that is seen and all that a static scene could
show. Where there are images they are asked which of the two flows they bear out: a flow is a
guess where nothing has texture, and it bleeds over the outlines of what moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from align3r.flow.warp import backward_warp
from align3r.motion.static_scene import Sight, depth_range, in_sight, off_segment
from align3r.parallel import in_threads

_LEAST_PIXELS = 60
NOISE_FLOOR_PX = 0.25
_WINDOW = 5
"""Pixels across which colours are compared."""
_COLOUR_FLOOR = 3.0
"""Least noise of a colour: one step of each of the three channels."""
_SURE = 3.0
"""Noises from which a flow, or a colour, differs for certain."""
_LARGEST_PX = 2048.0
"""Beyond this, float16 has steps of two pixels, and nothing depends on how far it is."""
_UNSEEN_WEIGHT = 0.3
"""Say of a pixel whose flow is lost although a static scene would be in sight."""
_LOST = 20.0
"""Noises of flow that such a pixel counts as if it does not look like the static scene either."""


@dataclass(frozen=True)
class Vote:
    """What one pair says about one of its frames."""

    error: np.ndarray
    """(h, w) float32 pixels that no small depth error explains."""
    weight: np.ndarray
    """(h, w) float32, 0 to 1."""
    noise: float
    """Robust standard deviation of the static scene's error, pixels."""


@dataclass(frozen=True)
class Evidence:
    """What the pairs of each frame say together."""

    error: np.ndarray
    """(N, h, w) float16 pixels, the weighted median of the votes; nan where nobody has a say."""
    weight: np.ndarray
    """(N, h, w) float16, sum of the weights."""
    noise: float
    """Median noise of the votes, pixels; nan without votes."""


def vote(sight: Sight, inverse_depth: np.ndarray) -> Vote | None:
    """What a pair says; None if its flow is lost nearly everywhere.

    Args:
        sight: The pair, from the frame in question.
        inverse_depth: (h, w) float32 of the frame; nan where not known.
    """
    known = np.isfinite(inverse_depth)
    rho = np.where(known, inverse_depth, np.float32(1.0))
    farthest, nearest = depth_range(rho)
    (start, front), (end, also), middle = sight.expected(farthest, nearest, rho)
    known &= (front > 0) & (also > 0)
    seen = known & sight.valid
    if seen.sum() < _LEAST_PIXELS:
        return None
    error = off_segment(sight.flow, start, end)
    noise = max(1.4826 * float(np.median(error[seen])), NOISE_FLOOR_PX)
    found = Vote(error.astype(np.float32), seen.astype(np.float32), noise)
    if sight.images is None:
        return found
    judged, unlike_static = _by_colour(found, sight, (start, middle[0], end))
    if sight.target_depth is None:
        return judged
    return _with_lost(judged, unlike_static, known & ~seen & in_sight(sight, rho, middle))


def _by_colour(
    found: Vote, sight: Sight, static: tuple[np.ndarray, ...]
) -> tuple[Vote, np.ndarray]:
    """The vote, and (h, w) by how many noises of colour the pixel is unlike a static scene.

    A flow that matches the image no better than a static scene says nothing against it. Where
    flows differ and both match, the vote has little weight.
    """
    assert sight.images is not None
    by_flow = _mismatch(*sight.images, sight.flow)
    by_camera = np.minimum.reduce([_mismatch(*sight.images, flow) for flow in static])
    noise = max(float(np.median(by_flow[found.weight > 0])), _COLOUR_FLOOR)
    gain = (by_camera - by_flow) / noise
    agree = 1 / (1 + (found.error / (_SURE * found.noise)) ** 2)
    sure = np.maximum(np.abs(gain) / (np.abs(gain) + 1), agree)
    error = np.where(gain > 0, found.error, np.float32(0))
    return Vote(error, (found.weight * sure).astype(np.float32), found.noise), by_camera / noise


def _with_lost(found: Vote, unlike_static: np.ndarray, lost: np.ndarray) -> Vote:
    """The vote with a small say for pixels whose flow is lost although they would be in sight."""
    moves = unlike_static > _SURE
    error = np.where(lost, np.where(moves, _LOST * found.noise, 0.0), found.error)
    say = np.where(moves, _UNSEEN_WEIGHT, 0.5 * _UNSEEN_WEIGHT)
    weight = np.where(lost, say, found.weight)
    return Vote(error.astype(np.float32), weight.astype(np.float32), found.noise)


def _mismatch(source: np.ndarray, target: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(h, w) float32 sum of the colour differences at the match, mean of a window."""
    difference = cv2.absdiff(source, backward_warp(target, flow)).reshape(-1, source.shape[-1])
    total = cv2.reduce(difference, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
    return np.asarray(cv2.blur(total.reshape(source.shape[:2]), (_WINDOW, _WINDOW)))


def gather(
    votes_of: Callable[[int], list[Vote]], n_frames: int, shape: tuple[int, int]
) -> Evidence:
    """The votes of all frames, counted frame by frame.

    Args:
        votes_of: Votes about a frame; called from several threads.
        n_frames: N.
        shape: (h, w).
    """
    error = np.full((n_frames, *shape), np.nan, np.float16)
    weight = np.zeros((n_frames, *shape), np.float16)

    def counted(frame: int) -> tuple[np.ndarray, np.ndarray, list[float]] | None:
        votes = votes_of(frame)
        return (*count(votes), [one.noise for one in votes]) if votes else None

    noises: list[float] = []
    for frame, found in enumerate(in_threads(counted, range(n_frames))):
        if found is not None:
            error[frame], weight[frame] = np.minimum(found[0], _LARGEST_PX), found[1]
            noises += found[2]
    return Evidence(error, weight, float(np.median(noises)) if noises else float("nan"))


def count(votes: list[Vote]) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) weighted median of the errors, nan where nobody has a say, and (h, w) total weight."""
    error = np.stack([one.error for one in votes])
    weight = np.stack([one.weight for one in votes])
    order = error.argsort(0)
    error, weight = np.take_along_axis(error, order, 0), np.take_along_axis(weight, order, 0)
    below = weight.cumsum(0)
    total = below[-1]
    # Half of the weight on either side: between two errors their mean, as for a plain median.
    low = (below >= 0.5 * total * (1 - 1e-5)).argmax(0)[None]
    high = (below > 0.5 * total * (1 + 1e-5)).argmax(0)[None]
    middle = np.take_along_axis(error, low, 0)[0] + np.take_along_axis(error, high, 0)[0]
    return np.where(total > 0, 0.5 * middle, np.float32(np.nan)), total
