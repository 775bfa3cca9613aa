"""Batches: the same bytes whoever makes them, exactly the samples that were asked for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from align3r.errors import InputError, UsageError
from align3r.train.data import batches as module
from align3r.train.data.batches import Batches, make_batches
from align3r.train.data.collate import collate
from align3r.train.data.loader import loader
from align3r.train.data.mixture import Mixture
from align3r.train.data.shares import Share
from align3r.train.data.sources import Source
from align3r.train.data.values import Batch, Sample, SourceView, UnfitFrameError, View
from align3r.train.options import DataOptions

VIDEOS, PHOTOS = 6, 30


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rendered sequences, and photographs of which every third is taller than wide."""
    rendered, photos = (tmp_path_factory.mktemp(name) for name in ("rendered", "photos"))
    Source(
        Share("rendered", rendered, 1, ("bare_room/1", "street_walk/1")),
        settings={"size": (48, 32), "frames": 6},
    )
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = photos / f"sa_{i % 2:06d}"
        folder.mkdir(exist_ok=True)
        size = (40, 30) if i % 3 else (30, 44)
        image = cv2.resize(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), size)
        cv2.imwrite(str(folder / f"sa_{i}.jpg"), image)
    return rendered, photos


def made(roots: tuple[Path, Path], **changes: Any) -> Batches:
    rendered, photos = roots
    sources = [
        Source(
            Share("rendered", rendered, VIDEOS, ("bare_room/1", "street_walk/1")),
            settings={"size": (48, 32), "frames": 6},
            seed=1,
        ),
        Source(Share("sa1b", photos, PHOTOS), seed=2),
    ]
    plan = {
        "samples": (VIDEOS, PHOTOS),
        "singles": (False, changes.get("single", "single") == "single"),
        "sizes": ((32, 16), (32, 24)),
        "lengths": (2, 3, 4),
        "effective_batch": 12,
        "views_a_batch": 4,
        "seed": 5,
    }
    given = {name: changes.pop(name) for name in list(changes) if name in plan}
    return Batches(sources, Mixture(**(plan | given)), **changes)


def same(a: Batch, b: Batch) -> bool:
    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, torch.Tensor):
            return x.dtype == y.dtype and torch.equal(x.nan_to_num(-7), y.nan_to_num(-7))
        return bool(x == y)

    return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Batch))


def steps(dataset: Batches, last: int, **how: Any) -> list[tuple[int, list[Batch]]]:
    return list(loader(dataset, last_step=last, **how))


def names_of(batches: Iterator[Batch] | list[Batch]) -> list[str]:
    return [sample[0] for batch in batches for sample in batch.names]


# Which sample comes when.


def test_an_epoch_has_exactly_the_samples_asked_for() -> None:
    mixture = Mixture(
        samples=(7, 20, 1),
        singles=(False, True, False),
        sizes=((16, 16),),
        lengths=(2,),
        effective_batch=8,
        views_a_batch=8,
    )
    for epoch in range(4):
        draws = [mixture.draw(number) for number in range(28 * epoch, 28 * (epoch + 1))]
        assert Counter(draw.share for draw in draws) == {0: 7, 1: 20, 2: 1}
        for share, count in enumerate(mixture.samples):
            visits = [draw.visit for draw in draws if draw.share == share]
            assert sorted(visits) == list(range(epoch * count, (epoch + 1) * count))
    orders = [[mixture.draw(28 * epoch + i).share for i in range(28)] for epoch in range(2)]
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])


def test_batches_of_a_step_hold_its_samples_and_fit() -> None:
    mixture = Mixture(
        samples=(10, 30),
        singles=(False, True),
        sizes=((16, 16), (32, 16)),
        lengths=(2, 3, 5, 8),
        effective_batch=20,
        views_a_batch=8,
        seed=3,
    )
    shapes = [mixture.shape(step) for step in range(300)]
    assert {shape.length for shape in shapes} == {2, 3, 5, 8}
    assert {shape.size for shape in shapes} == {(16, 16), (32, 16)}
    for step in range(30):
        parts = mixture.batches(step)
        assert sorted(number for part in parts for number in part) == list(
            range(20 * step, 20 * step + 20)
        )
        for part in parts:
            (share,) = {mixture.draw(number).share for number in part}
            assert len(part) * (1 if share else mixture.shape(step).length) <= 8


