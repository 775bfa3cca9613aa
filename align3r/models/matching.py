"""Whether tensors are exactly those of a network, and the network with them in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from align3r.errors import WeightsError

HINT = "these are weights of another network, or config.json is not the one that belongs to them"

Network = TypeVar("Network", bound=nn.Module)


def refuse_misfit(path: Path, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Name what keeps tensors from being those of a network.

    Args:
        path: The file, for the message.
        expected: The tensors of the network; their numbers are not looked at.
        state: The tensors of the file, under the names of the network.

    Raises:
        WeightsError: A tensor is missing, left over, of another shape, or holds no real numbers.
    """
    problems = [
        _listed(expected.keys() - state.keys(), "missing"),
        _listed(state.keys() - expected.keys(), "unknown"),
        _listed(
            [
                f"{name} {_by(state[name])} in place of {_by(expected[name])}"
                for name in expected.keys() & state.keys()
                if state[name].shape != expected[name].shape
            ],
            "of another shape",
        ),
        _listed([n for n, t in state.items() if not t.is_floating_point()], "not of real numbers"),
    ]
    if any(problems):
        words = "; ".join(filter(None, problems))
        raise WeightsError(f"{path} does not fit its network: {words}", hint=HINT)


def filled(
    network: Network, state: Mapping[str, Tensor], *, path: Path, dtype: torch.dtype | None
) -> Network:
    """The network with these tensors in it, ready for inference.

    Float32 tensors are taken as they are, so those of a mapped file stay mapped.

    Args:
        network: A network on the meta device.
        state: Its tensors.
        path: The file, for the message.
        dtype: Number format of the weights; float32 when not given.

    Raises:
        WeightsError: There is a nan or an infinity among the numbers.
    """
    for name, tensor in state.items():
        # The vectors are next to nothing of the file, and what diverges reaches them all.
        if tensor.ndim == 1 and not tensor.float().isfinite().all():
            raise WeightsError(
                f"{path} is not finite: {name} holds nan or infinity",
                hint="name another checkpoint of this training",
            )
    numbers = {name: tensor.to(dtype or torch.float32) for name, tensor in state.items()}
    network.load_state_dict(numbers, assign=True)
    return network.eval()


def _by(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _listed(names: Iterable[str], what: str) -> str:
    """ "12 tensors missing (a, b, c, ...)", or nothing if there are none."""
    found = sorted(names)
    if not found:
        return ""
    shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return f"{len(found)} tensor{'s' if len(found) > 1 else ''} {what} ({shown})"
