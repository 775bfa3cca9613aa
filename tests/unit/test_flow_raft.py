"""RAFT: what it is fed, what comes back, and where its weights come from."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_flow_hub_file import cut_short, save, torch_home
from torch import Tensor, nn

from align3r.errors import Align3rError, MissingExtraError, SolveError, WeightsError
from align3r.flow import raft
from align3r.flow.choose import FLOWS, make_flow
from align3r.flow.dis import DisFlow
from align3r.flow.pairs import pair_flows
from align3r.flow.protocol import BatchedFlow
from align3r.flow.raft import RaftFlow
from align3r.parallel import in_threads

__all__ = ["torch_home"]

CPU = torch.device("cpu")
SIZES = [(128, 128), (136, 200), (129, 131), (20, 30), (1, 300)]


class Echo(nn.Module):
    """In place of the network: the last flow is the red of both images, as it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.fed: list[tuple[int, ...]] = []
        self.inside = 0

    def forward(self, source: Tensor, target: Tensor) -> list[Tensor]:
        self.inside += 1
        assert self.inside == 1, "called by two threads at once"
        assert not torch.is_grad_enabled() and not self.training
        assert source.shape == target.shape and source.dtype == torch.float32
        self.fed.append(tuple(source.shape))
        time.sleep(0.002)
        flow = self.scale * torch.stack([source[:, 0], target[:, 0]], 1)
        self.inside -= 1
        return [torch.full_like(flow, 99.0), flow]


def pretend_torchvision(
    monkeypatch: pytest.MonkeyPatch, url: str = "file:///nowhere/raft-0123abcd.pth"
) -> Echo:
    """A torchvision whose network is `Echo`, the one that is returned."""
    network = Echo()
    zoo = ModuleType("torchvision.models.optical_flow")
    published = SimpleNamespace(C_T_SKHT_V2=SimpleNamespace(url=url))
    vars(zoo).update(raft_large=lambda weights, progress: network, Raft_Large_Weights=published)
    for name in ("torchvision", "torchvision.models", zoo.__name__):
        monkeypatch.setitem(sys.modules, name, zoo)
    return network


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RaftFlow, Echo]:
    network = pretend_torchvision(monkeypatch)
    return RaftFlow(CPU, weights=save(network.state_dict(), tmp_path)), network


def random_images(n: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *shape, 3), np.uint8)


@pytest.mark.parametrize("shape", SIZES)
def test_images_are_normalised_and_padded_and_the_flow_is_cut_to_their_size(
    echo: tuple[RaftFlow, Echo], shape: tuple[int, int]
) -> None:
    flow, network = echo
    images = random_images(2, shape)
    seen = flow(images[0], images[1])
    assert seen.dtype == np.float32 and seen.flags.c_contiguous
    for k in (0, 1):
        np.testing.assert_allclose(seen[..., k], images[k, ..., 0] / 127.5 - 1, atol=1e-6)
    (_, _, height, width) = network.fed[0]
    assert (height, width) == tuple(max(128, (side + 7) // 8 * 8) for side in shape)


def test_the_border_is_repeated_around_the_image(echo: tuple[RaftFlow, Echo]) -> None:
    flow, network = echo
    kept: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].clone()))
    images = random_images(2, (130, 128))
    flow(images[0], images[1])
    padded = kept[0][0].permute(1, 2, 0).numpy()
    expected = np.pad(images[0], ((3, 3), (0, 0), (0, 0)), mode="edge") / 127.5 - 1
    np.testing.assert_allclose(padded, expected, atol=1e-6)


def test_a_start_is_not_looked_at_and_the_images_are_left_as_they_are(
    echo: tuple[RaftFlow, Echo],
) -> None:
    flow, _ = echo
    images = random_images(2, (20, 30))
    images.flags.writeable = False
    started = flow(images[0], images[1], start=np.full((20, 30, 2), np.nan, np.float32))
    np.testing.assert_array_equal(started, flow(images[0], images[1]))


