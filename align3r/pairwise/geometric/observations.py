"""What the video says about its cameras: where the pixels of one frame are seen in others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

_PART = 40_000
"""Observations that are computed on at a time: some 40 MB of derivatives."""


@dataclass(frozen=True)
class Observations:
    """Anchors (pixels of a frame with one unknown inverse depth each) and where others see them.

    Sorted by (source frame, target frame), so that a pair of frames is a contiguous block.
    """

    anchor_frame: np.ndarray
    """(A,) int64 frame of each anchor; anchors are grouped by frame."""
    anchor_pixel: np.ndarray
    """(A, 2) float64."""
    anchor: np.ndarray
    """(M,) int64 anchor seen in each observation."""
    target: np.ndarray
    """(M,) int64 frame that sees it."""
    pixel: np.ndarray
    """(M, 2) float64 where."""
    n_frames: int

    @cached_property
    def reach(self) -> int:
        """Most frames between a source and a target."""
        return int(np.abs(self.target - self.source).max(initial=0))

    @cached_property
    def parts(self) -> list[tuple[slice, Observations]]:
        """All of it in pieces of whole source frames, so that what is computed of each is small."""
        ends = np.searchsorted(self.source, np.arange(self.n_frames) + 1).tolist()
        parts, start, before = [], 0, 0
        for end in ends:
            if end - start > _PART and before > start:
                parts.append(slice(start, before))
                start = before
            before = end
        parts.append(slice(start, before))
        return [(rows, self._kept(rows)) for rows in parts if rows.stop > rows.start]

    def of_sources(self, first: int, end: int) -> Observations:
        """Observations of the anchors of frames first, ..., end - 1."""
        rows = np.searchsorted(self.source, (first, end))
        return self._kept(slice(int(rows[0]), int(rows[1])))

    def window(self, first: int, end: int) -> tuple[Observations, slice]:
        """Observations inside frames first, ..., end - 1, as a video of these alone.

        Also tells which anchors are its.
        """
        inside = self.of_sources(first, end)
        inside = inside._kept((inside.target >= first) & (inside.target < end))
        low, high = np.searchsorted(self.anchor_frame, (first, end)).tolist()
        own = Observations(
            self.anchor_frame[low:high] - first,
            self.anchor_pixel[low:high],
            inside.anchor - low,
            inside.target - first,
            inside.pixel,
            end - first,
        )
        return own, slice(low, high)

    @cached_property
    def source(self) -> np.ndarray:
        """(M,) int64 frame of the anchor of each observation."""
        return np.asarray(self.anchor_frame[self.anchor])

    def among(self, frames: np.ndarray) -> Observations:
        """Observations whose both frames are among the (N,) bool selection."""
        if frames.all():
            return self
        return self._kept(frames[self.source] & frames[self.target])

    def thinned(self, every: int) -> Observations:
        """Observations of every n-th anchor: enough for cameras that are still rough."""
        return self._kept(self.anchor % every == 0)

    def _kept(self, keep: np.ndarray | slice) -> Observations:
        return replace(
            self, anchor=self.anchor[keep], target=self.target[keep], pixel=self.pixel[keep]
        )

    @cached_property
    def blocks(self) -> list[tuple[int, int, slice]]:
        """(source, target, rows) of every pair of frames, in order."""
        if not len(self.anchor):
            return []
        code = self.source * self.n_frames + self.target
        starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        ends = np.r_[starts[1:], len(code)]
        return [
            (int(code[a] // self.n_frames), int(code[a] % self.n_frames), slice(a, b))
            for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        ]


class ObservationBuilder:
    """Collects observations pair by pair; anchors lie on one pixel grid for every frame."""

    def __init__(self, n_frames: int, shape: tuple[int, int], *, spacing: int = 14) -> None:
        height, width = shape
        v = np.arange(spacing // 2, height, spacing)
        u = np.arange(spacing // 2, width, spacing)
        self._v, self._u = (grid.ravel() for grid in np.meshgrid(v, u, indexing="ij"))
        self._n = n_frames
        self._rows: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def add(self, i: int, j: int, flow: np.ndarray, valid: np.ndarray) -> None:
        """Record the flow i -> j, (h, w, 2), where (h, w) `valid` holds."""
        index = np.flatnonzero(valid[self._v, self._u])
        v, u = self._v[index], self._u[index]
        place = np.stack([u, v], -1) + flow[v, u].astype(np.float64)
        self._rows[i, j] = (index, place)

    def build(self) -> Observations:
        """All that was recorded, in order."""
        per_frame = len(self._u)
        pixel = np.stack([self._u, self._v], -1).astype(np.float64)
        order = sorted(key for key, (index, _) in self._rows.items() if len(index))
        anchor = [self._rows[i, j][0] + i * per_frame for i, j in order]
        target = [np.full(len(self._rows[i, j][0]), j) for i, j in order]
        place = [self._rows[key][1] for key in order]
        return Observations(
            np.repeat(np.arange(self._n), per_frame),
            np.tile(pixel, (self._n, 1)),
            np.concatenate(anchor) if anchor else np.zeros(0, np.int64),
            np.concatenate(target) if target else np.zeros(0, np.int64),
            np.concatenate(place) if place else np.zeros((0, 2)),
            self._n,
        )
