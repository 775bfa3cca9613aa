"""Re-normalised adapters against the numbers of Fin3R's released network and of the formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from align3r.models.adapter_file import read_adapter
from align3r.models.lora import LoraLinear, LoraSettings, Renorm, keep_weight_norm

FOLDER = Path(__file__).parent / "fin3r"
ADAPTER = FOLDER / "vggt_tiny_fin3r_lora.safetensors"
BLOCKS = [f"aggregator.patch_embed.blocks.{k}.attn.qkv" for k in (0, 1)]


@pytest.mark.parametrize(
    ("renorm", "key"),
    [
        ("weight_row", "row"),
        ("weight_qkv", "fro_qkv"),
        ("weight_fro", "fro_whole"),
        ("weight_spectral", "spectral_whole"),
    ],
)
def test_weights_that_keep_their_norm(renorm: Renorm, key: str) -> None:
    with np.load(FOLDER / "lora_renorm_weight.npz") as golden:
        weight, delta, expected = (torch.from_numpy(golden[k]) for k in ("W", "delta", key))
    kept = keep_weight_norm(weight, delta, renorm)
    torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-6)
    a, b = read_adapter(ADAPTER).factors[BLOCKS[0]]
    torch.testing.assert_close(b @ a, delta, rtol=1e-5, atol=1e-6)


def test_the_authors_file_is_read() -> None:
    adapter = read_adapter(ADAPTER)
    assert adapter.settings == LoraSettings(rank=8, alpha=8, renorm="feature")
    assert list(adapter.factors) == BLOCKS and adapter.released
    assert all(a.shape == (8, 32) and b.shape == (96, 8) for a, b in adapter.factors.values())


@pytest.mark.parametrize("case", ["sq", "rect"])
def test_one_layer_that_keeps_the_norms_of_features(case: str) -> None:
    with np.load(FOLDER / "vggt_tiny_fin3r_io.npz") as golden:
        x, base, expected = (
            torch.from_numpy(golden[f"{case}.block0_qkv_{k}"]) for k in ("in", "base", "renorm")
        )
    with np.load(FOLDER / "lora_renorm_weight.npz") as golden:
        weight = torch.from_numpy(golden["W"])
    plain = nn.Linear(32, 96)
    plain.weight.data = weight
    plain.bias.data = (base - x @ weight.T)[0, 0]
    torch.testing.assert_close(plain(x), base, rtol=1e-5, atol=1e-5)
    adapter = read_adapter(ADAPTER)
    layer = LoraLinear(plain, adapter.settings)
    layer.lora_A.weight.data, layer.lora_B.weight.data = adapter.factors[BLOCKS[0]]
    assert (expected - base).abs().max() > 0.1
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
