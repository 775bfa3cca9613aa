"""Where a video is cut: a jump that stands out, and nothing in common on its two sides.

A jump of the picture alone is no cut: a flash, a black frame, a passing train or a whip pan jump
as well. So a jump is only a candidate, and it is a cut when no frame of the last few before it
shows what a frame of the first few after it shows, by dense flow there and back or by a shift of
the whole image. Blank frames are left out, so that what lies before a fade to black is compared
with what comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_LONG_SIDE = 128
_TINY = 24
_BLANK = 2.5
"""Grey levels (standard deviation) below which a frame shows nothing."""
_JUMP = 0.15
_STANDS_OUT = 1.6
"""A candidate jumps by _JUMP contrasts or more, and so many times as far as the frames before it
do, and as those after it."""
_NEIGHBOURS = 3
_LOOK = 4
"""Frames on either side of a candidate that are compared: a flash or an obstacle is shorter."""
_AGREES = 0.22
"""Share of the image whose flow leads back and whose colours fit, from which it is one shot."""
_OVERLAP = 0.4
_CORRELATED = 0.7
"""Two frames that only a shift brings together share this much of their area, this correlated."""


@dataclass(frozen=True)
class _Seen:
    """What is kept of a frame."""

    number: int
    tiny: np.ndarray
    """(t, t, 3) float32 of mean 0 and spread 1: brightness and contrast make no jump."""
    grey: np.ndarray
    """(h, w) uint8, contrast normalised."""


class ShotFinder:
    """Finds hard cuts in frames that come one after the other; keeps a handful of small ones."""

    def __init__(self) -> None:
        self._jumps: list[float] = []
        self._kept: dict[int, _Seen] = {}
        self._cuts: list[int] = []
        self._last_cut = -_LOOK

    def add(self, image: np.ndarray, number: int) -> None:
        """Look at the next frame.

        Args:
            image: (H, W, 3) uint8; RGB or BGR, but always the same.
            number: Of the frame in the source, increasing.
        """
        seen = _seen(image, number)
        if seen is None:
            return
        position = len(self._jumps)
        before = self._kept.get(position - 1)
        self._jumps.append(_jump(before, seen) if before is not None else 0.0)
        self._kept[position] = seen
        self._judge(position - _LOOK)
        self._kept.pop(position - 3 * _LOOK, None)

    def finish(self) -> tuple[int, ...]:
        """Numbers of the frames that begin a new shot, in order; the first frame is not one."""
        for position in range(max(len(self._jumps) - _LOOK, 1), len(self._jumps)):
            self._judge(position)
        return tuple(self._cuts)

    def _judge(self, position: int) -> None:
        """Note a cut before the frame at this position, if there is one."""
        if position < 1 or position - self._last_cut < _LOOK or not self._stands_out(position):
            return
        before = [self._kept.get(position - k) for k in range(1, _LOOK)]
        after = [self._kept.get(position + k) for k in range(_LOOK)]
        for late in after:
            for early in before:
                if early is not None and late is not None and _one_shot(early.grey, late.grey):
                    return
        self._cuts.append(self._kept[position].number)
        self._last_cut = position

    def _stands_out(self, position: int) -> bool:
        jump, least = self._jumps[position], _JUMP
        # The jump of the very first frame is from nowhere.
        before = self._jumps[max(position - _NEIGHBOURS, 1) : position]
        after = self._jumps[position + 1 : position + 1 + _NEIGHBOURS]
        for side in (before, after):
            # On both sides: a whip pan begins and ends with a jump among jumps.
            least = max(least, _STANDS_OUT * float(np.mean(side)) if side else 0.0)
        return jump >= least


def picked_cuts(cuts: tuple[int, ...], index: np.ndarray) -> tuple[int, ...]:
    """Positions of the frames that begin a new shot among those that take part.

    Args:
        cuts: Numbers in the source of frames that begin a shot.
        index: (N,) increasing numbers in the source of the frames that take part.

    Returns:
        Increasing positions between 1 and N - 1.
    """
    positions = np.searchsorted(index, np.asarray(cuts, np.int64))
    return tuple(sorted({int(p) for p in positions if 0 < p < len(index)}))


def _seen(image: np.ndarray, number: int) -> _Seen | None:
    """The frame made small; None where it shows nothing."""
    # Every n-th pixel first: averaging all pixels of a large frame takes longer than decoding it.
    step = max(max(image.shape[:2]) // (4 * _LONG_SIDE), 1)
    image = image[::step, ::step]
    scale = min(_LONG_SIDE / max(image.shape[:2]), 1.0)
    size = tuple(max(round(side * scale), 16) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spread = float(grey.std())
    if spread < _BLANK:
        return None
    normal = np.clip(128 + (grey - grey.mean()) * (48 / spread), 0, 255).astype(np.uint8)
    tiny = cv2.resize(small, (_TINY, _TINY), interpolation=cv2.INTER_AREA)
    contrast = tiny.astype(np.float32) - tiny.mean(axis=(0, 1))
    return _Seen(number, contrast / max(float(contrast.std()), 1.0), normal)


def _jump(a: _Seen, b: _Seen) -> float:
    """Mean difference of the colours; about 1 between two scenes."""
    return float(np.abs(a.tiny - b.tiny).mean())


def _one_shot(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two (h, w) uint8 frames show the same thing."""
    return _agreement(a, b) >= _AGREES or _shifted(a, b)


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the image of `a` that dense flow finds in `b`, and finds back."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = (
        dis.calc(*pair, np.zeros((*a.shape, 2), np.float32)) for pair in ((a, b), (b, a))
    )
    rows, columns = np.indices(a.shape, np.float32)
    u, v = columns + there[..., 0], rows + there[..., 1]
    returned = cv2.remap(back, u, v, cv2.INTER_LINEAR, borderValue=(1e3, 1e3))
    leads_back = np.linalg.norm(there + returned, axis=-1) < 1.5
    seen_there = cv2.remap(b, u, v, cv2.INTER_LINEAR).astype(np.float32)
    alike = _local_correlation(a.astype(np.float32), seen_there) > 0.5
    return float((leads_back & alike).mean())


def _local_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(h, w) correlation of (h, w) images in windows; 1 where both are flat."""

    def mean(image: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(image, cv2.CV_32F, (11, 11)))

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    together = mean(a * b) - mean_a * mean_b
    noise = 4.0  # Grey levels squared: two flat windows are alike if their means are.
    found = (together + noise) / np.sqrt((spread_a + noise) * (spread_b + noise))
    return np.where(np.abs(mean_a - mean_b) < 60, found, -1.0)


def _shifted(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a shift of the whole image brings the frames together, as in a whip pan."""
    h, w = a.shape
    window = cv2.createHanningWindow((w, h), cv2.CV_32F)
    one, two = (image.astype(np.float32) - 128 for image in (a, b))
    (x, y), _ = cv2.phaseCorrelate(one, two, window)
    # The correlation wraps around: a shift by x is as likely one by x - w.
    for dx in {round(x), round(x - np.copysign(w, x))}:
        for dy in {round(y), round(y - np.copysign(h, y))}:
            if abs(dx) >= w or abs(dy) >= h:
                continue
            left, top = max(-dx, 0), max(-dy, 0)
            width, height = w - abs(dx), h - abs(dy)
            if width * height < _OVERLAP * w * h:
                continue
            part = one[top : top + height, left : left + width]
            other = two[top + dy : top + dy + height, left + dx : left + dx + width]
            if min(part.std(), other.std()) < 8:
                continue
            if np.corrcoef(part.ravel(), other.ravel())[0, 1] > _CORRELATED:
                return True
    return False
