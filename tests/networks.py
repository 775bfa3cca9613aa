"""Tiny pair networks with random weights, and the files that public ones come in."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from align3r.models.architecture import DptSizes, PairArchitecture
from align3r.models.pair_network import PairNetwork

INFINITE = {"depth_mode": ("exp", -math.inf, math.inf), "conf_mode": ("exp", 1, math.inf)}


def tiny(*, branch: bool = False, head: str = "dpt") -> PairArchitecture:
    """A network of a few thousand numbers; with or without a point-map branch."""
    sizes = DptSizes(feature_dim=8, last_dim=4, layer_dims=(3, 4, 5, 6))
    return PairArchitecture(
        enc_embed_dim=24,
        enc_depth=2,
        enc_num_heads=3,
        dec_embed_dim=16,
        dec_depth=8,
        dec_num_heads=2,
        head_type=head,  # type: ignore[arg-type]
        dpt=sizes if head == "dpt" else DptSizes(),
        point_map_blocks=2 if branch else 0,
    )


KINDS = {"dust3r": tiny(), "linear": tiny(head="linear"), "align3r": tiny(branch=True)}


def config_of(architecture: PairArchitecture) -> dict[str, Any]:
    """Constructor arguments as upstream saves them: nothing about the DPT sizes or the branch."""
    names = "enc_embed_dim enc_depth enc_num_heads dec_embed_dim dec_depth dec_num_heads head_type"
    return {
        **{name: getattr(architecture, name) for name in names.split()},
        **INFINITE,
        "pos_embed": "RoPE100",
        "img_size": (64, 64),
        "output_mode": "pts3d",
        "landscape_only": False,
        "patch_embed_cls": "PatchEmbedDust3R",
    }


def public_state(architecture: PairArchitecture, *, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under upstream's names: aliases and never used ones are there too."""
    generator = torch.Generator().manual_seed(seed)
    wide, width = architecture.dpt.feature_dim, architecture.dec_embed_dim
    shapes = {name: t.shape for name, t in PairNetwork(architecture).state_dict().items()}
    shapes["mask_token"] = torch.Size((1, 1, width))
    if architecture.head_type == "dpt":
        for head in ("downstream_head1", "downstream_head2"):
            for conv in ("conv1", "conv2"):
                name = f"{head}.dpt.scratch.refinenet4.resConfUnit1.{conv}"
                shapes[f"{name}.weight"] = torch.Size((wide, wide, 3, 3))
                shapes[f"{name}.bias"] = torch.Size((wide,))
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return state | aliases(state)


def aliases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The second names that upstream's DPT heads have for their lateral convolutions."""
    found = {}
    for name, tensor in state.items():
        start, lateral, number = name.partition(".scratch.layer")
        if lateral and number[1:] == "_rn.weight":
            found[f"{start}.scratch.layer_rn.{int(number[0]) - 1}.weight"] = tensor
    return found


def write_folder(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    """Hub layout: config.json with infinities as tokens; shared tensors once, named in metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    twice = aliases(state)
    metadata = {"format": "pt"}
    for alias, tensor in twice.items():
        if alias in state:
            metadata[alias] = next(n for n, t in state.items() if t is tensor and n != alias)
    once = {name: t.contiguous() for name, t in state.items() if name not in twice}
    save_file(once, folder / "model.safetensors", metadata=metadata)
    (folder / "config.json").write_text(json.dumps(dict(config)))
    return folder


def constructor(config: Mapping[str, Any]) -> str:
    """The call that a .pth file keeps: `-inf` and `inf` are names in it."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in config.items())
    return f"AsymmetricCroCo3DStereo({arguments})"


def write_pth(path: Path, state: Mapping[str, Tensor], call: str, *, new: bool = True) -> Path:
    """A training checkpoint; `new`: in the zip format."""
    args = argparse.Namespace(model=call, lr=1e-4, pretrained=None)
    saved = {"args": args, "model": dict(state), "epoch": 3, "best_so_far": 0.5}
    torch.save(saved, path, _use_new_zipfile_serialization=new)
    return path


def assert_holds(network: PairNetwork, state: Mapping[str, Tensor]) -> None:
    """Every tensor of the network is the one of that name."""
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
