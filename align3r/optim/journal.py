"""Progress over several solves, and what lets an interrupted one go on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from align3r.types import Progress

log = logging.getLogger(__name__)

SAVE_EVERY = 25
"""Steps between two saves."""

Arrays = dict[str, np.ndarray]


class Checkpoint(Protocol):
    """Where an interrupted solve finds its own traces."""

    def load(self) -> Arrays | None:
        """The arrays saved last, or None."""
        ...

    def save(self, arrays: Arrays) -> None:
        """Keep these arrays instead of the ones before."""
        ...


class Journal:
    """Progress over several solves, and the traces from which each can be taken up again."""

    def __init__(
        self, solves: int, steps: int, progress: Progress | None, checkpoint: Checkpoint | None
    ) -> None:
        self._total, self._steps = solves * steps, steps
        self._progress, self._checkpoint = progress, checkpoint
        self._arrays = (checkpoint.load() if checkpoint else None) or {}

    def resume(self, solve: int, shapes: Mapping[str, tuple[int, ...]]) -> Arrays | None:
        """What was saved of a solve, if it is of this problem."""
        start = f"{solve}/"
        found = {k[len(start) :]: v for k, v in self._arrays.items() if k.startswith(start)}
        if not found:
            return None
        if any(found[f"value/{name}"].shape != shape for name, shape in shapes.items()):
            log.warning("the saved state of solve %d is of another problem; starting anew", solve)
            self._arrays = {}
            return None
        return found

    def save(self, solve: int, arrays: Arrays) -> None:
        """Keep the newest trace of a solve; a finished one needs its values only."""
        finished = int(arrays["step"]) == self._steps
        self._arrays = {
            name: value for name, value in self._arrays.items() if not name.startswith(f"{solve}/")
        }
        for name, value in arrays.items():
            if not finished or name == "step" or name.startswith("value/"):
                self._arrays[f"{solve}/{name}"] = value
        if self._checkpoint:
            self._checkpoint.save(dict(self._arrays))

    def tick(self, solve: int, done: int) -> None:
        """Tell how far it is."""
        if self._progress:
            self._progress("align", solve * self._steps + done, self._total)
