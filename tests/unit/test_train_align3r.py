"""Align3R's training: what starts as it was, what moves, what stays, what is left in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_networks import hub_folder
from networks import tiny
from torch import Tensor

from align3r.errors import UsageError, WeightsError
from align3r.models.loading import load_pair_network
from align3r.models.pair_network import PairNetwork
from align3r.train.align3r_task import FROZEN, Align3rTask
from align3r.train.data.values import Batch
from align3r.train.network_folder import save_pair_network
from align3r.train.options import Align3rOptions

HEIGHT, WIDTH = 32, 48


@pytest.fixture(scope="module")
def dust3r(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub_folder("dust3r_dpt", tmp_path_factory.mktemp("weights") / "dust3r")


@pytest.fixture(scope="module")
def align3r(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub_folder("align3r_dpt", tmp_path_factory.mktemp("weights") / "align3r")


def pairs(count: int = 2, *, seed: int = 0) -> Batch:
    """Pairs of views of anything, from two cameras a step apart."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 2, HEIGHT, WIDTH)
    k = torch.tensor([[40.0, 0, 23.5], [0, 40.0, 15.5], [0, 0, 1]])
    pose = torch.eye(4).repeat(count, 2, 1, 1)
    pose[:, 1, 0, 3] = 0.3
    return Batch(
        images=torch.rand(count, 2, 3, HEIGHT, WIDTH, generator=generator),
        depth=1 + torch.rand(shape, generator=generator),
        label=torch.full(shape, torch.nan),
        intrinsics=k.repeat(count, 2, 1, 1),
        world_from_cam=pose,
        point_maps=torch.rand(*shape, 3, generator=generator),
        is_multi_view=torch.ones(count, dtype=torch.bool),
        names=tuple((f"{i}/0", f"{i}/1") for i in range(count)),
    )


def turned(batch: Batch) -> Batch:
    def turn(values: Tensor) -> Tensor:
        return values.flip(1)

    assert batch.point_maps is not None
    return replace(
        batch,
        images=turn(batch.images),
        depth=turn(batch.depth),
        intrinsics=turn(batch.intrinsics),
        world_from_cam=turn(batch.world_from_cam),
        point_maps=turn(batch.point_maps),
    )


def task_of(weights: Path, **wanted: object) -> Align3rTask:
    return Align3rTask.from_options(Align3rOptions(weights=str(weights), **wanted))  # type: ignore[arg-type]


