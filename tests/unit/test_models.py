"""Pieces of the pair network against their slow and obvious twins."""

from __future__ import annotations

import math

import pytest
import torch
from networks import tiny
from textbook import textbook_heads
from torch.nn.functional import interpolate, scaled_dot_product_attention

from align3r.config import NetworkOptions
from align3r.device import resolve_precision
from align3r.errors import UsageError
from align3r.models import heads
from align3r.models.heads import DptHead, activate, enlarged
from align3r.models.pair_network import PairNetwork
from align3r.models.precision import set_matrices
from align3r.models.transformer import attend


def random_network(*, branch: bool = False) -> PairNetwork:
    torch.manual_seed(0)
    return PairNetwork(tiny(branch=branch)).eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (9, 7), (16, 4)])
def test_enlarging_in_parts_is_bilinear_interpolation(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    whole = interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    last = x.permute(0, 2, 3, 1)
    height, width = 2 * size[0], 2 * size[1]
    for first in range(height):
        for end in range(first + 1, height + 1):
            part = enlarged(enlarged(last, 2, (0, width)), 1, (first, end))
            torch.testing.assert_close(part.permute(0, 3, 1, 2), whole[:, :, first:end])


@pytest.mark.parametrize("rows", [1, 7, 16, 48, 1000])
def test_strips_of_any_height_are_one_map(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    head = DptHead(tiny()).eval()
    before = head.head[0].out_channels
    features = torch.randn(2, before, 24, 20)
    with torch.inference_mode():
        whole = head.head[1:](features)
        monkeypatch.setattr(heads, "STRIP_ROWS", rows)
        found = head._full_size(features)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (16, 80), (80, 48)])
def test_heads_are_those_of_the_textbook(size: tuple[int, int]) -> None:
    network = random_network(branch=True)
    images = torch.rand(2, 3, *size), torch.rand(2, 3, *size)
    maps = torch.rand(2, *size, 3), torch.rand(2, *size, 3)
    with torch.inference_mode():
        found = network(images, maps)
        with textbook_heads(network):
            wanted = network(images, maps)
        again = network(images, maps)
    torch.testing.assert_close(found.points, wanted.points, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.confidence, wanted.confidence, rtol=1e-5, atol=0)
    torch.testing.assert_close(again.points, found.points, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_attention_is_attention(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (5, 7, 7))
    wanted = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    found = attend(q.to(dtype), k.to(dtype), v.to(dtype))
    assert found.dtype is dtype
    close = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}[dtype]
    torch.testing.assert_close(found.double(), wanted, rtol=close, atol=close)


def test_confidences_and_points_of_every_mode() -> None:
    raw = torch.randn(2, 4, 3, 5) * 2
    points, confidence = activate(raw, ("exp", -math.inf, math.inf), ("exp", 1, 3))
    assert points.shape == (2, 3, 5, 3) and confidence.shape == (2, 3, 5)
    assert 1 < confidence.min() and confidence.max() == 3
    a = raw[0, :3, 1, 2]
    torch.testing.assert_close(points[0, 1, 2], a / a.norm() * torch.expm1(a.norm()))
    linear, bounded = activate(raw, ("linear", -math.inf, math.inf), ("sigmoid", 1, 5))
    torch.testing.assert_close(linear, raw[:, :3].permute(0, 2, 3, 1))
    torch.testing.assert_close(bounded, 1 + 4 * torch.sigmoid(raw[:, 3]))
    square, _ = activate(raw, ("square", -math.inf, math.inf), ("exp", 1, math.inf))
    torch.testing.assert_close(square[0, 1, 2], a * a.norm())
    assert activate(torch.zeros(1, 4, 1, 1), ("exp", 0, 1), ("exp", 1, 2))[0].isfinite().all()


def test_parts_of_a_network_may_keep_their_precision() -> None:
    network = random_network()
    set_matrices(network, torch.float16, without=[network.enc_blocks[0], network.dec_blocks])
    halved = {name for name, p in network.named_parameters() if p.dtype is torch.float16}
    assert "enc_blocks.1.attn.qkv.weight" in halved and "dec_blocks2.0.attn.qkv.bias" in halved
    assert not [name for name in halved if name.startswith(("enc_blocks.0.", "dec_blocks."))]
    assert not [name for name in halved if "norm" in name or "patch_embed" in name]


def test_half_precision_halves_the_matrices_alone() -> None:
    network = random_network(branch=True).in_precision(blocks=torch.bfloat16, heads=torch.float32)
    kinds = {name: p.dtype for name, p in network.named_parameters()}
    assert kinds["enc_blocks.0.attn.qkv.weight"] is torch.bfloat16
    assert kinds["dec_blocks2.3.cross_attn.projk.bias"] is torch.bfloat16
    half = random_network().in_precision(blocks=torch.bfloat16, heads=torch.bfloat16)
    dpt = half.downstream_head1["dpt"]  # type: ignore[index]
    assert dpt.head[0].weight.dtype is dpt.head[2].weight.dtype is torch.bfloat16
    assert dpt.head[4].weight.dtype is torch.float32
    whole = {name for name, dtype in kinds.items() if dtype is torch.float32}
    assert {n for n in kinds if "norm" in n or n.startswith("downstream")} <= whole
    assert {"patch_embed.proj.weight", "zero_convs.0.0.weight"} <= whole


@pytest.mark.parametrize("size", [(33, 48), (32, 40), (8, 16)])
def test_images_need_whole_patches(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no whole patches"):
        random_network().encode(torch.zeros(1, 3, *size))


def test_point_maps_go_with_align3r_alone() -> None:
    image, point_map = torch.zeros(1, 3, 32, 32), torch.zeros(1, 32, 32, 3)
    with pytest.raises(ValueError, match="takes a point map"):
        random_network().encode(image, point_map)
    with pytest.raises(ValueError, match="takes a point map"):
        random_network(branch=True).encode(image)


def test_views_do_not_commute() -> None:
    """(a, b) and (b, a) are different questions."""
    network = random_network()
    a, b = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        one, other = network((a, b)), network((b, a))
    assert (one.points[0] - other.points[1]).abs().max() > 1e-6


def test_precision_by_name() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) is torch.float32
    assert resolve_precision("bf16", cpu) is torch.bfloat16
    assert resolve_precision(NetworkOptions().precision, cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(UsageError, match="no bf16"):
        resolve_precision("bf16", torch.device("mps"))
