"""Normal equations of a video: poses that see each other in a band, the focal length at the border.

Frames far apart in time share no anchor, so the matrix of the poses has blocks near its diagonal
only; it is kept and factorised as a band.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

POSE = 6
_FLOOR = 1e-9


@dataclass
class Arrow:
    """A symmetric system of N poses and one focal length, matrix and right side."""

    band: np.ndarray
    """(N, reach + 1, 6, 6): [i, k] is the block of frame i (rows) and frame i + k (columns)."""
    border: np.ndarray
    """(N, 6): poses with the focal length."""
    focal: float
    right: np.ndarray
    """(N, 6)."""
    right_focal: float

    @staticmethod
    def zeros(n_frames: int, reach: int) -> Arrow:
        """Nothing yet, of frames that are tied to others up to `reach` frames away."""
        band = np.zeros((n_frames, reach + 1, POSE, POSE))
        return Arrow(band, np.zeros((n_frames, POSE)), 0.0, np.zeros((n_frames, POSE)), 0.0)

    @property
    def reach(self) -> int:
        """Most frames between two that are tied."""
        return int(self.band.shape[1]) - 1

    def add_pair(self, i: int, j: int, matrix: np.ndarray, right: np.ndarray) -> None:
        """Add (13, 13) and (13,) of pose i, pose j and the focal length; i is not j."""
        self.add_frames(np.array([i, j]), matrix, right)

    def add_frames(self, frames: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> None:
        """Add (6 T + 1, 6 T + 1) and (6 T + 1,) of T different frames and the focal length."""
        count = len(frames)
        blocks = matrix[:-1, :-1].reshape(count, POSE, count, POSE).swapaxes(1, 2)
        row, column = np.nonzero(frames[:, None] <= frames[None, :])
        self.band[frames[row], frames[column] - frames[row]] += blocks[row, column]
        self.border[frames] += matrix[:-1, -1].reshape(count, POSE)
        self.right[frames] += right[:-1].reshape(count, POSE)
        self.focal += float(matrix[-1, -1])
        self.right_focal += float(right[-1])

    def damped(self, damping: float) -> Arrow:
        """The same with its diagonal enlarged."""
        band, at = self.band.copy(), np.arange(POSE)
        band[:, 0, at, at] *= 1 + damping
        return replace(self, band=band, focal=self.focal * (1 + damping))

    def minus(self, other: Arrow, factor: float) -> Arrow:
        """Less so many times another of the same shape."""
        return Arrow(
            self.band - factor * other.band,
            self.border - factor * other.border,
            self.focal - factor * other.focal,
            self.right - factor * other.right,
            self.right_focal - factor * other.right_focal,
        )

    def with_focal_prior(self, weight: float, pull: float) -> Arrow:
        """With a word about the focal length alone."""
        return replace(self, focal=self.focal + weight, right_focal=self.right_focal + pull)

    def solve(self, free: np.ndarray, *, free_focal: bool) -> tuple[np.ndarray, float] | None:
        """The step down the hill: (N, 6) of the poses and of the focal length.

        Args:
            free: (N, 6) bool; what is not free gets 0.
            free_focal: Whether the focal length is.

        Returns:
            None if the system is not positive, or not finite.
        """
        sides = np.stack([self.right, self.border]).reshape(2, -1) * free.ravel()
        try:
            factor = cholesky_banded(self._banded(free), lower=True, overwrite_ab=True)
            along, bend = cho_solve_banded((factor, True), sides.T, overwrite_b=False).T
        except (np.linalg.LinAlgError, ValueError):
            return None
        focal = 0.0
        if free_focal:
            rest = self.focal + _FLOOR - float(sides[1] @ bend)
            if not rest > 0:
                return None
            focal = -(self.right_focal - float(sides[1] @ along)) / rest
        return (-along - focal * bend).reshape(-1, POSE), focal

    def _banded(self, free: np.ndarray) -> np.ndarray:
        """The poses' part in the lower band form of LAPACK; 1 for what is not free."""
        n, width = len(self.band), self.band.shape[1]
        ahead = np.zeros((n + width - 1, POSE), bool)
        ahead[:n] = free
        tied = np.lib.stride_tricks.sliding_window_view(ahead, width, axis=0).swapaxes(1, 2)
        band = self.band * (free[:, None, :, None] & tied[:, :, None, :])
        at = np.arange(POSE)
        band[:, 0, at, at] = np.where(free, band[:, 0, at, at] + _FLOOR, 1.0)
        k, row, column = np.indices((width, POSE, POSE)).reshape(3, -1)
        below = POSE * k + column - row
        lower = below >= 0
        out = np.zeros((POSE * width, POSE * n))
        places = row[lower, None] + POSE * np.arange(n)
        out[below[lower, None], places] = band.reshape(n, -1)[:, lower].T
        return out
