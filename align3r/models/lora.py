"""Low-rank adapters on the attention of an encoder, re-normalised as in Fin3R (arXiv 2511.22429).

A layer W x + b becomes W x + b + (alpha / r) B A x (LoRA; Hu et al., ICLR 2022). Fine-tuning of an
encoder inflates its features, so the adapted layer is brought back to the norm it had, in one of
the ways of `Renorm`. Names and layout of the numbers are those of the library peft.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from align3r.errors import UsageError
from align3r.models.transformer import Linear

ENCODER_QKV = r"(?:enc_blocks|aggregator\.patch_embed\.blocks)\.\d+\.attn\.qkv"
"""What is adapted: queries, keys and values in the encoder of DUSt3R, MonST3R, Align3R and CUT3R,
and in that of VGGT; no other layer of these networks has such a name."""
EPS = 1e-6
"""What the norm of adapted features is raised by; part of the published networks."""

_MOST = 65_536
"""Rank and alpha of an adapter; it is as wide as most layers long before."""

Renorm = Literal["feature", "weight_row", "weight_qkv", "weight_fro", "weight_spectral", "none"]
"""feature: queries, keys and values of each token keep their norms, as in the released networks.
weight_...: the weight keeps its norm, as the paper writes it, which leaves open whether row by row,
for queries, keys and values each, as a whole (Frobenius), or its largest singular value."""
Factors = tuple[Tensor, Tensor]
"""A (r, in) and B (out, r)."""


def _of_thirds(weight: Tensor) -> Tensor:
    norms = weight.unflatten(0, (3, -1)).norm(dim=(1, 2))
    return norms.repeat_interleave(len(weight) // 3)[:, None]


WEIGHT_NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "weight_row": lambda weight: weight.norm(dim=1, keepdim=True),
    "weight_qkv": _of_thirds,
    "weight_fro": lambda weight: weight.norm(),
    "weight_spectral": lambda weight: torch.linalg.matrix_norm(weight, ord=2),
}
"""Norm of a weight (out, in), in a shape that multiplies it."""


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """What an adapter does beside its numbers; the values of the released networks."""

    rank: int = 8
    """Columns of B and rows of A."""
    alpha: float = 8.0
    """The adapter counts alpha / rank times."""
    renorm: Renorm = "feature"
    """What keeps its norm."""

    def __post_init__(self) -> None:
        """Refuse what is no adapter.

        Raises:
            UsageError: The rank or alpha makes no sense, or there is no such re-normalisation.
        """
        # A file may hold any number, such as an integer that is no float.
        if not (1 <= self.rank <= _MOST and 0 < self.alpha <= _MOST):
            raise UsageError(
                f"an adapter of rank {str(self.rank)[:20]} with alpha {str(self.alpha)[:20]}",
                hint=f"both are positive, and at most {_MOST}",
            )
        if self.renorm not in get_args(Renorm):
            raise UsageError(
                f"there is no re-normalisation {self.renorm!r:.40}",
                hint=f"use one of {', '.join(get_args(Renorm))}",
            )

    @property
    def mergeable(self) -> bool:
        """Whether a plain layer can do the same; what depends on the input cannot be one."""
        return self.renorm != "feature"


def keep_feature_norms(adapted: Tensor, base: Tensor) -> Tensor:
    """`y1 |y0| / (|y1| + 1e-6)`, for queries, keys and values of each token.

    Gradients pass through both norms, which are computed in float32 at least.

    Args:
        adapted: (..., 3 D) y1, output of the layer with its adapter, bias included.
        base: (..., 3 D) y0, output without it.
    """
    thirds, before = adapted.unflatten(-1, (3, -1)), base.unflatten(-1, (3, -1))
    exact = torch.promote_types(adapted.dtype, torch.float32)
    now, was = (
        torch.linalg.vector_norm(y, dim=-1, keepdim=True, dtype=exact) for y in (thirds, before)
    )
    return (thirds * (was / (now + EPS))).flatten(-2).to(adapted.dtype)


def keep_weight_norm(weight: Tensor, delta: Tensor, renorm: Renorm) -> Tensor:
    """W + dW with the norm of W, (out, in): `(W + dW) |W| / |W + dW|`."""
    adapted = weight + delta
    if renorm == "none":
        return adapted
    norm = WEIGHT_NORMS[renorm]
    # A row of zeros stays one.
    return adapted * (norm(weight) / norm(adapted).clamp_min(torch.finfo(weight.dtype).tiny))


class LoraLinear(Linear):
    """A linear layer with an adapter; its weight and bias are those of the layer it replaces."""

    def __init__(self, base: nn.Linear, settings: LoraSettings) -> None:
        """Take the parameters of `base`; whoever asks for the adapter gives it its numbers."""
        has_bias = base.bias is not None
        super().__init__(base.in_features, base.out_features, bias=has_bias, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.settings = settings
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, settings.rank, bias=False, **like)
        self.lora_B = nn.Linear(settings.rank, base.out_features, bias=False, **like)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        x = x.to(self.weight.dtype)
        scale, renorm = self.settings.alpha / self.settings.rank, self.settings.renorm
        if renorm in WEIGHT_NORMS:
            return linear(x, self.adapted_weight(), self.bias)
        base = linear(x, self.weight, self.bias)
        adapted = base + self.lora_B(self.lora_A(x)) * scale
        return adapted if renorm == "none" else keep_feature_norms(adapted, base)

    def adapted_weight(self) -> Tensor:
        """(out, in) weight of a plain layer that does the same.

        Raises:
            UsageError: There is none.
        """
        settings = self.settings
        if not settings.mergeable:
            raise UsageError(
                "an adapter that keeps the norms of features cannot be merged into the weights: "
                "what it does depends on the image",
                hint="keep it beside them, or train one with the re-normalisation weight_row",
            )
        delta = self.lora_B.weight @ self.lora_A.weight * (settings.alpha / settings.rank)
        return keep_weight_norm(self.weight, delta, settings.renorm)


def encoder_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The layers of a network that take adapters, by name, in order."""
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(ENCODER_QKV, name)
    }
    if not found:
        raise UsageError(
            f"a {type(network).__name__} has no encoder that takes adapters",
            hint="adapters are for DUSt3R, MonST3R, Align3R, CUT3R and VGGT",
        )
    return found


def attach(network: nn.Module, settings: LoraSettings, factors: Mapping[str, Factors]) -> None:
    """Give layers of a network adapters, in place; the numbers are copied.

    Args:
        network: On any device.
        settings: Of all adapters.
        factors: By the names of `encoder_layers`, of fitting shapes.
    """
    layers = encoder_layers(network)
    for name, (a, b) in factors.items():
        adapted = LoraLinear(layers[name], settings)
        with torch.no_grad():
            adapted.lora_A.weight.copy_(a)
            adapted.lora_B.weight.copy_(b)
        replace(network, name, adapted)


def adapted_layers(network: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """The layers that have an adapter, with their names."""
    return (
        (name, module) for name, module in network.named_modules() if isinstance(module, LoraLinear)
    )


def merge(network: nn.Module) -> None:
    """Make the adapters of a network part of its weights, in place; it computes the same.

    Raises:
        UsageError: The adapters cannot be merged; then nothing has changed.
    """
    with torch.no_grad():
        merged = {name: layer.adapted_weight() for name, layer in adapted_layers(network)}
    for name, weight in merged.items():
        layer = cast(LoraLinear, network.get_submodule(name))
        plain = Linear(layer.in_features, layer.out_features, device="meta")
        plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), layer.bias
        replace(network, name, plain)


def replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in the place of another."""
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, layer)
