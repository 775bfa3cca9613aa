"""A trained pair network as a folder in hub layout, which every command takes as weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from align3r.errors import UsageError
from align3r.io.whole import whole_or_nothing
from align3r.models.architecture import PairArchitecture
from align3r.models.checkpoint import CONFIG, TENSORS
from align3r.models.pair_network import PairNetwork
from align3r.models.upstream import SIZES

_ARGUMENTS = (*SIZES, "mlp_ratio", "head_type", "depth_mode", "conf_mode")


def save_pair_network(network: PairNetwork, folder: Path) -> None:
    """Write config.json and model.safetensors in float32, whole or not at all.

    Args:
        network: DUSt3R, MonST3R or Align3R.
        folder: Must not exist, or be such a folder, which is replaced.

    Raises:
        UsageError: The folder holds something else.
        InputError: The place cannot be written, or there is no space left.
    """
    state = {
        name: tensor.detach().cpu().float().contiguous()
        for name, tensor in network.state_dict().items()
    }
    with whole_or_nothing(folder, check=lambda: _check_free(folder)) as scratch:
        save_file(state, scratch / TENSORS, {"format": "pt"})
        # Infinities as the tokens that the hub has, which strict JSON does not know.
        text = json.dumps(upstream_config(network.architecture), indent=2)
        (scratch / CONFIG).write_text(text + "\n", encoding="utf-8")


def upstream_config(architecture: PairArchitecture) -> dict[str, Any]:
    """Constructor arguments as upstream saves them.

    The point-map branch and the widths of the heads are not among them: they show in the tensors.
    """
    return {
        **{name: getattr(architecture, name) for name in _ARGUMENTS},
        "pos_embed": f"RoPE{architecture.rope_base:g}",
        "output_mode": "pts3d",
        "patch_embed_cls": "PatchEmbedDust3R",
        "landscape_only": False,
    }


def _check_free(folder: Path) -> None:
    """Refuse to replace anything but weights."""
    if not folder.exists():
        return
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - {CONFIG, TENSORS}:
        raise UsageError(f"{folder} holds something else than weights", hint="choose another place")
