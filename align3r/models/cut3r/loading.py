"""From a checkpoint to a CUT3R: names, sizes, and nothing left over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.architecture import Cut3rArchitecture
from align3r.models.checkpoint import Checkpoint, read_checkpoint
from align3r.models.cut3r.network import Cut3r
from align3r.models.matching import HINT, filled, refuse_misfit
from align3r.models.upstream import (
    FREE,
    architecture_arguments,
    check_heads,
    counts,
    dpt_sizes,
    mode,
    used_once,
)

_SIZES = (
    "state_size",
    "state_dec_num_heads",
    "local_mem_size",
    "ray_enc_depth",
    "ray_enc_num_heads",
)
_ONLY: dict[str, Any] = {
    "head_type": "dpt",
    "output_mode": "pts3d+pose",
    "state_pe": "2d",
    "rgb_head": True,
    "pose_head": True,
}
"""What upstream has variants of that no public checkpoint of known tensors is of."""


def load_cut3r(
    path: str | Path, *, dtype: torch.dtype | None = None, half_rotation: bool = False
) -> Cut3r:
    """The network of a checkpoint, on the CPU, ready for inference.

    Float32 weights stay mapped to their file and are read when they are first used.

    Args:
        path: Folder in hub layout, .safetensors or .pth file.
        dtype: Number format of the weights; float32 when not given.
        half_rotation: See `Cut3r.half_rotation`.

    Raises:
        WeightsError: The file cannot be read, or does not hold exactly this network.
    """
    checkpoint = read_checkpoint(path)
    network, state = fit_cut3r(checkpoint)
    network.half_rotation = half_rotation
    return filled(network, state, path=checkpoint.path, dtype=dtype)


def fit_cut3r(checkpoint: Checkpoint) -> tuple[Cut3r, dict[str, Tensor]]:
    """The network without numbers (on the meta device), and its tensors under its names.

    Raises:
        WeightsError: A tensor is missing, left over, of another shape, or holds no real numbers.
    """
    state = used_once(checkpoint.state)
    try:
        given = cut3r_arguments(checkpoint.config)
    except ValueError as error:
        raise WeightsError(
            f"{checkpoint.path} has a network that is not known here: {error}", hint=HINT
        ) from error
    dpt = dpt_sizes(state, "downstream_head.dpt_self.")
    with torch.device("meta"):
        network = Cut3r(Cut3rArchitecture(**given, dpt=dpt))
    refuse_misfit(checkpoint.path, network.state_dict(), state)
    return network, state


def cut3r_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Cut3rArchitecture` from upstream's constructor arguments.

    Missing ones are those of the public network: numbers of attention heads are in the config or
    nowhere, because no tensor shows them.

    Raises:
        ValueError: A value that no network here has.
    """
    for name, only in _ONLY.items():
        if config.get(name, only) != only:
            raise ValueError(f"{name} is {config[name]!r}, not {only!r}")
    if "pose_mode" in config and mode("pose_mode", config["pose_mode"], ("exp",)) != FREE:
        raise ValueError(f"pose_mode is {config['pose_mode']!r}: translations within bounds")
    given = {**architecture_arguments(config), **counts(config, _SIZES)}
    sizes = Cut3rArchitecture(**given)
    check_heads(sizes, "dec_embed_dim", "state_dec_num_heads")
    check_heads(sizes, "enc_embed_dim", "ray_enc_num_heads")
    return given
