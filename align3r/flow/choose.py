"""Which dense flow a name stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from align3r.config import FlowName
from align3r.errors import MissingExtraError, WeightsError
from align3r.flow.dis import DisFlow
from align3r.flow.protocol import DenseFlow
from align3r.flow.raft import RaftFlow

log = logging.getLogger(__name__)


def _dis(device: torch.device) -> DenseFlow:
    return DisFlow()


FLOWS: dict[str, Callable[[torch.device], DenseFlow]] = {
    DisFlow.name: _dis,
    RaftFlow.name: RaftFlow,
}
"""Makers of the flows by name."""


def make_flow(name: FlowName, device: torch.device) -> DenseFlow:
    """The flow asked for; `auto` says which it took and why.

    Raises:
        MissingExtraError: RAFT was asked for by name, and torchvision is not there.
        WeightsError: RAFT was asked for by name, and its weights are not to be had.
    """
    return _best(device) if name == "auto" else FLOWS[name](device)


def _best(device: torch.device) -> DenseFlow:
    """RAFT where it is quick and at hand; nothing is downloaded that nobody asked for."""
    if device.type == "cpu":
        log.info("flow: DIS (RAFT is slow without a GPU)")
        return DisFlow()
    try:
        raft = RaftFlow(device, download=False)
    except (MissingExtraError, WeightsError) as error:
        log.info("flow: DIS (%s; %s)", error, error.hint)
        return DisFlow()
    log.info("flow: RAFT on %s", device)
    return raft
