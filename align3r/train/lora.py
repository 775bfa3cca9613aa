"""Adapters that are trained: everything else frozen, and what was learned written for others.

What an adapter computes is in `align3r.models.lora`, how its files are read in
`align3r.models.adapter_file`; both are needed without any training.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from align3r.errors import UsageError
from align3r.io.whole import whole_or_nothing
from align3r.models.adapter_file import CONFIG, RENORM, TENSORS, check_fits, read_adapter
from align3r.models.lora import (
    ENCODER_QKV,
    LoraSettings,
    adapted_layers,
    attach,
    encoder_layers,
)
from align3r.train.digest import digest_without


def add_adapters(network: nn.Module, settings: LoraSettings, *, seed: int = 0) -> None:
    """Freeze a network, and give every block of its encoder an adapter that is trained, in place.

    A new adapter changes nothing but by the 1e-6 in `keep_feature_norms`.

    Args:
        network: With its weights, float32.
        settings: Of all adapters.
        seed: Of the numbers that they start from; the same on every device.

    Raises:
        UsageError: The network has no encoder that takes adapters, or has some already.
    """
    _refuse_adapted(network)
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, layer in encoder_layers(network).items():
        # As peft draws it: Kaiming-uniform with a = sqrt(5), so that B A starts at zero.
        a = torch.empty(settings.rank, layer.in_features)
        nn.init.kaiming_uniform_(a, a=5**0.5, generator=generator)
        factors[name] = a, torch.zeros(layer.out_features, settings.rank)
    attach(network, settings, factors)
    _freeze_all_but_adapters(network)


def resume_adapters(network: nn.Module, path: str | Path) -> LoraSettings:
    """Freeze a network, and give it the adapters of a file, to be trained on; never merged.

    Returns:
        What the adapters do beside their numbers.

    Raises:
        WeightsError: The file cannot be read, or is no adapter.
        UsageError: It is one for another network, or the network has adapters already.
    """
    _refuse_adapted(network)
    adapter = read_adapter(path)
    check_fits(adapter, network)
    attach(network, adapter.settings, adapter.factors)
    _freeze_all_but_adapters(network)
    return adapter.settings


def trained_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """What an optimiser gets: the numbers of all adapters, by name."""
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def frozen_digest(network: nn.Module) -> str:
    """SHA-256 of every number of a network that is no adapter: training leaves it as it is."""
    adapters = {
        f"{name}.lora_{factor}.weight" for name, _ in adapted_layers(network) for factor in "AB"
    }
    return digest_without(network, adapters)


def save_adapters(network: nn.Module, folder: Path, *, base: str | None = None) -> None:
    """Write the adapters of a network as a folder that peft reads, whole or not at all.

    Peft computes the same from it where the re-normalisation is `none`; it passes over any other.

    Args:
        network: With adapters, all of the same settings.
        folder: Must not exist, or be such a folder, which is replaced.
        base: Name of the weights that the adapters belong to, for who reads the file.

    Raises:
        UsageError: The network has no adapters, or the folder holds something else.
        InputError: The place cannot be written.
    """
    layers = dict(adapted_layers(network))
    if not layers:
        raise UsageError("the network has no adapters", hint="add them before they are trained")
    settings = next(iter(layers.values())).settings
    tensors = {
        f"base_model.model.{name}.lora_{factor}.weight": value.detach().cpu().float().contiguous()
        for name, layer in layers.items()
        for factor, value in (("A", layer.lora_A.weight), ("B", layer.lora_B.weight))
    }
    with whole_or_nothing(folder, check=lambda: _check_free(folder)) as scratch:
        save_file(tensors, scratch / TENSORS, {"format": "pt", RENORM: settings.renorm})
        text = json.dumps(_config(settings, base), indent=2)
        (scratch / CONFIG).write_text(text + "\n", encoding="utf-8")


def _config(settings: LoraSettings, base: str | None) -> dict[str, object]:
    return {
        "base_model_name_or_path": base,
        "bias": "none",
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": settings.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": settings.rank,
        "target_modules": ENCODER_QKV,
        "task_type": None,
    }


def _check_free(folder: Path) -> None:
    """Refuse to replace anything but an adapter."""
    if not folder.exists():
        return
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - {CONFIG, TENSORS}:
        raise UsageError(
            f"{folder} holds something else than an adapter", hint="choose another place"
        )


def _refuse_adapted(network: nn.Module) -> None:
    if any(adapted_layers(network)):
        raise UsageError("the network has adapters already", hint="load its weights again")


def _freeze_all_but_adapters(network: nn.Module) -> None:
    network.requires_grad_(False)
    for _, layer in adapted_layers(network):
        layer.lora_A.requires_grad_(True)
        layer.lora_B.requires_grad_(True)
