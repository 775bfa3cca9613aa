"""The sizes of a MoGe: what its config says, and what only its tensors say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from align3r.models.dinov2 import VitArchitecture
from align3r.models.moge.version1 import Moge1Architecture
from align3r.models.moge.version2 import Moge2Architecture, PyramidArchitecture

ENCODERS = {
    f"dinov2_vit{size}14": VitArchitecture(
        embed_dim=width, depth=depth, num_heads=heads, resampling="scale"
    )
    for size, width, depth, heads in (
        ("s", 384, 12, 6),
        ("b", 768, 12, 12),
        ("l", 1024, 24, 16),
    )
}
"""By the names of the configs."""

_MOST_TOKENS = 1 << 16
"""Nothing was trained with more, and much more would be an image that no memory holds."""

Config = Mapping[str, Any]
State = Mapping[str, Tensor]


def architecture_of(config: Config, state: State) -> Moge1Architecture | Moge2Architecture:
    """The sizes of the network that a checkpoint holds.

    Args:
        config: What the checkpoint says of itself; keys that are not known are passed over.
        state: Its tensors. Widths are read from them, since configs leave out what is usual.

    Raises:
        ValueError: It is no MoGe, or one that is not known here.
    """
    encoder = config.get("encoder")
    if config.get("remap_output", "exp") != "exp":
        raise ValueError(f"remap_output is {config['remap_output']!r}, not 'exp'")
    if isinstance(encoder, str):
        return _moge1(config, state, _encoder(encoder))
    if isinstance(encoder, Mapping):
        return _moge2(config, state, _encoder(encoder.get("backbone")))
    raise ValueError("its config names no encoder")


def _moge1(config: Config, state: State, encoder: VitArchitecture) -> Moge1Architecture:
    levels = _levels(config.get("intermediate_layers", 4), encoder.depth)
    blocks = "head.upsample_blocks"
    widths = tuple(
        _size(state, f"{blocks}.{k}.0.0.weight", 1) for k in range(_count(state, f"{blocks}."))
    )
    return Moge1Architecture(
        encoder=encoder,
        levels=levels,
        projected=_size(state, "head.projects.0.weight", 0),
        widths=widths,
        hidden=_hidden(state, f"{blocks}.0.1"),
        residual_blocks=_count(state, f"{blocks}.0.") - 1,
        last=_size(state, "head.output_block.0.0.weight", 0),
        tokens_range=_tokens_range(config) or Moge1Architecture.tokens_range,
    )


def _moge2(config: Config, state: State, encoder: VitArchitecture) -> Moge2Architecture:
    has_normal = any(name.startswith("normal_head.") for name in state)
    layers = [f"scale_head.{2 * k}.weight" for k in range(_count(state, "scale_head."))]
    return Moge2Architecture(
        encoder=encoder,
        levels=_levels(config["encoder"].get("intermediate_layers", 4), encoder.depth),
        projected=_size(state, "encoder.output_projections.0.weight", 0),
        neck=_pyramid(state, "neck"),
        points=_pyramid(state, "points_head"),
        mask=_pyramid(state, "mask_head"),
        normal=_pyramid(state, "normal_head") if has_normal else None,
        scale=(_size(state, layers[0], 1) if layers else 0, *(_size(state, n, 0) for n in layers)),
        tokens_range=_tokens_range(config) or Moge2Architecture.tokens_range,
    )


def _pyramid(state: State, prefix: str) -> PyramidArchitecture:
    count = _count(state, f"{prefix}.input_blocks.")
    entries = [f"{prefix}.input_blocks.{k}.weight" for k in range(count)]
    blocks = [_count(state, f"{prefix}.res_blocks.{k}.") for k in range(count)]
    first = next((f"{prefix}.res_blocks.{k}.0" for k, n in enumerate(blocks) if n), None)
    output = f"{prefix}.output_blocks.{count - 1}.weight"
    return PyramidArchitecture(
        inputs=tuple(_size(state, name, 1) for name in entries),
        widths=tuple(_size(state, name, 0) for name in entries),
        residual_blocks=tuple(blocks),
        learnt=tuple(f"{prefix}.resamplers.{k}.0.weight" in state for k in range(count - 1)),
        output=_size(state, output, 0) if output in state else None,
        hidden=1 if first is None else _hidden(state, first),
    )


def _encoder(name: Any) -> VitArchitecture:
    if not isinstance(name, str) or name not in ENCODERS:
        raise ValueError(f"its encoder is {name!r}, not one of {', '.join(ENCODERS)}")
    return ENCODERS[name]


def _levels(given: Any, depth: int) -> tuple[int, ...]:
    """Numbers of blocks: those listed, or so many of the last."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 < given <= depth:
        return tuple(range(depth - given, depth))
    # The encoder answers in the order of its blocks.
    if (
        isinstance(given, list | tuple)
        and given
        and all(isinstance(k, int) and 0 <= k < depth for k in given)
        and list(given) == sorted(set(given))
    ):
        return tuple(given)
    raise ValueError(f"intermediate_layers is {given!r}, of an encoder of {depth} layers")


def _tokens_range(config: Config) -> tuple[int, int] | None:
    """The range of tokens; older configs give it as areas in pixels. None: they do not say."""
    given, area = config.get("num_tokens_range"), 1
    if given is None:
        given, area = config.get("trained_area_range"), VitArchitecture.patch_size**2
    if given is None:
        return None
    if (
        isinstance(given, list | tuple)
        and len(given) == 2
        and all(isinstance(n, int | float) for n in given)
        and 1 <= given[0] // area <= given[1] // area <= _MOST_TOKENS
    ):
        return int(given[0] // area), int(given[1] // area)
    raise ValueError(f"its range of tokens is {given!r}")


def _hidden(state: State, block: str) -> int:
    """Hidden channels of a residual block, in its width."""
    hidden, width = (_size(state, f"{block}.layers.2.weight", axis) for axis in (0, 1))
    return hidden // width


def _size(state: State, name: str, axis: int) -> int:
    tensor = state.get(name)
    if tensor is None or tensor.ndim <= axis or not tensor.shape[axis]:
        raise ValueError(f"it has no fitting tensor {name}")
    return tensor.shape[axis]


def _count(state: State, prefix: str) -> int:
    """How many parts a list of modules has."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})