def test_pairs_go_through_in_batches_in_their_order(echo: tuple[RaftFlow, Echo]) -> None:
    flow, network = echo
    assert isinstance(flow, BatchedFlow) and not isinstance(DisFlow(), BatchedFlow)
    images = np.stack([np.full((20, 30, 3), 40 * k, np.uint8) for k in range(5)])
    edges = np.array([[0, 3], [2, 1], [3, 0], [4, 1]])
    seen: list[tuple[int, int]] = []
    flows = pair_flows(images, edges, flow, on_pair=lambda k, n: seen.append((k, n)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [shape[0] for shape in network.fed] == [2, 2, 2]
    fed = 40 * edges / 127.5 - 1
    for row, (i, j) in enumerate(fed):
        assert np.abs(flows.forward[row] - (i, j)).max() < 1e-3
        assert np.abs(flows.backward[row] - (j, i)).max() < 1e-3


def test_an_uneven_number_of_flows_fits_any_batch(
    echo: tuple[RaftFlow, Echo], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, network = echo
    images = np.stack([np.full((20, 30, 3), 40 * k, np.uint8) for k in range(5)])
    ways = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]
    one = [flow(images[i], images[j]) for i, j in ways]
    for size in (1, 2, 3, 5, 16):
        monkeypatch.setattr(flow, "_batch", lambda shape, size=size: size)
        network.fed.clear()
        np.testing.assert_array_equal(list(flow.many(images, ways)), one)
        assert [shape[0] for shape in network.fed] == [size] * (5 // size) + [5 % size] * (
            5 % size > 0
        )
    assert list(flow.many(images, [])) == []


def test_batches_on_a_gpu_shrink_with_the_image_and_never_to_nothing(
    echo: tuple[RaftFlow, Echo], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, _ = echo
    monkeypatch.setattr(flow, "_device", torch.device("meta"))
    sizes = [flow._batch((side, side)) for side in (1, 128, 512, 768, 1024, 4096)]
    assert sizes == [16, 16, 12, 2, 1, 1]


def test_threads_take_turns(echo: tuple[RaftFlow, Echo]) -> None:
    flow, _ = echo
    images = random_images(6, (20, 30))
    together = list(in_threads(lambda k: flow(images[k], images[0]), range(6)))
    for k in range(6):
        np.testing.assert_array_equal(together[k], flow(images[k], images[0]))


def test_a_flow_that_is_not_a_number_is_said(echo: tuple[RaftFlow, Echo]) -> None:
    flow, network = echo
    with torch.no_grad():
        network.scale.fill_(float("nan"))
    with pytest.raises(SolveError, match="not a number"):
        flow(*random_images(2, (20, 30)))


# Weights.


def test_a_path_without_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_torchvision(monkeypatch)
    with pytest.raises(WeightsError, match=r"mine\.pth cannot be read: No such file"):
        RaftFlow(CPU, weights=tmp_path / "mine.pth")


def test_weights_of_another_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_torchvision(monkeypatch, url="file:///published.pth")
    with pytest.raises(WeightsError, match="does not hold the weights") as caught:
        RaftFlow(CPU, weights=save({"other": torch.ones(())}, tmp_path))
    assert "file:///published.pth" in caught.value.hint


def hide_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of its modules that others have imported."""
    loaded = [name for name in sys.modules if name.partition(".")[0] == "torchvision"]
    for name in ("torchvision", "torchvision.models.optical_flow", *loaded):
        monkeypatch.setitem(sys.modules, name, None)


def test_without_torchvision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_torchvision(monkeypatch)
    with pytest.raises(MissingExtraError, match="torchvision") as caught:
        make_flow("raft", CPU)
    assert "align3r[raft]" in caught.value.hint


def test_a_torchvision_for_another_torch_is_told_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('no operator torchvision::nms')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="no operator torchvision::nms"):
        RaftFlow(CPU)


# The choice.

GPU = torch.device("meta")
"""Not a CPU, and there on every machine."""


def test_auto_is_dis_without_a_gpu(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="align3r")
    assert isinstance(make_flow("auto", CPU), DisFlow)
    assert "flow: DIS" in caplog.text and "without a GPU" in caplog.text


def test_auto_on_a_gpu_takes_raft_only_if_it_is_all_there(
    tmp_path: Path,
    torch_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="align3r")
    origin = save(Echo().state_dict(), tmp_path)

    def chosen() -> str:
        caplog.clear()
        flow = make_flow("auto", GPU)
        assert len(caplog.records) == 1
        return flow.name

    hide_torchvision(monkeypatch)
    assert chosen() == "dis" and "align3r[raft]" in caplog.text
    pretend_torchvision(monkeypatch, url=origin.as_uri())
    assert chosen() == "dis" and str(torch_home) in caplog.text
    assert not torch_home.exists(), "nothing is downloaded that nobody asked for"
    assert make_flow("raft", CPU).name == "raft" and torch_home.exists()
    assert chosen() == "raft" and "flow: RAFT" in caplog.text
    cut_short(torch_home / origin.name)
    assert chosen() == "dis" and "cut short" in caplog.text


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_asked_for_by_name_is_never_another(
    name: Any, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_torchvision(monkeypatch)
    try:
        assert make_flow(name, CPU).name == name
    except Align3rError as error:
        assert name == "raft" and error.exit_code == 6


# The real network, with random weights.


@pytest.fixture(scope="module")
def zoo() -> Any:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    return importlib.import_module("torchvision.models.optical_flow")


@pytest.fixture
def real(zoo: Any, tmp_path: Path) -> Iterator[tuple[RaftFlow, Any]]:
    torch.manual_seed(0)
    network = zoo.raft_large(weights=None).eval()
    yield RaftFlow(CPU, weights=save(network.state_dict(), tmp_path)), network


def test_torchvision_publishes_what_we_look_for(zoo: Any, torch_home: Path) -> None:
    found = raft._published(zoo)
    assert zoo.Raft_Large_Weights.DEFAULT.url == found.url
    assert zoo.Raft_Large_Weights.DEFAULT.meta["num_params"] == sum(
        p.numel() for p in zoo.raft_large(weights=None).parameters()
    )
    assert found.place.parent == torch_home and found.place.suffix == ".pth"


@pytest.mark.parametrize("shape", [(128, 136), (131, 150), (40, 60)])
def test_the_flow_is_that_of_torchvision_called_directly(
    zoo: Any, real: tuple[RaftFlow, Any], shape: tuple[int, int]
) -> None:
    flow, network = real
    images = random_images(2, shape)
    height, width = (max(128, (side + 7) // 8 * 8) for side in shape)
    top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
    margins = ((0, 0), (top, height - shape[0] - top), (left, width - shape[1] - left), (0, 0))
    padded = torch.from_numpy(np.pad(images, margins, mode="edge")).permute(0, 3, 1, 2)
    source, target = zoo.Raft_Large_Weights.DEFAULT.transforms()(padded[:1], padded[1:])
    with torch.no_grad():
        whole = network(source, target)[-1][0].permute(1, 2, 0).numpy()
    direct = whole[top : top + shape[0], left : left + shape[1]]
    np.testing.assert_allclose(flow(*images), direct, atol=1e-3)


def test_the_real_network_can_be_asked_by_threads_and_in_batches(
    real: tuple[RaftFlow, Any],
) -> None:
    flow, _ = real
    images = random_images(3, (60, 140))
    ways = [(0, 1), (1, 0), (1, 2)]
    alone = [flow(images[i], images[j]) for i, j in ways]
    assert np.abs(alone[0] - alone[2]).max() > 0.01
    together = list(in_threads(lambda way: flow(images[way[0]], images[way[1]]), ways))
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(list(flow.many(images, ways)), alone, atol=1e-3)


def test_half_precision_is_near_full_precision(real: tuple[RaftFlow, Any], tmp_path: Path) -> None:
    flow, network = real
    half = RaftFlow(CPU, dtype=torch.bfloat16, weights=save(network.state_dict(), tmp_path))
    images = random_images(2, (128, 136))
    full, rough = flow(*images), half(*images)
    assert rough.dtype == np.float32
    assert np.abs(full - rough).mean() < 0.1 * np.abs(full).mean() + 0.05
    assert not np.array_equal(full, rough)
