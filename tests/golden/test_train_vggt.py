"""A whole VGGT with the adapter of Fin3R against the numbers of the released code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_vggt import FOLDER as NETWORK
from tiny_multiview import TINY_VGGT

from align3r.models.adapter_file import apply_adapter
from align3r.models.lora import adapted_layers
from align3r.models.vggt.loading import load_vggt
from align3r.models.vggt.network import Vggt

FOLDER = Path(__file__).parent / "fin3r"
EXACT = 1e-5


@pytest.fixture(scope="module")
def network() -> Vggt:
    network = load_vggt(NETWORK / "vggt_tiny.safetensors", TINY_VGGT)
    apply_adapter(network, FOLDER / "vggt_tiny_fin3r_lora.safetensors")
    return network


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("case", ["sq", "rect"])
def test_everything_a_network_says(network: Vggt, case: str) -> None:
    with np.load(NETWORK / "vggt_tiny_io.npz") as file:
        plain = {k: file[f"{case}.{k}"] for k in ("images", "depth")}
    with np.load(FOLDER / "vggt_tiny_fin3r_io.npz") as file:
        golden = {k.removeprefix(f"{case}."): file[k] for k in file.files if k.startswith(case)}
    answer = network(torch.from_numpy(plain["images"]))
    found = {
        "pose_enc": answer.pose_encoding,
        "depth": answer.depth[..., None],
        "depth_conf": answer.depth_confidence,
        "world_points": answer.points,
        "world_points_conf": answer.points_confidence,
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, golden[name], rtol=EXACT, atol=EXACT, err_msg=name)
    # The adapter says more than rounding does.
    assert np.abs(golden["depth"] - plain["depth"]).max() > 100 * EXACT


def test_only_the_image_encoder_is_adapted(network: Vggt) -> None:
    names = [name for name, _ in adapted_layers(network)]
    assert names == [f"aggregator.patch_embed.blocks.{k}.attn.qkv" for k in (0, 1)]
