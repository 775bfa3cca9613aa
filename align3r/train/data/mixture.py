"""Which sample comes when: every choice follows from the seed and the number of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from align3r.errors import UsageError
from align3r.train.data.crops import Size

_ORDER, _SHAPE = range(2)
"""What numbers are drawn for; they are part of the seed, so that none is drawn twice."""


class Draw(NamedTuple):
    """What one sample is drawn from."""

    share: int
    """Number of the share."""
    visit: int
    """How many samples were drawn from it before, since the beginning."""


class Shape(NamedTuple):
    """What the samples of one step have in common."""

    size: Size
    length: int
    """Views of a sample that is no single image."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Samples of all shares in random order, in steps of equal size."""

    samples: tuple[int, ...]
    """How many an epoch holds of each share."""
    singles: tuple[bool, ...]
    """Whether samples of each share are one view, whatever the length of the others."""
    sizes: tuple[Size, ...]
    """(width, height) of which each step draws one."""
    lengths: tuple[int, ...]
    """Views of a sample of which each step draws one."""
    effective_batch: int
    """Samples a step."""
    views_a_batch: int
    """Most views in a batch."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what nothing can be drawn from.

        Raises:
            UsageError: There is no share, no size or no length.
        """
        for what, there in (("data", self.samples), ("sizes", self.sizes)):
            if not there:
                raise UsageError("there is nothing to train on", hint=f"say --data.{what}")
        if not self.lengths or max(self.lengths) > self.views_a_batch:
            raise UsageError(
                f"samples of {max(self.lengths, default=0)} views fit no batch of "
                f"{self.views_a_batch} views",
                hint="raise --data.views-a-batch, or ask for shorter --data.lengths",
            )

    @property
    def epoch(self) -> int:
        """Samples an epoch."""
        return sum(self.samples)

    def draw(self, number: int) -> Draw:
        """What the sample of a number is drawn from, counted from 0 since the beginning.

        An epoch has exactly the samples of each share that were asked for, in random order; a step
        may hold the end of one epoch and the start of the next.
        """
        epoch, place = divmod(number, self.epoch)
        position = int(_permutation(self.epoch, self.seed, epoch)[place])
        ends = np.cumsum(self.samples)
        share = int(np.searchsorted(ends, position, side="right"))
        within = position - int(ends[share]) + self.samples[share]
        return Draw(share, epoch * self.samples[share] + within)

    def shape(self, step: int) -> Shape:
        """Size and length of a step."""
        rng = np.random.default_rng([self.seed, _SHAPE, step])
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        return Shape(size, self.lengths[int(rng.integers(len(self.lengths)))])

    def views(self, step: int) -> int:
        """How many views the samples of a step have together."""
        length = self.shape(step).length
        return sum(1 if self._is_single(number) else length for number in self._numbers(step))

    def batches(self, step: int) -> list[list[int]]:
        """Numbers of the samples of each batch of a step; a batch has samples of equal length."""
        alone: dict[bool, list[int]] = {True: [], False: []}
        for number in self._numbers(step):
            alone[self._is_single(number)].append(number)
        several = self.views_a_batch // self.shape(step).length
        return _parts(alone[True], self.views_a_batch) + _parts(alone[False], several)

    def _numbers(self, step: int) -> range:
        first = step * self.effective_batch
        return range(first, first + self.effective_batch)

    def _is_single(self, number: int) -> bool:
        return self.singles[self.draw(number).share]


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def _parts(numbers: Sequence[int], count: int) -> list[list[int]]:
    return [list(numbers[i : i + count]) for i in range(0, len(numbers), count)]
