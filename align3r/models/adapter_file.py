"""Files of adapters: folders of the library peft, and the files that Fin3R's authors released.

A folder holds adapter_config.json and adapter_model.safetensors. How an adapter is re-normalised,
which peft knows nothing of, is in the metadata of the tensors; without it, it is not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from safetensors import safe_open
from torch import Tensor, nn

from align3r.errors import UsageError, WeightsError
from align3r.models.checkpoint import read_checkpoint, read_config
from align3r.models.lora import (
    Factors,
    LoraSettings,
    Renorm,
    attach,
    encoder_layers,
    merge,
)

log = logging.getLogger(__name__)

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
RENORM = "align3r_renorm"
"""Where the metadata of the tensors says how they are re-normalised."""
HINT = "an adapter is a folder that peft or align3r wrote, or a file of Fin3R's authors"

_FACTOR = re.compile(
    r"(?:base_model\.model\.)?(?P<block>.+?\.attn)\.(?:base_model\.model\.)?qkv"
    r"\.lora_(?P<factor>[AB])\.(?:default\.)?weight"
)
"""Names of numbers: of a whole network that was wrapped by peft, or of each attention by itself."""
_CHANGE_NUMBERS = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
)
"""Entries of adapter_config.json that make another network of the same tensors, unless empty."""
_CHANGE_WEIGHTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to start an adapter that change the weights it belongs to."""


@dataclass(frozen=True)
class Adapter:
    """What an adapter file holds."""

    path: Path
    settings: LoraSettings
    factors: dict[str, Factors]
    """By the name of the layer."""
    released: bool = False
    """Whether it is a file of Fin3R's authors, which has every layer of its encoder."""


def read_adapter(path: str | Path) -> Adapter:
    """Read a folder of peft, or a .safetensors or .pth file of Fin3R's authors.

    Raises:
        WeightsError: It cannot be read, or is no adapter of an encoder's attention.
    """
    path = Path(path).expanduser()
    if path.name == TENSORS and path.with_name(CONFIG).is_file():
        path = path.parent
    if not path.is_dir():
        return _read_released(path)
    for name in (CONFIG, TENSORS):
        if not (path / name).is_file():
            raise WeightsError(f"{path} has no {name}", hint=HINT)
    state = read_checkpoint(path / TENSORS).state
    factors, others = _factors(path, state)
    if others:
        raise WeightsError(
            f"{path} adapts more than attn.qkv: {_some(others)}", hint="train one for attn.qkv only"
        )
    with safe_open(path / TENSORS, framework="pt") as file:
        renorm = (file.metadata() or {}).get(RENORM, "none")
    return Adapter(path, _settings(path, factors, renorm), factors)


def apply_adapter(network: nn.Module, path: str | Path) -> None:
    """Give a network the adapter of a file, in place; merged where that is the same.

    Args:
        network: With its weights, in float32; its encoder is adapted.
        path: See `read_adapter`.

    Raises:
        WeightsError: The file cannot be read, or is no adapter.
        UsageError: It is one for another network.
    """
    adapter = read_adapter(path)
    check_fits(adapter, network)
    attach(network, adapter.settings, adapter.factors)
    if adapter.settings.mergeable:
        merge(network)


def check_fits(adapter: Adapter, network: nn.Module) -> None:
    """Find out whether an adapter is for a network, whose numbers are not looked at.

    Raises:
        UsageError: It is for another one.
    """
    layers = encoder_layers(network)
    unknown = adapter.factors.keys() - layers.keys()
    missing = layers.keys() - adapter.factors.keys() if adapter.released else set()
    shapes = [
        f"{name} is {b.shape[0]}x{a.shape[1]} in place of {layers[name].out_features}x"
        f"{layers[name].in_features}"
        for name, (a, b) in adapter.factors.items()
        if name in layers
        and (b.shape[0], a.shape[1]) != (layers[name].out_features, layers[name].in_features)
    ]
    found = [(unknown, "not in its encoder"), (missing, "left out"), (shapes, "of another size")]
    problems = [f"{len(names)} {what} ({_some(names)})" for names, what in found if names]
    if problems:
        raise UsageError(
            f"the adapter {adapter.path} is not for this network; layers: {'; '.join(problems)}",
            hint="name the network that it was trained on, or another adapter",
        )