@pytest.mark.parametrize(
    "change", [{"samples": ()}, {"sizes": ()}, {"lengths": ()}, {"lengths": (2, 9)}]
)
def test_nothing_to_draw_from_is_refused(change: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"samples": (3,), "singles": (True,), "sizes": ((16, 16),)}
    with pytest.raises(UsageError):
        Mixture(**(whole | {"lengths": (2,)} | change), effective_batch=4, views_a_batch=8)


# What is in a batch.


def test_a_batch_holds_what_its_names_say(roots: tuple[Path, Path]) -> None:
    dataset = made(roots)
    seen = Counter[str]()
    for step in range(3):  # an epoch of 36 samples
        shape = dataset.mixture.shape(step)
        total = 0.0
        for number in range(dataset.micro_batches(step)):
            batch = dataset[step, number]
            count, length = len(batch.names), len(batch.names[0])
            single = batch.names[0][0].startswith("sa1b")
            assert length == (1 if single else shape.length)
            width, height = shape.size
            upright = batch.images.shape[3] > batch.images.shape[4]
            assert batch.images.shape[-2:] == ((width, height) if upright else (height, width))
            assert batch.images.shape[:3] == (count, length, 3)
            assert batch.images.dtype == torch.float32 and 0.3 < batch.images.max() <= 1
            assert (
                batch.depth.shape == batch.label.shape == (count, length, *batch.images.shape[3:])
            )
            assert batch.intrinsics.shape == (count, length, 3, 3)
            assert batch.world_from_cam.shape == (count, length, 4, 4)
            assert batch.label.isnan().all() and batch.point_maps is None
            assert batch.is_multi_view.tolist() == [not single] * count
            assert batch.depth.isnan().all() == single == batch.intrinsics.isnan().any()
            seen.update("sa1b" if single else "rendered" for _ in batch.names)
            total += batch.weight
            if not single:
                assert len(set(batch.names[0])) == length
        assert total == pytest.approx(1)
    assert seen == {"rendered": VIDEOS, "sa1b": PHOTOS}


def test_the_frames_of_a_batch_are_known_without_it(roots: tuple[Path, Path]) -> None:
    dataset = made(roots)
    for number in range(dataset.micro_batches(0)):
        names = [name for sample in dataset[0, number].names for name in sample]
        frames = dataset.frames((0, number))
        assert [view.name for view in frames] == names
        assert {view.image.shape[:2] for view in frames} <= {(32, 48), (30, 40), (44, 30)}


def test_a_batch_moves_with_all_its_tensors(roots: tuple[Path, Path]) -> None:
    batch = made(roots)[0, 0]
    moved = batch.to("meta")
    for field in fields(Batch):
        value = getattr(moved, field.name)
        if isinstance(value, torch.Tensor):
            assert value.device.type == "meta", field.name
        else:
            assert value == getattr(batch, field.name)


@pytest.mark.parametrize("single", ["repeat", "crops"])
def test_single_images_become_samples_of_many_views(roots: tuple[Path, Path], single: Any) -> None:
    dataset = made(roots, single=single, samples=(0, 10), lengths=(3,))
    batch = dataset[0, 0]
    assert batch.images.shape[1] == 3 and not batch.is_multi_view.any()
    for sample, names in zip(batch.images, batch.names, strict=True):
        assert len(set(names)) == 1
        alike = [torch.equal(sample[0], other) for other in sample[1:]]
        assert alike == [single == "repeat"] * 2


def test_a_size_is_turned_when_all_images_of_a_batch_are_upright() -> None:
    tall, wide = (
        SourceView("", np.zeros((*shape, 3), np.uint8), None, None, None)
        for shape in ((44, 30), (30, 40))
    )
    assert module._turned((32, 16), [tall, tall]) == (16, 32)
    assert module._turned((32, 16), [tall, wide]) == (32, 16)
    assert module._turned((16, 32), [tall, tall]) == (16, 32)
    assert module._turned((16, 32), [wide, wide]) == (16, 32)
    assert module._turned((16, 16), [tall]) == (16, 16)


