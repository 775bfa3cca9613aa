"""What the loop trains, and where its batches come from, as far as the loop asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from align3r.progress import Report


class Task(Protocol):
    """A module with a network in it, the loss that it learns from, and what is left in the end."""

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """Means over a batch, all (), the same names each time; `loss` is what is made smaller.

        Others may be nan, where a batch has nothing of the kind.
        """

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimiser gets, by name; float32."""

    def pictures(self, batch: Any) -> dict[str, np.ndarray]:
        """(H, W, 3) uint8 each, of what the network says of a batch."""

    def validate(self, report: Report) -> dict[str, float]:
        """Metrics of what is held out; none if nothing is."""

    def save(self, folder: Path) -> None:
        """Write what users take away."""


class Batch(Protocol):
    """What the loop asks of a batch."""

    @property
    def names(self) -> Sequence[Sequence[str]]:
        """Of the views of each sample: who to blame if a loss is not finite."""

    @property
    def weight(self) -> float:
        """How much it counts among the batches of a step, those of all processes together."""

    def to(self, device: Any) -> Any:
        """The batch on a device."""


Steps = Iterator[tuple[int, Sequence[Batch]]]
"""Number of a step, from 0, and this process's part of its batches."""


@dataclass(frozen=True)
class Feed:
    """Where batches come from."""

    samples_an_epoch: int
    """How long an epoch is."""
    open: Callable[[int, int, int], Steps]
    """`open(first_step, rank, world)` gives the steps from that one on, without end: of the batches
    that all processes together have in a step, this one has `rank`, `rank + world` and so on. What
    they all have in a step depends on its number alone."""
