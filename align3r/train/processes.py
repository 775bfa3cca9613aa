"""One process or many that train together: the only module that knows accelerate."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from align3r.device import resolve_device
from align3r.errors import MissingExtraError, UsageError

_PATIENCE = timedelta(hours=12)
"""How long processes wait for one that validates or writes."""
_NUMBERS_AT_ONCE = 2**24
"""Gradients that are summed in one message."""
_PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")


class Processes:
    """This process among those that train together."""

    def __init__(self, device: str) -> None:
        """Meet the others, if a launcher (`accelerate launch`, `torchrun`) has started any.

        Raises:
            MissingExtraError: accelerate cannot be imported.
            UsageError: There is no such device, or the launcher wants the network in parts.
        """
        wanted = resolve_device(device)
        try:
            self._accelerate: Any = importlib.import_module("accelerate")
            self._tools: Any = importlib.import_module("accelerate.utils")
        except ImportError as error:
            raise MissingExtraError(
                f"training needs the library accelerate: {error}",
                hint="pip install 'align3r[train]'",
            ) from error
        state = self._accelerate.PartialState(cpu=wanted.type == "cpu", timeout=_PATIENCE)
        kind = str(state.distributed_type.value)
        if kind not in _PLAIN:
            raise UsageError(
                f"accelerate is set up for {kind}", hint="let every process hold the whole network"
            )
        self.rank, self.world = int(state.process_index), int(state.num_processes)
        self.device: torch.device = state.device if self.world > 1 else wanted
        self._state = state

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all are here."""
        self._state.wait_for_everyone()

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, to each of them."""
        if self.world == 1:
            return values
        total: Tensor = self._tools.reduce(values.to(self.device), "sum")
        return total.to(values.device)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every process the sum of the gradients, in place; one that is missing is 0."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world == 1:
            return
        for part in _parts(parameters):
            gradients = [p.grad for p in part if p.grad is not None]
            total = self.sum(torch.cat([g.flatten() for g in gradients]))
            sizes = [g.numel() for g in gradients]
            for gradient, summed in zip(gradients, total.split(sizes), strict=True):
                gradient.copy_(summed.view_as(gradient))

    def share(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the numbers of the first."""
        if self.world > 1:
            for parameter in parameters:
                parameter.data.copy_(self._tools.broadcast(parameter.data, from_process=0))

    def agree(self, value: int) -> int:
        """The number that the first process has."""
        return int(self.sum(torch.tensor(value if self.is_first else 0)))


def _parts(parameters: Sequence[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    part: list[nn.Parameter] = []
    for parameter in parameters:
        part.append(parameter)
        if sum(p.numel() for p in part) >= _NUMBERS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part
