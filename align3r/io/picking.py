"""Which frames take part: start, stop, stride, frame rate, count. Pure; knows times only."""

from __future__ import annotations

import math

import numpy as np

from align3r.config import InputOptions
from align3r.errors import UsageError

MIN_SIDE = 32
"""Shortest working side, in pixels, that still holds something to match."""

_EPSILON = 1e-6
# Matroska rounds times to milliseconds; without this slack every third frame of 29.97 would
# sometimes be one late.
_RATE_SLACK = 1e-3


def check_input_options(options: InputOptions) -> None:
    """Refuse options that make no sense for any input.

    Raises:
        UsageError: A value is out of its range, or `stop` is not after `start`.
    """
    if not options.start >= 0:
        raise UsageError(f"--start {options.start:g} is before the beginning", hint="use 0 or more")
    if options.stop is not None and not options.stop > options.start:
        raise UsageError(
            f"--stop {options.stop:g} s is not after --start {options.start:g} s",
            hint="give a later --stop",
        )
    if options.stride < 1:
        raise UsageError(f"--stride {options.stride} takes no frame", hint="use 1 or more")
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise UsageError(f"--fps {options.fps:g} is no frame rate", hint="use a positive number")
    if options.max_frames is not None and options.max_frames < 1:
        raise UsageError(f"--max-frames {options.max_frames} takes no frame", hint="use 1 or more")
    if options.size < MIN_SIDE:
        raise UsageError(f"--size {options.size} is too small", hint=f"use {MIN_SIDE} or more")


class FramePicker:
    """Says, frame by frame and in order, which frames take part (all rules but `max_frames`).

    `start` and `stop` are seconds after the first frame. `stride` counts from the first frame
    inside them. `thin_to_fps` then drops frames that come sooner than the rate allows.
    """

    def __init__(self, options: InputOptions, *, thin_to_fps: bool) -> None:
        self._start = options.start
        self._stop = math.inf if options.stop is None else options.stop
        self._stride = options.stride
        self._period = 1 / options.fps if thin_to_fps and options.fps else 0.0
        self._origin: float | None = None
        self._due = -math.inf
        self._position = 0

    def is_over(self, time: float) -> bool:
        """Whether no frame at this time (seconds) or later takes part."""
        return self._elapsed(time) >= self._stop - _EPSILON

    def has_begun(self, time: float) -> bool:
        """Whether `start` is not after this time (seconds)."""
        return self._elapsed(time) >= self._start - _EPSILON

    def wants(self, time: float) -> bool:
        """Whether the next frame, at this time in seconds, takes part."""
        elapsed = self._elapsed(time)
        if not self.has_begun(time) or self.is_over(time):
            return False
        position, self._position = self._position, self._position + 1
        if position % self._stride or elapsed < self._due - _RATE_SLACK:
            return False
        if self._period:
            # On a grid from the first frame taken, so that rounding does not add up.
            self._due = elapsed if self._due == -math.inf else self._due
            steps = math.floor((elapsed + _RATE_SLACK - self._due) / self._period) + 1
            self._due += steps * self._period
        return True

    def _elapsed(self, time: float) -> float:
        if self._origin is None:
            self._origin = time
        return time - self._origin


def spread(numbers: list[int], count: int | None) -> list[int]:
    """At most `count` of the numbers, evenly over all of them, first and last included."""
    if count is None or len(numbers) <= count:
        return numbers
    positions = np.linspace(0, len(numbers) - 1, count).round().astype(int)
    return [numbers[position] for position in positions]
