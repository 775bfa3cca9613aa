"""A moving average of what is trained (Polyak and Juditsky, 1992; exponential, as usual now)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of parameters, in float32; it starts as what they are."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values = {name: p.detach().float().clone() for name, p in parameters.items()}

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from an average of the same parameters."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters as they are after `step` steps, from 1.

        The decay is at most (1 + step) / (10 + step), so that the start is soon forgotten.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self.values.items():
            value.lerp_(self._parameters[name].detach().float(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While this lasts, the parameters are their average."""
        before = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._set(self.values)
        try:
            yield
        finally:
            self._set(before)

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
