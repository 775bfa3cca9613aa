"""The reference's tiny networks: their weights in hub layout, their inputs and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import write_folder
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent / "golden" / "networks"
NAMES = ("dust3r_dpt", "dust3r_linear", "align3r_dpt")
CASES = [
    (name, case)
    for name in NAMES
    for case in ("landscape", "portrait", "wide", "mixed")
    if case != "mixed" or name == "dust3r_dpt"
]


def hub_folder(name: str, folder: Path) -> Path:
    """The weights of a golden network as a folder of the hub."""
    model = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["model"]
    config = {key: _number(value) for key, value in model.items()}
    return write_folder(folder, load_file(FOLDER / f"{name}.safetensors"), config)


def _number(value: Any) -> Any:
    """JSON has no infinity: the fixtures spell it."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) if value in ("inf", "-inf") else value


def arrays(name: str, case: str) -> dict[str, np.ndarray]:
    """Inputs and outputs of one case."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        return dict(_of(stored, case))


def _of(stored: Any, case: str) -> Iterator[tuple[str, np.ndarray]]:
    for key in stored.files:
        if key.startswith(f"{case}/"):
            yield key.removeprefix(f"{case}/"), stored[key]


def images(golden: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) network inputs of both views."""
    first, second = (
        (torch.from_numpy(golden[key]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        for key in ("img1", "img2")
    )
    return first, second


def point_maps(golden: dict[str, np.ndarray]) -> tuple[Tensor, Tensor] | None:
    """(B, H, W, 3) point maps of both views, if the network takes them."""
    if "pred_depth1" not in golden:
        return None
    first, second = (
        torch.from_numpy(golden[key]).float() for key in ("pred_depth1", "pred_depth2")
    )
    return first, second