def _read_released(path: Path) -> Adapter:
    state = read_checkpoint(path).state
    factors, others = _factors(path, state)
    if others:
        log.warning("%s holds more than an adapter, left alone: %s", path, _some(others))
    rank = len(next(iter(factors.values()))[0])
    settings = _checked(path, factors, rank=rank, alpha=LoraSettings.alpha, renorm="feature")
    return Adapter(path, settings, factors, released=True)


def _factors(path: Path, state: Mapping[str, Tensor]) -> tuple[dict[str, Factors], list[str]]:
    """The pairs of factors by layer, and the names of what is none."""
    found: dict[str, dict[str, Tensor]] = {}
    others = []
    for name, tensor in state.items():
        if match := _FACTOR.fullmatch(name):
            found.setdefault(f"{match['block']}.qkv", {})[match["factor"]] = tensor
        else:
            others.append(name)
    if not found:
        raise WeightsError(
            f"{path} holds no lora_A and lora_B of attn.qkv: {_some(others) or 'nothing'}",
            hint=HINT,
        )
    halves = [name for name, pair in found.items() if len(pair) < 2]
    if halves:
        raise WeightsError(f"{path} holds half an adapter of {_some(halves)}", hint=HINT)
    factors = {name: (pair["A"], pair["B"]) for name, pair in sorted(found.items())}
    wrong = [name for name, pair in factors.items() if not all(map(_is_matrix, pair))]
    if wrong:
        raise WeightsError(f"{path} holds no matrices of finite numbers: {_some(wrong)}", hint=HINT)
    return factors, others


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and tensor.is_floating_point() and bool(tensor.float().isfinite().all())


def _settings(path: Path, factors: Mapping[str, Factors], renorm: str) -> LoraSettings:
    """What adapter_config.json says, refused where it asks for what is not done here."""
    config = read_config(path / CONFIG)
    kind, bias = config.get("peft_type"), config.get("bias", "none")
    if kind != "LORA" or bias != "none":
        raise WeightsError(
            f"{path} is of the type {kind!s:.20}, bias {bias!s:.20}",
            hint="only LORA without biases is known here",
        )
    asked = [name for name in _CHANGE_NUMBERS if config.get(name)]
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGE_WEIGHTS):
        asked.append(f"init_lora_weights {start:.20}")
    if asked:
        raise WeightsError(
            f"{path} asks for {_some(asked)}, which is not known here", hint="train plain LoRA"
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    # True is a number in Python.
    if not (type(rank) is int and isinstance(alpha, int | float)) or alpha is True:
        raise WeightsError(
            f"{path} has the rank {rank!r:.20} and lora_alpha {alpha!r:.20}", hint=HINT
        )
    return _checked(path, factors, rank=rank, alpha=alpha, renorm=renorm)


def _checked(
    path: Path, factors: Mapping[str, Factors], *, rank: int, alpha: float, renorm: str
) -> LoraSettings:
    """The settings of factors that are all of that rank."""
    try:
        settings = LoraSettings(rank=rank, alpha=alpha, renorm=cast(Renorm, renorm))
    except UsageError as error:
        raise WeightsError(f"{path}: {error}", hint=error.hint) from error
    for name, (a, b) in factors.items():
        if not a.shape[0] == b.shape[1] == rank:
            raise WeightsError(
                f"{path} is of rank {rank}, and {name} of {a.shape[0]} and {b.shape[1]}", hint=HINT
            )
    return settings


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(name[:80] for name in found[:3]) + (", ..." if len(found) > 3 else "")
