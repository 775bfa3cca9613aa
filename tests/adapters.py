"""Tiny networks with adapters that have learned a little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from networks import public_state, tiny
from torch import Tensor, nn

from align3r.models.lora import LoraSettings, Renorm
from align3r.models.pair_network import PairNetwork
from align3r.train.lora import add_adapters, save_adapters, trained_parameters

NAMES = ["enc_blocks.0.attn.qkv", "enc_blocks.1.attn.qkv"]
RENORMS = get_args(Renorm)


def make(*, branch: bool = False) -> PairNetwork:
    network = PairNetwork(tiny(branch=branch))
    known = network.state_dict()
    state = {n: t for n, t in public_state(tiny(branch=branch)).items() if n in known}
    # Numbers as large as a trained network's, so that the answers are no infinities.
    network.load_state_dict({name: tensor * 0.2 for name, tensor in state.items()})
    return network.eval()


def images() -> tuple[Tensor, Tensor]:
    first, second = torch.rand((2, 1, 3, 32, 48), generator=torch.Generator().manual_seed(1))
    return first * 2 - 1, second * 2 - 1


def out(network: nn.Module) -> Tensor:
    with torch.no_grad():
        answer = network(images())
    return torch.cat([*answer.points, *(c[..., None] for c in answer.confidence)], dim=-1)


def teach(network: nn.Module, steps: int = 5) -> None:
    """Some steps of an optimiser, for no purpose."""
    optimiser = torch.optim.AdamW(trained_parameters(network).values(), lr=0.05)
    for _ in range(steps):
        answer = network(images())
        loss = sum((p - 1).square().mean() for p in answer.points) + answer.confidence[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def trained(renorm: Renorm = "feature") -> PairNetwork:
    network = make()
    add_adapters(network, LoraSettings(rank=4, alpha=6.0, renorm=renorm))
    teach(network)
    return network


def saved_adapters(place: Path) -> Callable[[Renorm], Path]:
    """Folders with adapters that were trained a little, by their re-normalisation."""

    def folder(renorm: Renorm) -> Path:
        if not (place / renorm).exists():
            save_adapters(trained(renorm), place / renorm, base="tiny")
        return place / renorm

    return folder


def released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that wrapping each attention by itself leads to."""
    return {
        name.removeprefix("base_model.model.")
        .replace(".attn.qkv.", ".attn.base_model.model.qkv.")
        .replace(".weight", ".default.weight"): tensor
        for name, tensor in state.items()
    }
