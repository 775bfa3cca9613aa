"""Fin3R's task: its loss by a slow twin, what it changes, and what it leaves for others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters import make as make_pair_network
from networks import KINDS, config_of, public_state, write_folder
from tiny_students import make, make_batch
from torch import Tensor

from align3r.models.adapter_file import read_adapter
from align3r.models.lora import LoraSettings, adapted_layers
from align3r.train import distillation
from align3r.train.data.values import Batch
from align3r.train.distillation import distilled
from align3r.train.fin3r import Fin3rTask
from align3r.train.lora import add_adapters, frozen_digest
from align3r.train.options import Fin3rOptions, LoopOptions, LoraOptions, LossOptions
from align3r.train.students import StudentAnswer, answer
from align3r.train.truth import points_in_first_camera, rays

FEW_CELLS = (8, 8)
"""For the fit of MoGe's loss, which takes time by their square."""
NAMES = ["dust3r", "align3r", "cut3r", "vggt"]


def task_of(name: str, **loss: Any) -> Fin3rTask:
    network = make(name)
    add_adapters(network, LoraSettings(rank=2, alpha=2.0), seed=1)
    generator = torch.Generator().manual_seed(5)
    for _, layer in adapted_layers(network):
        # Adapters that have learned something, so that all of them get a gradient.
        layer.lora_B.weight.data.normal_(0, 0.1, generator=generator)
    return Fin3rTask(network, loss=LossOptions(**loss))


def some_without_camera(batch: Batch) -> Batch:
    intrinsics = batch.intrinsics.clone()
    intrinsics[0, 0] = math.nan
    return replace(batch, intrinsics=intrinsics)


@torch.no_grad()
def slow_loss(task: Fin3rTask, batch: Batch, loss: LossOptions) -> float:
    """Image after image and pixel after pixel, as the paper writes it."""
    found = answer(task.network, batch.images, batch.point_maps)
    assert found.points is not None and found.points_confidence is not None
    total, images = 0.0, 0
    samples, views = batch.label.shape[:2]
    for b in range(samples):
        replay = replayed(found, batch, b, loss) if batch.is_multi_view[b] else [0.0] * views
        for s in range(views):
            images += 1
            taught = one_view(found.own[b, s], found.own_confidence[b, s], batch, (b, s), loss)
            is_taught = loss.distil_multi_view or not batch.is_multi_view[b]
            total += (taught if is_taught else 0.0) + (replay[s] if loss.replay else 0.0)
    return total / images


def one_view(own: Tensor, sure: Tensor, batch: Batch, at: Any, loss: LossOptions) -> float:
    label, k = batch.label[at].double(), batch.intrinsics[at].double()
    pixels = [(v, u) for v, u in np.ndindex(*label.shape) if label[v, u] > 0]
    ours, theirs, lengths = [], [], []
    for v, u in pixels:
        ray = torch.tensor([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], 1.0]).double()
        point, target = own[v, u].double(), ray * label[v, u]
        if k.isnan().any():
            ray = torch.tensor([0.0, 0.0, 1.0]).double()
            point, target = point[-1:], label[v, u][None]
        elif len(point) == 1:
            target = label[v, u][None]
        ours.append(point)
        theirs.append(target)
        lengths.append(ray.norm() if len(own[v, u]) == 1 and loss.normaliser == "ray" else 1.0)
    by = [
        torch.stack([p.norm() * n for p, n in zip(side, lengths, strict=True)]).mean()
        for side in (ours, theirs)
    ]
    total = 0.0
    for (v, u), p, t in zip(pixels, ours, theirs, strict=True):
        away = float((p / by[0] - t / by[1]).norm())
        away = away**2 if loss.distance == "l2sq" else away
        beta = float(sure[v, u])
        total += beta * away - loss.confidence_weight * math.log(beta)
    return total / len(pixels)


