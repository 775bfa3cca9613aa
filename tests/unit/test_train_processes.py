"""What processes that train together say to each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import accelerate
import pytest
import torch
from torch import Tensor, nn

from align3r.errors import UsageError
from align3r.train import processes
from align3r.train.processes import Processes


def together(monkeypatch: pytest.MonkeyPatch, rank: int = 0, kind: str = "MULTI_CPU") -> Processes:
    """One of two, of whom the other always has the same numbers."""
    state = SimpleNamespace(
        distributed_type=SimpleNamespace(value=kind),
        process_index=rank,
        num_processes=2,
        device=torch.device("cpu"),
        wait_for_everyone=lambda: None,
    )
    monkeypatch.setattr(accelerate, "PartialState", lambda **_: state)
    found = Processes("cpu")

    def double(values: Tensor, how: str) -> Tensor:
        assert how == "sum"
        return 2 * values

    found._tools = SimpleNamespace(reduce=double)
    return found


def test_alone_nothing_is_sent() -> None:
    alone = Processes("cpu")
    values = torch.ones(3)
    assert (alone.rank, alone.world, alone.is_first) == (0, 1, True)
    assert alone.sum(values) is values and alone.agree(7) == 7
    alone.wait()
    alone.share([nn.Parameter(values)])


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_gradients_are_summed_whatever_their_number(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(processes, "_NUMBERS_AT_ONCE", at_once)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (), (5,), (4, 1))]
    expected: list[Any] = []
    for k, parameter in enumerate(parameters):
        if k != 2:
            parameter.grad = torch.rand(parameter.shape)
        expected.append(torch.zeros(5) if parameter.grad is None else 2 * parameter.grad)
    together(monkeypatch).sum_gradients(parameters)
    for parameter, wanted in zip(parameters, expected, strict=True):
        assert parameter.grad is not None and torch.equal(parameter.grad, wanted)


def test_the_first_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not together(monkeypatch, rank=1).is_first
    assert together(monkeypatch, rank=1).agree(3) == 0  # both say nothing here
    assert together(monkeypatch, rank=0).agree(3) == 6


@pytest.mark.parametrize("kind", ["DEEPSPEED", "FSDP", "MEGATRON_LM", "XLA"])
def test_networks_in_parts_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with pytest.raises(UsageError, match=kind):
        together(monkeypatch, kind=kind)


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.backends.mps.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="mps"):
        Processes("mps")