def test_frames_are_labelled_before_they_are_cropped(roots: tuple[Path, Path]) -> None:
    def labelled(view: SourceView) -> SourceView:
        height, width = view.image.shape[:2]
        columns = np.tile(np.arange(1.0, width + 1, dtype=np.float32), (height, 1))
        return replace(view, label=columns, prior=columns)

    batch = made(roots, labelled=labelled)[0, 0]
    assert torch.isfinite(batch.label).all() and batch.point_maps is not None
    assert batch.point_maps.shape == (*batch.label.shape, 3)
    assert (batch.label.diff(dim=-1) >= 0).all() and batch.label.max() > batch.label.min()


@pytest.mark.parametrize("lost", ["depth", "intrinsics", "world_from_cam"])
def test_views_of_which_something_is_unknown_are_no_multi_view_sample(
    roots: tuple[Path, Path], lost: str
) -> None:
    calls = iter(range(100))

    def labelled(view: SourceView) -> SourceView:
        return replace(view, **{lost: None}) if next(calls) == 0 else view

    batch = made(roots, labelled=labelled, samples=(10, 0), lengths=(2,))[0, 0]
    assert batch.is_multi_view.tolist() == [False, True]


def test_views_that_do_not_fit_together_are_no_batch() -> None:
    def view(size: tuple[int, int], mapped: bool = False) -> View:
        flat = np.zeros(size, np.float32)
        points = np.zeros((*size, 3), np.float32) if mapped else None
        image = np.zeros((*size, 3), np.uint8)
        return View("v", image, flat, np.eye(3), np.eye(4), flat, points)

    small, large, mapped = view((4, 6)), view((6, 4)), view((4, 6), mapped=True)
    for views in ([(small,), (large,)], [(small,), (small, small)], [(small,), (mapped,)]):
        with pytest.raises(ValueError):
            collate([Sample(sample, is_multi_view=False) for sample in views])
    assert collate([Sample((small, small), is_multi_view=True)]).images.shape == (1, 2, 3, 4, 6)


# Who makes them.


def test_the_same_step_has_the_same_bytes_in_any_order_and_after_any_other(
    roots: tuple[Path, Path],
) -> None:
    dataset, again = made(roots), made(roots)
    keys = [(step, n) for step in (0, 1, 5) for n in range(dataset.micro_batches(step))]
    first = {key: dataset[key] for key in keys}
    assert all(same(again[key], first[key]) for key in reversed(keys))
    assert not same(first[0, 0], made(roots, seed=6)[0, 0])


def test_other_processes_make_the_same_bytes(roots: tuple[Path, Path]) -> None:
    alone = steps(made(roots), 2)
    helped = steps(made(roots), 2, workers=2)
    assert [step for step, _ in helped] == [0, 1]
    for (_, ours), (_, theirs) in zip(alone, helped, strict=True):
        assert len(ours) == len(theirs)
        assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_is_learned_does_not_depend_on_how_many_views_fit_a_batch(
    roots: tuple[Path, Path],
) -> None:
    def images(views: int) -> dict[str, bytes]:
        dataset = made(roots, views_a_batch=views, samples=(10, 0))
        (_, batches), *_ = steps(dataset, 1)
        return {
            "/".join(names): image.numpy().tobytes()
            for batch in batches
            for names, image in zip(batch.names, batch.images, strict=True)
        }

    assert images(4) == images(9)


def test_the_loss_of_a_step_is_the_mean_over_its_images(roots: tuple[Path, Path]) -> None:
    def means(views: int) -> list[tuple[float, float]]:
        dataset = made(roots, views_a_batch=views)
        found = []
        for step in range(3):
            batches = [dataset[step, n] for n in range(dataset.micro_batches(step))]
            assert sum(batch.weight for batch in batches) == pytest.approx(1)
            # Whatever an image loses: here, how bright it is.
            losses = [batch.images.mean((2, 3, 4)) for batch in batches]
            weighed = sum(float(x.mean()) * b.weight for x, b in zip(losses, batches, strict=True))
            found.append((weighed, float(torch.cat([x.flatten() for x in losses]).mean())))
        return found

    for views in (4, 7, 100):
        for weighed, mean in means(views):
            assert weighed == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_step_between_them(roots: tuple[Path, Path], world: int) -> None:
    whole = steps(made(roots), 3)
    parts = [steps(made(roots), 3, rank=rank, world=world) for rank in range(world)]
    for i, (step, batches) in enumerate(whole):
        assert all(part[i][0] == step for part in parts)
        for rank, part in enumerate(parts):
            mine = batches[rank::world]
            assert len(mine) == len(part[i][1]) > 0
            assert all(same(a, b) for a, b in zip(mine, part[i][1], strict=True))