def replayed(found: Any, batch: Batch, b: int, loss: LossOptions) -> list[float]:
    first = torch.linalg.inv(batch.world_from_cam[b, 0].double())
    seen: list[list[tuple[Tensor, Tensor, float]]] = []
    for s in range(batch.depth.shape[1]):
        k, pose = batch.intrinsics[b, s].double(), batch.world_from_cam[b, s].double()
        seen.append([])
        for v, u in np.ndindex(*batch.depth.shape[-2:]):
            z = batch.depth[b, s, v, u].double()
            if not z > 0:
                continue
            ray = torch.linalg.inv(k) @ torch.tensor([u, v, 1.0]).double()
            truth = (first @ pose @ torch.cat([ray * z, torch.ones(1)]))[:3]
            point = found.points[b, s, v, u].double()
            seen[s].append((point, truth, float(found.points_confidence[b, s, v, u])))
    every = [entry for view in seen for entry in view]
    by = [sum(float(entry[i].norm()) for entry in every) / len(every) for i in (0, 1)]
    losses = []
    for view in seen:
        total = 0.0
        for point, truth, beta in view:
            away = float((point / by[0] - truth / by[1]).norm())
            away = away**2 if loss.replay_distance == "l2sq" else away
            total += beta * away - loss.replay_confidence_weight * math.log(beta)
        losses.append(total / len(view))
    return losses


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"distance": "l2", "normaliser": "ray", "confidence_weight": 0.3},
        {"replay_distance": "l2sq", "replay_confidence_weight": 0.1, "distil_multi_view": False},
        {"replay": False},
    ],
    ids=["paper", "other distances", "replay alone", "no replay"],
)
def test_loss_equals_pixel_after_pixel(name: str, options: dict[str, Any]) -> None:
    batch = make_batch(name, 2, 2, multi=[False, True])
    # A batch of single images beside one of several views, one of them without a camera.
    batch = some_without_camera(batch)
    task = task_of(name, **options)
    found = task(batch)
    assert float(found["loss"].detach()) == pytest.approx(
        slow_loss(task, batch, LossOptions(**options)), rel=2e-4
    )


@pytest.mark.parametrize(("name", "views"), [("dust3r", 1), ("cut3r", 1), ("vggt", 3)])
def test_nothing_is_replayed_where_nothing_is_known(name: str, views: int) -> None:
    batch = make_batch(name, 2, views, multi=[False, False])
    unknown = torch.full_like(batch.depth, math.nan)
    poses = torch.full_like(batch.world_from_cam, math.nan)
    found = task_of(name)(replace(batch, depth=unknown, world_from_cam=poses))
    assert found["loss"].isfinite() and found["replay"].isnan()
    torch.testing.assert_close(found["loss"], found["distillation"])


def test_a_batch_without_labels_teaches_nothing() -> None:
    task, batch = task_of("dust3r"), make_batch("dust3r", 2, 1)
    found = task(replace(batch, label=torch.full_like(batch.label, math.nan)))
    assert float(found["loss"].detach()) == 0
    found["loss"].backward()
    assert all(p.grad is not None and not p.grad.any() for p in task.trained().values())


@pytest.mark.parametrize("name", NAMES)
def test_only_adapters_learn_and_the_loss_falls(name: str) -> None:
    task, batch = task_of(name), make_batch(name, 2, 2, multi=[False, True])
    before = frozen_digest(task.network)
    trained = task.trained()
    assert trained.keys() == {n for n, p in task.named_parameters() if p.requires_grad}
    assert all(".lora_" in n and p.dtype is torch.float32 for n, p in trained.items())
    optimiser = torch.optim.AdamW(trained.values(), lr=0.01)
    losses = []
    for _ in range(15):
        loss = task(batch)["loss"]
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained.values())
        optimiser.step()
    assert losses[-1] < losses[0]
    assert frozen_digest(task.network) == before


def test_same_numbers_whatever_autocast_is_around_what_is_true() -> None:
    task, batch = task_of("vggt"), make_batch("vggt", 2, 3)
    far = batch.world_from_cam.clone()
    far[..., :3, 3] += 4096
    batch = replace(batch, world_from_cam=far)
    truth = points_in_first_camera(batch)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(points_in_first_camera(batch), truth, equal_nan=True)
        rounded = task(batch)["loss"]
    assert rounded.dtype is torch.float32
    torch.testing.assert_close(rounded, task(batch)["loss"], rtol=0.05, atol=0.05)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    task, batch = task_of("dust3r"), make_batch("dust3r", 2, 1)
    task.save(tmp_path / "result")
    adapter = read_adapter(tmp_path / "result")
    assert adapter.settings == LoraSettings(rank=2, alpha=2.0)
    folder = base_folder(tmp_path)
    again = Fin3rTask.from_options(
        Fin3rOptions(weights=str(folder), adapter=str(tmp_path / "result"))
    )
    torch.testing.assert_close(again(batch), task(batch), equal_nan=True)


def base_folder(place: Path) -> Path:
    """The weights of `adapters.make`, in hub layout."""
    state = {**public_state(KINDS["dust3r"]), **make_pair_network().state_dict()}
    return write_folder(place / "base", state, config_of(KINDS["dust3r"]))


