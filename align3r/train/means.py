"""Means of what a training tells of its steps, over batches and over steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class StepSums:
    """Weighted sums over the batches of a step; a loss that is not finite takes no part."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._values: list[Tensor] = []
        self._weights: list[float] = []

    def add(self, losses: Mapping[str, Tensor], weight: float) -> None:
        """Take in the losses of a batch, ()."""
        if self.names and list(losses) != self.names:
            raise ValueError(f"losses are {list(losses)}, and were {self.names}")
        self.names = list(losses)
        self._values.append(torch.stack([value.detach() for value in losses.values()]))
        self._weights.append(weight)

    def not_finite(self, name: str) -> list[int]:
        """Numbers of the batches of which this loss is not finite."""
        found = self._table()[:, self.names.index(name)]
        return [k for k, value in enumerate(found.tolist()) if not math.isfinite(value)]

    def sums(self) -> tuple[Tensor, Tensor]:
        """(L,) float64 sums of weight times loss, and of the weights, of the L losses."""
        values, weights = self._table(), torch.tensor(self._weights, dtype=torch.float64)[:, None]
        known = values.isfinite()
        return (
            torch.where(known, values * weights, 0.0).sum(0),
            torch.where(known, weights, 0.0).sum(0),
        )

    def _table(self) -> Tensor:
        """(batches, L), asked for once all are computed: a GPU is waited for here."""
        return torch.stack(self._values).cpu().double()


class Window:
    """Means over some steps, that a checkpoint can hold."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Take in numbers of a step; those that are not finite take no part."""
        for name, value in values.items():
            if math.isfinite(value):
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means, and a fresh start."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """Plain values; floats pass through JSON without loss."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