def learn(task: Align3rTask, batch: Batch, *, steps: int) -> list[float]:
    optimiser = torch.optim.AdamW(task.trained().values(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = task(batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_a_new_branch_changes_nothing_yet(dust3r: Path) -> None:
    batch, task = pairs(), task_of(dust3r, symmetric=False)
    plain = load_pair_network(dust3r)
    with torch.no_grad():
        ours = task.predict(batch)
        images = 2 * batch.images - 1
        theirs = plain((images[:, 0], images[:, 1]))
    answers = [(*one.points, *one.confidence) for one in (ours, theirs)]
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_an_align3r_goes_on_with_its_branch(align3r: Path) -> None:
    task = task_of(align3r)
    loaded = load_pair_network(align3r)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, task.network.state_dict()[name]), name


def test_both_ways_round_is_each_way_by_itself(align3r: Path) -> None:
    batch = pairs()
    both, one = task_of(align3r), task_of(align3r, symmetric=False)
    with torch.no_grad():
        found = both(batch)
        there, back = one(batch), one(turned(batch))
    for name in ("loss", "first_view", "second_view"):
        torch.testing.assert_close(found[name], (there[name] + back[name]) / 2)
    torch.testing.assert_close(found["loss"], found["first_view"] + found["second_view"])
    assert there["loss"] != back["loss"]


def test_the_truth_has_no_loss_but_that_of_being_unsure(
    align3r: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, task = pairs(1), task_of(align3r, symmetric=False, confidence_weight=0.0)
    exact = task.predict(batch)
    # The same scene in another unit, both views in the camera of the first.
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    rays = torch.stack([(columns - 23.5) / 40, (rows - 15.5) / 40, torch.ones(HEIGHT, WIDTH)], -1)
    own = rays * batch.depth[0, ..., None]
    seen = own + torch.tensor([[0.0, 0, 0], [0.3, 0, 0]])[:, None, None]
    output = replace(exact, points=(3 * seen[:1], 3 * seen[1:]))
    monkeypatch.setattr(task, "predict", lambda _: output)
    assert task(batch)["loss"].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("freeze", list(FROZEN))
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(freeze: str, dust3r: Path) -> None:
    task = task_of(dust3r, freeze=freeze)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    losses = learn(task, pairs(), steps=12)
    assert losses[-1] < losses[0]
    changed = {
        n.split(".")[0] for n, v in task.network.state_dict().items() if not v.equal(before[n])
    }
    branch = {"patch_embed_point_cloud", "dec_blocks_pc", "zero_convs"}
    heads = {"downstream_head1", "downstream_head2"}
    decoder = {"dec_blocks", "dec_blocks2", "dec_norm"}
    encoder = {"patch_embed", "enc_blocks", "enc_norm", "decoder_embed"}
    trained = branch | heads
    trained |= set() if freeze == "encoder+decoder" else decoder
    trained |= encoder if freeze == "none" else set()
    assert changed == trained
    assert {name.split(".")[1] for name in task.trained()} == trained


def test_the_file_of_the_weights_is_not_written_to(dust3r: Path) -> None:
    before = (dust3r / "model.safetensors").read_bytes()
    learn(task_of(dust3r, freeze="none"), pairs(), steps=2)
    assert (dust3r / "model.safetensors").read_bytes() == before


def test_where_nothing_is_known_nothing_is_learned(dust3r: Path) -> None:
    batch, task = pairs(), task_of(dust3r)
    loss = task(replace(batch, depth=torch.full_like(batch.depth, torch.nan)))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in task.trained().values())


def test_unknown_pixels_have_no_say(align3r: Path) -> None:
    batch, task = pairs(), task_of(align3r)
    batch.depth[:, :, :5] = torch.nan
    found = task(batch)["loss"]
    batch.depth[:, :, :5] = -1.0
    assert torch.equal(task(batch)["loss"], found)
    batch.depth[:, :, :5] = 7.0
    assert not torch.equal(task(batch)["loss"], found)


@pytest.mark.parametrize("count", [1, 3])
def test_only_pairs_with_depth_beside_them(count: int, align3r: Path) -> None:
    batch, task = pairs(), task_of(align3r)
    other = replace(batch, images=batch.images[:, :1].repeat(1, count, 1, 1, 1))
    for wrong in (other, replace(batch, point_maps=None)):
        with pytest.raises(ValueError, match="pairs with point maps"):
            task(wrong)


def test_a_network_without_a_branch_is_refused(dust3r: Path) -> None:
    with pytest.raises(UsageError, match="no branch"):
        Align3rTask(load_pair_network(dust3r))


def test_weights_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        task_of(tmp_path / "none.pth")


def test_pictures_are_of_the_first_frame(align3r: Path) -> None:
    task, batch = task_of(align3r), pairs()
    (picture,) = task.pictures(batch).values()
    assert picture.dtype.name == "uint8" and picture.ndim == 3 and picture.shape[2] == 3
    nothing = replace(batch, depth=torch.full_like(batch.depth, torch.nan))
    assert task.pictures(nothing) == {}


@pytest.mark.parametrize("head", ["dpt", "linear"])
@pytest.mark.parametrize("branch", [True, False])
def test_what_is_saved_is_loaded_as_it_was(head: str, branch: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PairNetwork(replace(tiny(branch=branch, head=head), rope_base=80.0, mlp_ratio=3.0))
    folder = tmp_path / "deep" / "network"
    save_pair_network(network, folder)
    save_pair_network(network, folder)  # What is there is of the same kind.
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    again = load_pair_network(folder)
    assert again.architecture == network.architecture
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_only_weights_are_replaced(align3r: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else than weights"):
        task_of(align3r).save(tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