def test_new_adapters_by_the_options(tmp_path: Path) -> None:
    options = Fin3rOptions(
        weights=str(base_folder(tmp_path)),
        lora=LoraOptions(rank=3, alpha=4.0, renorm="weight_row"),
        loop=LoopOptions(seed=7),
    )
    one, two, other = (
        Fin3rTask.from_options(o)
        for o in (options, options, replace(options, loop=LoopOptions(seed=8)))
    )
    settings = {layer.settings for _, layer in adapted_layers(one.network)}
    assert settings == {LoraSettings(rank=3, alpha=4.0, renorm="weight_row")}
    for name, value in one.trained().items():
        assert torch.equal(value, two.trained()[name])
    assert any(not torch.equal(v, other.trained()[n]) for n, v in one.trained().items())


@pytest.mark.parametrize(("name", "views"), [("dust3r", 1), ("align3r", 2), ("vggt", 3)])
def test_pictures_show_every_view_of_the_first_sample(name: str, views: int) -> None:
    task, batch = task_of(name), make_batch(name, 2, views)
    (picture,) = task.pictures(batch).values()
    (narrow,) = task.pictures(replace(batch, label=one_label(batch))).values()
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert picture.shape[1] == views * narrow.shape[1]
    unknown = torch.full_like(batch.label, math.nan)
    assert task.pictures(replace(batch, label=unknown)) == {}


def one_label(batch: Batch) -> Tensor:
    label = torch.full_like(batch.label, math.nan)
    label[:, 0] = batch.label[:, 0]
    return label


def test_validation_is_of_the_network_of_now() -> None:
    told: list[str] = []
    task = task_of("dust3r")
    assert task.validate(lambda *_: None) == {}

    def validation(network: Any, report: Any) -> dict[str, float]:
        assert network is task.network
        report("validation", 0, 1)
        return {"x/abs_rel": 0.25}

    task = Fin3rTask(task.network, validation=validation)
    assert task.validate(lambda stage, *_: told.append(stage)) == {"x/abs_rel": 0.25}
    assert told == ["validation"]


@pytest.mark.parametrize("name", ["dust3r", "vggt"])
def test_in_moges_form_neither_scale_nor_shift_counts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "CELLS", FEW_CELLS)
    batch = make_batch(name, 2, 2)
    along = rays(batch.label.shape[-2:], batch.intrinsics)
    off = torch.rand(batch.label.shape, generator=torch.Generator().manual_seed(0)) + 1

    def loss(scale: float, shift: float) -> Tensor:
        depth = scale * batch.label * off + shift
        own = depth[..., None]
        if name == "dust3r":
            own = along * (scale * batch.label * off)[..., None]
            own = own + torch.tensor([0.0, 0.0, shift])
        answered = StudentAnswer(own.nan_to_num(), torch.ones_like(off))
        return distilled(answered, batch, LossOptions(form="moge"))

    found = loss(1.0, 0.0)
    assert found.shape == (2, 2) and (found > 0.01).all()
    torch.testing.assert_close(loss(7.0, 0.0), found, rtol=1e-3, atol=1e-4)
    if name == "dust3r":
        torch.testing.assert_close(loss(2.0, 0.5), found, rtol=1e-3, atol=1e-4)


def test_in_moges_form_the_truth_is_right_and_adapters_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distillation, "CELLS", FEW_CELLS)
    batch = make_batch("vggt", 1, 2)
    right = StudentAnswer(3 * batch.label[..., None].nan_to_num(1.0), torch.ones_like(batch.label))
    assert distilled(right, batch, LossOptions(form="moge")).abs().max() < 1e-5
    task = task_of("vggt", form="moge")
    unknown = torch.full_like(batch.label, math.nan)
    assert task(replace(batch, label=unknown, is_multi_view=torch.tensor([False])))["loss"] == 0
    task(batch)["loss"].backward()
    assert all(
        p.grad is not None and bool(p.grad.isfinite().all()) for p in task.trained().values()
    )
    assert any(bool(p.grad.any()) for p in task.trained().values() if p.grad is not None)


def test_rays_pass_through_the_centres_of_pixels() -> None:
    k = torch.tensor([[20.0, 0, 3], [0, 10, 2], [0, 0, 1]])
    found = rays((4, 6), k)
    assert found.shape == (4, 6, 3)
    torch.testing.assert_close(found[2, 3], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(found[0, 5], torch.tensor([0.1, -0.2, 1.0]))
