"""Temporal consistency: how depth changes along the flow from frame to frame."""

from __future__ import annotations

import numpy as np

from align3r.flow.warp import pixel_grid

CHANGES = ("flow_change", "flow_change_true", "flow_change_error")


class TemporalConsistency:
    """Collects the changes of depth along the flow; holds one frame at a time.

    A change is |ln d2(x + flow) - ln d1(x)|, whatever the scale of the sequence. It contains what
    really comes nearer; with a true depth that part is taken away: |change - true change|.
    """

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, np.ndarray | None] | None = None
        self._sums = np.zeros(len(CHANGES))
        self._pixels = np.zeros(len(CHANGES), np.int64)

    def add(
        self,
        depth: np.ndarray,
        *,
        gt: np.ndarray | None = None,
        flow: np.ndarray | None = None,
        visible: np.ndarray | None = None,
    ) -> None:
        """Take the next frame of a sequence.

        Args:
            depth: (H, W) predicted z-depth; nan, inf or <= 0 where there is none.
            gt: (H, W) true z-depth, likewise.
            flow: (H, W, 2) pixels from the frame before to this one, nan where not known. Without
                it a new stretch begins here.
            visible: (H, W) bool, pixels of the frame before that are seen in this one, for example
                `align3r.flow.warp.consistent`; all if not given.

        Raises:
            ValueError: The shapes differ.
        """
        if any(a is not None and a.shape[:2] != depth.shape for a in (gt, flow, visible)):
            raise ValueError(f"depth {depth.shape}: true depth, flow or mask is of another shape")
        now = _log(depth), None if gt is None else _log(gt)
        if flow is not None and self._before is not None:
            if self._before[0].shape != depth.shape:
                raise ValueError(f"depth {self._before[0].shape} is followed by {depth.shape}")
            self._compare(self._before, now, flow, visible)
        self._before = now

    def errors(self) -> dict[str, float]:
        """`flow_change`, `flow_change_true`, `flow_change_error` and `flow_pixels`.

        Means over all pixels of all pairs of frames; nan where nothing could be compared.
        """
        counted = np.where(self._pixels > 0, self._pixels, np.nan)
        means = dict(zip(CHANGES, (self._sums / counted).tolist(), strict=True))
        return means | {"flow_pixels": int(self._pixels[0])}

    def _compare(
        self,
        before: tuple[np.ndarray, np.ndarray | None],
        now: tuple[np.ndarray, np.ndarray | None],
        flow: np.ndarray,
        visible: np.ndarray | None,
    ) -> None:
        place = pixel_grid(*flow.shape[:2]) + flow.astype(np.float64)
        change = _along(now[0], place) - before[0]
        if visible is not None:
            change = np.where(visible, change, np.nan)
        changes = [change]
        if before[1] is not None and now[1] is not None:
            true = np.where(np.isnan(change), np.nan, _along(now[1], place) - before[1])
            changes += [true, change - true]
        for k, values in enumerate(changes):
            known = np.isfinite(values)
            self._sums[k] += np.abs(values[known]).sum()
            self._pixels[k] += int(known.sum())


def _log(depth: np.ndarray) -> np.ndarray:
    """(H, W) float64 logarithm of depth, nan where there is none."""
    known = np.isfinite(depth) & (depth > 0)
    return np.log(np.where(known, depth, np.nan).astype(np.float64))


def _along(log_depth: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(H, W) logarithm of depth at (H, W, 2) places; nan outside and next to missing depth.

    Between pixels the inverse depth is linear, as it is on any plane.
    """
    height, width = log_depth.shape
    known = np.isfinite(place).all(axis=-1)
    known &= (place >= 0).all(axis=-1) & (place <= (width - 1, height - 1)).all(axis=-1)
    u, v = (np.where(known, place[..., k], 0.0) for k in (0, 1))
    u0 = np.minimum(u.astype(np.int64), max(width - 2, 0))
    v0 = np.minimum(v.astype(np.int64), max(height - 2, 0))
    u1, v1 = np.minimum(u0 + 1, width - 1), np.minimum(v0 + 1, height - 1)
    inverse = np.exp(-log_depth)
    upper = inverse[v0, u0] * (1 - (u - u0)) + inverse[v0, u1] * (u - u0)
    lower = inverse[v1, u0] * (1 - (u - u0)) + inverse[v1, u1] * (u - u0)
    found = -np.log(upper * (1 - (v - v0)) + lower * (v - v0))
    return np.where(known, found, np.nan)