def test_a_run_goes_on_where_it_stopped(roots: tuple[Path, Path]) -> None:
    whole = steps(made(roots), 4)
    rest = list(loader(made(roots), 2, last_step=4))
    assert [step for step, _ in rest] == [2, 3]
    for (_, a), (_, b) in zip(whole[2:], rest, strict=True):
        assert all(same(x, y) for x, y in zip(a, b, strict=True))
    before = torch.get_rng_state()
    endless = loader(made(roots))
    assert [next(endless)[0] for _ in range(2)] == [0, 1]
    endless.close()
    assert torch.equal(torch.get_rng_state(), before)


def test_more_processes_than_batches_are_refused(roots: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="processes"):
        steps(made(roots), 1, world=40)


# What cannot be read.


def test_a_damaged_image_gives_way_and_is_told_once(
    roots: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "sa_000000"
    folder.mkdir()
    for path in (roots[1] / "sa_000000").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = folder / "sa_4.jpg"
    damaged.write_bytes(damaged.read_bytes()[:100])
    sources = [Source(Share("sa1b", tmp_path, 600))]
    plan = Mixture(
        samples=(600,),
        singles=(True,),
        sizes=((32, 16),),
        lengths=(2,),
        effective_batch=6,
        views_a_batch=4,
    )
    dataset = Batches(sources, plan)
    with caplog.at_level(logging.WARNING):
        got = steps(dataset, 4)
    assert [len(names_of(batches)) for _, batches in got] == [6] * 4
    assert not any("sa_4" in name for _, batches in got for name in names_of(batches))
    told = [record.message for record in caplog.records if "sa_4.jpg" in record.message]
    assert len(told) == 1
    assert sum(len(batch.left_out) for _, batches in got for batch in batches) >= 1
    with pytest.raises(InputError, match="of the 600 samples of epoch 0"):
        steps(dataset, 30)
    for path in folder.iterdir():
        path.write_bytes(b"")
    for workers in (0, 1):
        with pytest.raises(InputError, match="empty") as refused:
            steps(dataset, 1, workers=workers)
        assert refused.value.hint


def test_who_labels_frames_and_cannot_is_no_reason_for_other_samples(
    roots: tuple[Path, Path],
) -> None:
    def broken(_view: SourceView) -> SourceView:
        raise InputError("the cache cannot be read")

    asked: list[str] = []

    def choosy(view: SourceView) -> SourceView:
        asked.append(view.name)
        if len(asked) == 1:
            raise UnfitFrameError(f"{view.name} has no depth")
        return view

    with pytest.raises(InputError, match="cache cannot be read"):
        made(roots, labelled=broken)[0, 0]
    batch = made(roots, labelled=choosy)[0, 0]
    assert batch.left_out == (f"{asked[0]} has no depth",)


# From options.


def test_options_make_batches(roots: tuple[Path, Path]) -> None:
    photos = roots[1]
    data = DataOptions(
        data=(f"20@sa1b={photos}:sa_000001",),
        sizes=("32x16",),
        lengths=(2,),
        views_a_batch=4,
        single="repeat",
        jitter=(0, 0, 0, 0),
        crop_offset=0,
    )
    dataset = make_batches(data, effective_batch=6, seed=1)
    batch = dataset[0, 0]
    assert batch.images.shape[:2] == (2, 2) and dataset.mixture.epoch == 20
    assert all("/sa_000001/" in name for name in names_of([batch]))
    with pytest.raises(UsageError, match="not trained on"):
        make_batches(replace(data, strides=("co3d=1-2",)), effective_batch=6, seed=1)
    with pytest.raises(UsageError, match="nothing to train on"):
        make_batches(replace(data, data=()), effective_batch=6, seed=1)
    with pytest.raises(InputError):
        make_batches(replace(data, data=("5@sa1b=/nowhere",)), effective_batch=6, seed=1)
