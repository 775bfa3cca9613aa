"""Devices without float64: what is computed in it elsewhere is near enough in float32."""

from __future__ import annotations

import pytest
import torch
from tiny_students import make_batch
from torch import Tensor

from align3r.device import exact_dtype
from align3r.models.moge import alignment
from align3r.train import losses, truth


def test_the_widest_floats_of_each_device() -> None:
    assert exact_dtype(torch.device("mps")) is torch.float32
    assert exact_dtype(torch.device("cpu")) is exact_dtype(torch.device("cuda")) is torch.float64


def numbers() -> list[Tensor]:
    """All that asks for exact numbers, of random ones."""
    generator = torch.Generator().manual_seed(0)
    batch = make_batch("dust3r", 1, 2, multi=[True])
    # As in float32 far from the origin of the world: only differences of positions count.
    batch.world_from_cam[..., :3, 3] += torch.tensor([4096.0, -2048.0, 1024.0])
    x = 1 + torch.rand(1, 30, 3, generator=generator)
    y = 2 * x + torch.tensor([0.0, 0.0, 0.5])
    weights = torch.ones(1, 30)
    fit = alignment.fit_scale_and_shift(x, y, weights, shifted=(False, False, True))
    depth, label = (1 + torch.rand(1, 8, 8, generator=generator) for _ in range(2))
    return [
        truth.points_in_first_camera(batch),
        fit.scale,
        fit.shift,
        alignment.fit_scale(x, 3 * x, torch.ones_like(x)).scale,
        losses.affine_invariant_errors(depth, label, depth > 1.1),
    ]


def test_nothing_needs_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = numbers()

    def refused(*_: object) -> Tensor:
        raise TypeError("there is no float64")

    for module in (alignment, losses, truth):
        monkeypatch.setattr(module, "exact_dtype", lambda _device: torch.float32)
    monkeypatch.setattr(Tensor, "double", refused)
    for found, there in zip(numbers(), wanted, strict=True):
        assert found.dtype is torch.float32
        torch.testing.assert_close(found, there.float(), rtol=1e-4, atol=1e-4, equal_nan=True)
