"""In which order pairs are computed, and how long each frame is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Pairs that are computed together."""

    rows: tuple[int, ...]
    """Their rows in the list of pairs."""
    pairs: tuple[tuple[int, int], ...]
    """(i, j) of each."""

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that take part, each once."""
        return tuple(dict.fromkeys(frame for pair in self.pairs for frame in pair))


class Schedule:
    """Pairs ordered so that each frame's pairs lie near each other, cut into batches.

    Pairs of neighbouring frames come together and far ones (keyframes, loops) where their later
    frame is due, so the frames that are needed at a time are few.
    """

    def __init__(self, edges: np.ndarray, batch: int) -> None:
        """Plan (E, 2) pairs in batches of `batch`."""
        pairs = [(int(i), int(j)) for i, j in edges]
        order = sorted(range(len(pairs)), key=lambda row: (max(pairs[row]), min(pairs[row]), row))
        starts = range(0, len(order), batch)
        rows = [tuple(order[start : start + batch]) for start in starts]
        self.batches = [Batch(r, tuple(pairs[row] for row in r)) for r in rows]
        self._uses: dict[int, list[int]] = {}
        for k, each in enumerate(self.batches):
            for frame in each.frames:
                self._uses.setdefault(frame, []).append(k)
        self._roles = {(frame, role) for pair in pairs for role, frame in enumerate(pair)}

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        return iter(enumerate(self.batches))

    def roles(self, frame: int) -> tuple[int, ...]:
        """In which roles (0 first, 1 second view) a frame takes part."""
        return tuple(role for role in (0, 1) if (frame, role) in self._roles)

    def next_use(self, frame: int, after: int) -> int | None:
        """The first batch after batch `after` in which a frame takes part."""
        uses = self._uses.get(frame, [])
        at = int(np.searchsorted(uses, after, side="right"))
        return uses[at] if at < len(uses) else None
