"""What can be drawn from the sequences of a share, the same whoever draws it."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from align3r.datasets.table import dataset
from align3r.errors import Align3rError, InputError, UsageError
from align3r.train.data.footage import Footage, open_footage
from align3r.train.data.rules import rule
from align3r.train.data.shares import Share
from align3r.train.data.values import SourceView

_GLANCES = 4
"""Frames that are looked at to find out what is known of all."""
_KEPT = {"video": 64, "images": 4096, "samples": 1}
"""Open at a time: a video takes about a megabyte, a shard 45 kB and a while to look through."""


class Source:
    """The sequences of a share. Names are known at once; what has one is opened when needed.

    It may be sent to other processes: what is open stays behind.
    """

    def __init__(
        self,
        share: Share,
        *,
        seed: int = 0,
        strides: tuple[int, int] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """List the sequences; those that have to be made first, rendered ones, are made now.

        Args:
            share: Which.
            seed: Of the order in which they are drawn.
            strides: Least and most frames from a view to the next; what suits if None.
            settings: What the reader is called with, besides or in place of what suits.

        Raises:
            InputError: The folder is not there, or holds no such data.
            UsageError: The patterns choose nothing, or nothing is trained on such data.
        """
        row = rule(share.dataset)
        plain = dataset(share.dataset)
        suits = {**plain.settings, **row.settings, **(settings or {})}
        self.share = share
        self.dataset = replace(plain, settings=suits)
        self.seed = seed
        self.strides = strides or row.strides
        self.farthest = row.farthest
        otherwise = row.trained if share.samples is not None else row.held_out
        self.names = share.chosen(self.dataset.names(share.root), otherwise)
        self._open: OrderedDict[str, Footage] = OrderedDict()
        if self.dataset.kind not in _KEPT:
            raise UsageError(
                f"{plain.title} holds {plain.kind}, which are there to evaluate",
                hint="train on another data set",
            )
        for name in self.names if row.made_when_read else ():
            self.footage(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    @property
    def is_single(self) -> bool:
        """Whether its images have nothing to do with each other."""
        return self.dataset.kind != "video"

    def footage(self, name: str) -> Footage:
        """What has one of the names.

        Raises:
            InputError: It is not whole.
        """
        if name not in self._open:
            self._open[name] = open_footage(
                self.dataset, self.share.root, name, farthest=self.farthest
            )
            if len(self._open) > _KEPT[self.dataset.kind]:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        return self._open[name]

    def draw(self, visit: int, length: int, rng: np.random.Generator) -> tuple[SourceView, ...]:
        """Frames of one sequence, in the order in which a network shall see them.

        Every sequence has its turn, in random order, before any has a second one; at each turn of
        a sequence another of its frames is among those drawn, until all have been. Nothing has to
        be known of all sequences at once.

        Args:
            visit: How many samples were drawn from the source before, since the beginning.
            length: How many frames; single images come alone whatever it says.
            rng: What is random besides.

        Raises:
            InputError: Something cannot be read.
            UsageError: No sequence is as long.
        """
        turn, place = divmod(visit, len(self.names))
        length = 1 if self.is_single else length
        order = np.roll(self._order(len(self.names), turn), -place)
        name, footage = self._long_enough((self.names[i] for i in order), length)
        again, at = divmod(turn, footage.length)
        wanted = self._order(footage.length, again, zlib.crc32(name.encode()))[at]
        frames = self._around(int(wanted), footage.length, length, rng)
        return tuple(footage.view(frame) for frame in frames)

    def check_length(self, length: int) -> None:
        """Look for a sequence that is long enough, before the training finds none.

        Raises:
            InputError: There is none among those that can be read, and one cannot be.
            UsageError: None is as long.
        """
        if self.is_single:
            return
        last: Align3rError = self._too_short(length)
        for name in self.names:
            try:
                if self.footage(name).length >= length:
                    return
            except InputError as error:
                last = error
        raise last

    def has(self, known: Callable[[SourceView], bool]) -> bool:
        """Whether this is `known` of any of a few frames; yes as well if none can be read."""
        if self.dataset.kind == "images":
            return False
        read = False
        for k in range(_GLANCES):
            try:
                view = self._at((k + 0.5) / _GLANCES)
            except InputError:
                continue
            if known(view):
                return True
            read = True
        return not read

    def evenly(self, count: int) -> Iterator[SourceView]:
        """Frames that are spread evenly over the sequences and in them, to validate on.

        Raises:
            InputError: Something cannot be read.
        """
        for k in range(count):
            yield self._at((k + 0.5) / count)

    def _at(self, part: float) -> SourceView:
        """The frame so far through all sequences, as if they were of one length."""
        place = part * len(self.names)
        footage = self.footage(self.names[int(place)])
        return footage.view(int(place % 1 * footage.length))

    def _long_enough(self, names: Iterable[str], length: int) -> tuple[str, Footage]:
        for name in names:
            footage = self.footage(name)
            if footage.length >= length:
                return name, footage
        raise self._too_short(length)

    def _too_short(self, length: int) -> UsageError:
        return UsageError(
            f"no sequence of {self.dataset.title} under {self.share.root} has {length} frames",
            hint="ask for shorter samples with --data.lengths",
        )

    def _order(self, count: int, *key: int) -> np.ndarray:
        return np.random.default_rng([self.seed, *key, count]).permutation(count)

    def _around(self, frame: int, there: int, length: int, rng: np.random.Generator) -> list[int]:
        """Frames at one stride, `frame` among them unless it is too near the end for that."""
        if length == 1:
            return [frame]
        longest = (there - 1) // (length - 1)
        least, most = (min(stride, longest) for stride in self.strides)
        stride = int(rng.integers(least, most + 1))
        span = stride * (length - 1)
        start = frame - stride * int(rng.integers(length))
        start = min(max(start, 0), there - 1 - span)
        frames = list(range(start, start + span + 1, stride))
        return frames[::-1] if rng.integers(2) else frames
