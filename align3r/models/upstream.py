"""What upstream's constructor arguments and tensor names mean here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from torch import Tensor

from align3r.models.architecture import CrocoArchitecture, DptSizes, Mode
from align3r.models.heads import HEADS, POINTS_FROM

# A token and a head of the pre-training, a unit that no map passes through, and copies of the
# point-map branch under a name that no network has.
_UNUSED = re.compile(
    r"mask_token$|prediction_head\.|dec_blocks2_pc\.|.*\.refinenet4\.resConfUnit1\."
)
_ALIAS = re.compile(r"(.*\.scratch\.)layer_rn\.([0-3])(\.weight)")
SIZES = (
    "patch_size",
    "enc_embed_dim",
    "enc_depth",
    "enc_num_heads",
    "dec_embed_dim",
    "dec_depth",
    "dec_num_heads",
)
"""Arguments that count something, under the names of `CrocoArchitecture`."""
_MOST = 1 << 16
_MOST_BLOCKS = 1000
_MOST_RATIO = 1e6
"""Far beyond any network of this family; a config of nonsense would keep the machine busy."""
FREE: Mode = ("exp", -math.inf, math.inf)
"""Vectors of any length."""
_CONFIDENCES = ("exp", "sigmoid")


def used_once(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under one name each, and none that no network has a use for."""
    # What a training on several devices leaves behind.
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if alias := _ALIAS.fullmatch(name):
            first = f"{alias[1]}layer{int(alias[2]) + 1}_rn{alias[3]}"
            if first not in state:
                renamed[first] = tensor
        elif not _UNUSED.match(name):
            renamed[name] = tensor
    return renamed


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of `PairNetwork`: one name each, and none that it has no use for.

    CroCo's checkpoints have one decoder: both streams start from it.
    """
    renamed = used_once(state)
    if not any(name.startswith("dec_blocks2.") for name in renamed):
        # With the dot: `dec_blocks` alone begins the names of the point-map branch too.
        own = [name for name in renamed if name.startswith("dec_blocks.")]
        renamed |= {name.replace(".", "2.", 1): renamed[name].clone() for name in own}
    return renamed


def architecture_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `CrocoArchitecture` from upstream's constructor arguments.

    Arguments that do not change the network for inference (img_size, freeze, landscape_only,
    patch_embed_cls ...) are passed over; missing ones are those of the public networks.

    Raises:
        ValueError: A value that no network of this family has here.
    """
    given: dict[str, Any] = {**counts(config, SIZES)}
    sizes = CrocoArchitecture(**given)
    for part in ("enc", "dec"):
        check_heads(sizes, f"{part}_embed_dim", f"{part}_num_heads")
    if "mlp_ratio" in config:
        given["mlp_ratio"] = _number("mlp_ratio", config["mlp_ratio"])
    if "pos_embed" in config:
        base = str(config["pos_embed"]).removeprefix("RoPE")
        given["rope_base"] = _number("pos_embed", base)
    if "head_type" in config:
        given["head_type"] = _known("head_type", config["head_type"], HEADS)
    for name, kinds in (("depth_mode", POINTS_FROM), ("conf_mode", _CONFIDENCES)):
        if name in config:
            given[name] = mode(name, config[name], kinds)
    if given.get("depth_mode", FREE)[1:] != FREE[1:]:
        raise ValueError(f"depth_mode is {config['depth_mode']!r}: points within bounds")
    return given


def counts(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    """Those of the named arguments that are there, which are to be numbers of something.

    Raises:
        ValueError: One is not, or is beyond anything that is known.
    """
    given = {name: config[name] for name in names if name in config}
    for name, value in given.items():
        most = _MOST_BLOCKS if name.endswith("depth") else _MOST
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"{name} is {value!r}")
    return given


def check_heads(sizes: CrocoArchitecture, width: str, heads: str) -> None:
    """Refuse a width, given by its name, that so many heads cannot share.

    Raises:
        ValueError: The channels of a head are not a multiple of four.
    """
    channels, count = getattr(sizes, width), getattr(sizes, heads)
    # A head's channels are four runs: two axes, and two numbers that turn into each other.
    if channels % (4 * count):
        raise ValueError(f"{width} {channels} with {heads} {count}")


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 < number <= _MOST_RATIO:
        raise ValueError(f"{name} is {value!r}")
    return number


def _known(name: str, value: Any, kinds: Iterable[str]) -> str:
    if value not in tuple(kinds):
        raise ValueError(f"{name} is {value!r}, not {' or '.join(kinds)}")
    return str(value)


def mode(name: str, value: Any, kinds: Iterable[str]) -> Mode:
    """An activation of one of these kinds and its bounds, which may be spelled as in JSON.

    Raises:
        ValueError: It is nothing of the kind.
    """
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{name} is {value!r}")
    kind = _known(name, value[0], kinds)
    try:
        return kind, float(value[1]), float(value[2])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} is {value!r}") from error


def dpt_sizes(state: Mapping[str, Tensor], prefix: str = "downstream_head1.dpt.") -> DptSizes:
    """Widths of the DPT heads, which no config names; the public ones where a tensor is missing."""
    public = DptSizes()

    def rows(name: str, default: int) -> int:
        tensor = state.get(f"{prefix}{name}.weight")
        return default if tensor is None or not tensor.ndim else len(tensor)

    levels = (rows(f"act_postprocess.{k}.0", dim) for k, dim in enumerate(public.layer_dims))
    return DptSizes(
        feature_dim=rows("scratch.layer1_rn", public.feature_dim),
        last_dim=rows("head.2", public.last_dim),
        layer_dims=cast(tuple[int, int, int, int], tuple(levels)),
    )


def count_blocks(state: Iterable[str], prefix: str) -> int:
    """Number of blocks under a prefix, by their names."""
    return len({name.split(".")[1] for name in state if name.startswith(prefix)})
