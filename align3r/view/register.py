"""Two results of one video in one frame: the second is laid onto the first by its cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align3r.errors import InputError
from align3r.geometry.association import nearest_times
from align3r.reconstruction import Reconstruction
from align3r.view.palette import spread

LEAST_PATH = 0.02
"""Below this share of the typical depth a camera path says nothing about scale."""


@dataclass(frozen=True)
class Similarity:
    """first = scale * rotation @ second + translation."""

    scale: float
    rotation: np.ndarray
    """(3, 3), determinant +1."""
    translation: np.ndarray
    """(3,) in units of the first."""
    residual: float
    """Root mean square distance of the matched camera centres afterwards, units of the first."""
    frames: int
    """Matched frames."""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points of the second world in the first."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)


def match_frames(first: Reconstruction, second: Reconstruction) -> np.ndarray:
    """(M, 2) frames of the two that show the same moment: nearest times, at most half a step apart.

    Raises:
        InputError: No two frames have the same time.
    """
    nearest = nearest_times(first.times, second.times)
    gap = np.abs(first.times - second.times[nearest])
    steps = np.concatenate([np.diff(first.times), np.diff(second.times)])
    most = 0.5 * float(np.median(steps)) if len(steps) else 1e-6
    matched = np.flatnonzero(gap <= most + 1e-9)
    if not len(matched):
        spans = [f"{s.times[0]:.2f} to {s.times[-1]:.2f} s" for s in (first, second)]
        raise InputError(
            f"the two results have no moment in common: {spans[0]} and {spans[1]}",
            hint="compare two results of the same video",
        )
    return np.stack([matched, nearest[matched]], axis=1)


def register(first: Reconstruction, second: Reconstruction) -> Similarity:
    """The similarity that lays the second result onto the first by the cameras of equal times.

    The rotation is the chordal mean of what each pair of cameras says (Hartley et al., IJCV 2013,
    section 5.3), so a straight path leaves nothing open; the scale is that of the paths in the
    sense of least squares, or of the depths where the first camera hardly moves.

    Raises:
        InputError: The results have no moment in common.
    """
    pairs = match_frames(first, second)
    one, two = first.world_from_cam[pairs[:, 0]], second.world_from_cam[pairs[:, 1]]
    u, _, vt = np.linalg.svd((one[:, :3, :3] @ two[:, :3, :3].transpose(0, 2, 1)).sum(axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    a, b = one[:, :3, 3], two[:, :3, 3]
    spread_a, spread_b = a - a.mean(axis=0), (b - b.mean(axis=0)) @ rotation.T
    scale = _path_scale(spread_a, spread_b, depth=_depth(first, pairs[:, 0]))
    if scale is None:
        scale = _depth_scale(first, second, pairs)
    translation = a.mean(axis=0) - scale * rotation @ b.mean(axis=0)
    gaps = a - (scale * b @ rotation.T + translation)
    residual = float(np.sqrt((gaps**2).sum(axis=1).mean()))
    return Similarity(scale, rotation, translation, residual, len(pairs))


def _path_scale(a: np.ndarray, b: np.ndarray, *, depth: float) -> float | None:
    """Length of one path over that of the other; None where the first is too short to tell."""
    if np.sqrt((a**2).sum(axis=1).mean()) < LEAST_PATH * depth or not (b**2).sum() > 0:
        return None
    scale = float((a * b).sum() / (b**2).sum())
    return scale if scale > 0 else None


def _depth_scale(first: Reconstruction, second: Reconstruction, pairs: np.ndarray) -> float:
    """Median ratio of the median depths of a few matched frames; 1 if none is known."""
    some = pairs[spread(len(pairs), 5)]
    ratios = [_depth(first, [i]) / max(_depth(second, [j]), 1e-30) for i, j in some]
    scale = float(np.median(ratios))
    return scale if 0 < scale < 1e12 else 1.0


def _depth(scene: Reconstruction, frames: Sequence[int] | np.ndarray) -> float:
    """Median depth of the frame in the middle of those given; 0 if none is known."""
    depth = scene.depth(int(frames[len(frames) // 2]))[::8, ::8]
    known = depth[np.isfinite(depth)]
    return float(np.median(known)) if known.size else 0.0
