"""From a checkpoint of the DUSt3R family to a network: names, sizes, and nothing left over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from align3r.errors import WeightsError
from align3r.models.architecture import PairArchitecture
from align3r.models.checkpoint import Checkpoint, read_checkpoint
from align3r.models.matching import HINT, filled, refuse_misfit
from align3r.models.pair_network import PairNetwork
from align3r.models.upstream import architecture_arguments, count_blocks, dpt_sizes, own_names

BRANCH = ("patch_embed_point_cloud.", "dec_blocks_pc.", "zero_convs.")
"""Name starts of what Align3R adds to DUSt3R."""


def load_pair_network(
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    with_point_maps: bool | None = None,
) -> PairNetwork:
    """The network of a checkpoint, on the CPU, ready for inference.

    Float32 weights stay mapped to their file and are read when they are first used.

    Args:
        path: Folder in hub layout, .safetensors or .pth file.
        dtype: Number format of the weights; float32 when not given.
        with_point_maps: Whether the network has Align3R's point-map branch; None: if the file has
            one. A branch that the file does not have starts with zero output, so that the network
            answers as without it; its blocks are drawn at random, always the same.

    Raises:
        WeightsError: The file cannot be read, or does not hold exactly this network.
    """
    checkpoint = read_checkpoint(path)
    network, state = fit(checkpoint, with_point_maps=with_point_maps)
    return filled(network, state, path=checkpoint.path, dtype=dtype)


def fit(
    checkpoint: Checkpoint, *, with_point_maps: bool | None = None
) -> tuple[PairNetwork, dict[str, Tensor]]:
    """The network without numbers (on the meta device), and its tensors under its names.

    Raises:
        WeightsError: A tensor is missing, left over, of another shape, or holds no real numbers.
    """
    state = own_names(checkpoint.state)
    if with_point_maps is False:
        state = {name: t for name, t in state.items() if not name.startswith(BRANCH)}
    architecture = _architecture(checkpoint, state, adds_branch=with_point_maps is True)
    with torch.device("meta"):
        network = PairNetwork(architecture)
    expected = network.state_dict()
    if with_point_maps and not any(name.startswith(BRANCH) for name in state):
        state |= _new_branch(expected)
    refuse_misfit(checkpoint.path, expected, state)
    return network, state


def _architecture(
    checkpoint: Checkpoint, state: Mapping[str, Tensor], *, adds_branch: bool
) -> PairArchitecture:
    """What the config says, and what only the tensors can say."""
    try:
        given = architecture_arguments(checkpoint.config)
    except ValueError as error:
        raise WeightsError(
            f"{checkpoint.path} has a network that is not known here: {error}", hint=HINT
        ) from error
    if "head_type" not in given and "downstream_head1.proj.weight" in state:
        given["head_type"] = "linear"
    depth = given.get("dec_depth", PairArchitecture.dec_depth)
    # Nothing in the config of an Align3R network tells it from a DUSt3R.
    if "zero_convs.0.0.weight" in state:
        given["point_map_blocks"] = count_blocks(state, "dec_blocks_pc.")
    elif adds_branch:
        given["point_map_blocks"] = depth // 2 - 2
        if given["point_map_blocks"] < 1:
            raise WeightsError(
                f"{checkpoint.path} has {depth} decoder layers, too few for a point-map branch",
                hint="a point-map branch needs a decoder of at least 6 layers",
            )
    return PairArchitecture(**given, dpt=dpt_sizes(state))


def _new_branch(expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A point-map branch before training: it adds zero, whatever it sees."""
    generator = torch.Generator().manual_seed(0)
    branch = {}
    for name, shape in ((n, t.shape) for n, t in expected.items() if n.startswith(BRANCH)):
        tensor = torch.zeros(shape)
        if not name.startswith("zero_convs."):
            if tensor.ndim > 1:
                nn.init.xavier_uniform_(tensor.flatten(1), generator=generator)
            elif name.endswith(".weight"):
                tensor += 1  # of a layer norm
        branch[name] = tensor
    return branch
