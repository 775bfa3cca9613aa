"""Weights of MoGe as they are published, tiny ones, for the fuzzer to break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "multiview"
ENCODER = "dinov2_tiny14"
"""The name that the tiny configs give to their encoder."""


def write_moge(folder: Path) -> None:
    """Both versions: a .pt with config and tensors in one, and safetensors beside a config."""
    import torch
    from safetensors.torch import load_file

    for version in ("v1", "v2"):
        config, tensors = (
            GOLDEN / f"moge_{version}_tiny.{kind}" for kind in ("config.json", "safetensors")
        )
        about = json.loads(config.read_text(encoding="utf-8"))
        torch.save({**about, "model": load_file(tensors)}, folder / f"{version}.pt")
        (folder / version).mkdir()
        (folder / version / "config.json").write_text(json.dumps(about["model_config"]))
        shutil.copy(tensors, folder / version / "model.safetensors")


def read_moge(folder: Path, name: str) -> None:
    """Load the network that a file belongs to."""
    from align3r.models.dinov2 import VitArchitecture
    from align3r.models.moge.loading import load_moge
    from align3r.models.moge.sizes import ENCODERS

    tiny = VitArchitecture(embed_dim=32, depth=4, num_heads=2, image_size=70, resampling="scale")
    ENCODERS.setdefault(ENCODER, tiny)
    load_moge(folder / name.split("/")[0])
