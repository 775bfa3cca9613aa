"""From a checkpoint to a MoGe: of either version, of any size, nothing left over."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.checkpoint import Checkpoint, read_checkpoint
from align3r.models.matching import filled, refuse_misfit
from align3r.models.moge.sizes import architecture_of
from align3r.models.moge.version1 import Moge1, Moge1Architecture
from align3r.models.moge.version2 import Moge2
from align3r.models.precision import set_matrices

_HINT = "MoGe's own are model.pt of moge-vitl, moge-2-vitl and moge-2-vitl-normal"


def load_moge(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Moge1 | Moge2:
    """The network of a checkpoint, on the CPU, ready for inference.

    Args:
        path: A .pt file as published, or .safetensors with a config.json that holds its config.
        dtype: Number format of the matrices of the image encoder, which is nearly all of the
            work; all else is in float32.

    Raises:
        WeightsError: The file cannot be read, or holds no MoGe, or one that is not known here.
    """
    checkpoint = read_checkpoint(path)
    network, state = fit(checkpoint)
    network = filled(network, state, path=checkpoint.path, dtype=torch.float32)
    set_matrices(network.backbone, dtype)
    return network


def fit(checkpoint: Checkpoint) -> tuple[Moge1 | Moge2, dict[str, Tensor]]:
    """The network without numbers (on the meta device), and its tensors.

    Raises:
        WeightsError: It is no MoGe, or a tensor is missing, left over or of another shape.
    """
    state = checkpoint.state
    try:
        architecture = architecture_of(checkpoint.config, state)
        with torch.device("meta"):
            network = (
                Moge1(architecture)
                if isinstance(architecture, Moge1Architecture)
                else Moge2(architecture)
            )
    except ValueError as error:  # groups of channels that do not come out even, too
        raise WeightsError(
            f"{checkpoint.path} holds no MoGe that is known here: {error}", hint=_HINT
        ) from error
    refuse_misfit(checkpoint.path, network.state_dict(), state)
    return network, state
