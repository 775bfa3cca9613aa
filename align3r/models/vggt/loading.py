"""From a checkpoint to a VGGT."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from align3r.models.checkpoint import Checkpoint, read_checkpoint
from align3r.models.matching import filled, refuse_misfit
from align3r.models.vggt.architecture import VggtArchitecture
from align3r.models.vggt.network import Vggt

NOT_READ = "track_head."
"""Name start of the head that follows points, which checkpoints may have."""


def load_vggt(
    path: str | Path,
    architecture: VggtArchitecture | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Vggt:
    """The network of a checkpoint, on the CPU, ready for inference.

    Float32 weights stay mapped to their file and are read when they are first used.

    Args:
        path: Folder in hub layout, .safetensors or .pt file.
        architecture: Sizes; those of VGGT-1B when not given.
        dtype: Number format of the weights; float32 when not given.

    Raises:
        WeightsError: The file cannot be read, or does not hold exactly this network.
    """
    checkpoint = read_checkpoint(path)
    network, state = fit_vggt(checkpoint, architecture)
    return filled(network, state, path=checkpoint.path, dtype=dtype)


def fit_vggt(
    checkpoint: Checkpoint, architecture: VggtArchitecture | None = None
) -> tuple[Vggt, dict[str, Tensor]]:
    """The network without numbers (on the meta device), and its tensors under its names.

    Raises:
        WeightsError: A tensor is missing, left over, of another shape, or holds no real numbers.
    """
    state = {name: t for name, t in checkpoint.state.items() if not name.startswith(NOT_READ)}
    with torch.device("meta"):
        network = Vggt(architecture or VggtArchitecture())
    refuse_misfit(checkpoint.path, network.state_dict(), state)
    return network, state
