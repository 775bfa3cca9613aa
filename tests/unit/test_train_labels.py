"""Labels of teachers: made once, kept in few bytes, and unknown where the teacher knows nothing."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset

from align3r.errors import InputError, UsageError, WeightsError
from align3r.io.priors import PriorMap
from align3r.models.dinov2 import VitArchitecture
from align3r.models.moge.estimate import estimate
from align3r.models.moge.sizes import ENCODERS
from align3r.train.data.values import SourceView
from align3r.train.frame_cache import FrameCache
from align3r.train.labels import (
    LONGEST,
    Labels,
    make_labels,
    packed,
    picked,
    true_labels,
    unpacked,
)
from align3r.train.options import TeacherOptions
from align3r.train.teacher import DepthTeacher, Label, MogeTeacher, make_teacher, teacher_id

GOLDEN = Path(__file__).parents[1] / "golden" / "multiview"
TINY = VitArchitecture(embed_dim=32, depth=4, num_heads=2, image_size=70, resampling="scale")
FILES = {"moge": "moge_v1_tiny", "moge2": "moge_v2_tiny"}
CPU = torch.device("cpu")
ROUNDING = 2.0**-11
"""Largest relative error of a number that is rounded to float16."""


@pytest.fixture
def moge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """Files of tiny MoGes, as they are published."""
    monkeypatch.setitem(ENCODERS, "dinov2_tiny14", TINY)

    def path(name: str) -> str:
        config = json.loads((GOLDEN / f"{FILES[name]}.config.json").read_text())["model_config"]
        state = load_file(GOLDEN / f"{FILES[name]}.safetensors")
        torch.save({"model_config": config, "model": state}, tmp_path / f"{name}.pt")
        return str(tmp_path / f"{name}.pt")

    return path


def photo(seed: int = 0, size: tuple[int, int] = (60, 84)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def frame(seed: int = 0, **more: Any) -> SourceView:
    return SourceView(f"sa1b/0/{seed}", photo(seed), None, None, None, **more)


@dataclass
class Counting:
    """Knows the depth of images by their colours, but not where they are dark."""

    asked: list[bytes] = field(default_factory=list)
    intrinsics: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> Label:
        self.asked.append(image.tobytes())
        depth = 1 + image.sum(-1).astype(np.float32) / 100
        return Label(np.where(image[..., 0] < 20, np.nan, depth), self.intrinsics)


def kept_by(teacher: Counting, place: Path, producer: str = "counting 1") -> Labels:
    return Labels(FrameCache(place, producer), lambda: teacher, device=CPU)


def test_a_frame_is_labelled_once(tmp_path: Path) -> None:
    teacher = Counting()
    first = kept_by(teacher, tmp_path)(frame())
    again = kept_by(teacher, tmp_path)(frame())
    assert len(teacher.asked) == 1
    assert first.label is not None and again.label is not None
    # The first time is no better than the others: a resumed run sees the same numbers.
    np.testing.assert_array_equal(first.label, again.label)
    exact = teacher(photo()).depth
    assert first.label.dtype == np.float32 and first.label.shape == exact.shape
    np.testing.assert_array_equal(np.isnan(first.label), photo()[..., 0] < 20)
    np.testing.assert_allclose(first.label, exact, rtol=1.01 * ROUNDING)


def test_other_weights_images_and_names_are_labelled_anew(tmp_path: Path) -> None:
    teacher = Counting()
    kept_by(teacher, tmp_path)(frame())
    kept_by(teacher, tmp_path, "counting 2")(frame())
    assert len(teacher.asked) == 2
    changed = frame()
    changed.image[5, 5] ^= 1
    kept_by(teacher, tmp_path)(changed)
    kept_by(teacher, tmp_path)(replace(frame(), name="another"))
    assert len(teacher.asked) == 4
    kept_by(teacher, tmp_path)(frame())
    assert len(teacher.asked) == 4


@pytest.mark.parametrize("damage", ["cut", "other arrays", "other type"])
def test_a_damaged_label_is_made_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = Counting()
    labels = kept_by(teacher, tmp_path)
    whole = labels(frame()).label
    (path,) = tmp_path.rglob("*.npz")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "other arrays":
        np.savez(path, focal=np.array(3.0))
    else:
        np.savez(path, depth=np.ones((3, 4)), scale=np.array(3.0))
    with caplog.at_level(logging.WARNING):
        made = labels(frame()).label
    assert whole is not None and made is not None
    np.testing.assert_array_equal(made, whole)
    assert len(teacher.asked) == 2 and "sa1b/0/0" in caplog.text
    labels(frame())
    assert len(teacher.asked) == 2


@given(
    st.floats(1e-6, 1e6),
    st.lists(st.floats(0.1, 1e3), min_size=1, max_size=30),
)
def test_what_is_kept_errs_by_half_a_thousandth(scale: float, values: list[float]) -> None:
    depth = np.array([values], np.float32) * np.float32(scale)
    found = unpacked(packed(Label(depth, None))).depth
    np.testing.assert_allclose(found, depth, rtol=1.02 * ROUNDING)


def test_what_float16_cannot_hold_is_not_known() -> None:
    depth = np.array([[1, 1, 1, 1e6, np.inf, np.nan, 0, -2, 1e-9]], np.float32)
    found = unpacked(packed(Label(depth, None))).depth
    np.testing.assert_array_equal(np.isfinite(found[0]), [True] * 3 + [False] * 6)
    nothing = np.full((2, 3), np.nan, np.float32)
    assert np.isnan(unpacked(packed(Label(nothing, None))).depth).all()


def test_large_labels_are_thinned_out_and_never_mixed(tmp_path: Path) -> None:
    depth = np.where(np.arange(3000) < 1500, 1, 9).astype(np.float32)[None].repeat(2000, 0)
    kept = packed(Label(depth, None))["depth"]
    assert kept.shape == (2000 * LONGEST // 3000, LONGEST)
    back = picked(unpacked(packed(Label(depth, None))).depth, depth.shape)
    np.testing.assert_allclose(np.unique(back), [1, 9], rtol=ROUNDING)
    assert (np.abs(back - depth) > 1).mean() < 0.001


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_pixel_is_picked_where_its_centre_lies(old: int, new: int) -> None:
    line = np.arange(old, dtype=np.float32)
    found = picked(line[None], (1, new))[0]
    centres = (np.arange(new) + 0.5) * old / new
    np.testing.assert_array_equal(found, np.floor(centres + 1e-9))


def test_the_teachers_camera_is_for_frames_that_have_none(tmp_path: Path) -> None:
    ours, theirs = (np.diag([f, f, 1.0]) for f in (30.0, 50.0))
    labels = kept_by(Counting(intrinsics=theirs), tmp_path)
    for _ in range(2):
        known = labels(replace(frame(), intrinsics=ours)).intrinsics
        assert known is ours
        found = labels(frame()).intrinsics
        assert found is not None
        np.testing.assert_array_equal(found, theirs)
    assert kept_by(Counting(), tmp_path, "no camera")(frame()).intrinsics is None


def test_the_truth_needs_no_cache(tmp_path: Path) -> None:
    depth = np.ones((60, 84), np.float32)
    labelled = make_labels(TeacherOptions(model="truth"), tmp_path, device=CPU)
    assert labelled is true_labels
    assert labelled(replace(frame(), depth=depth)).label is depth
    assert labelled(frame()).label is None
    assert not any(tmp_path.iterdir())


class _Frames(Dataset[Any]):
    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def __getitem__(self, key: int) -> Any:
        try:
            return self.labels(frame(key)).label
        except InputError as error:
            return str(error)


def test_a_process_that_reads_leaves_a_gpu_alone(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, "counting 1")
    kept_by(Counting(), tmp_path)(frame(0))
    read = {}
    for kind in ("cuda", "cpu"):
        labels = Labels(cache, Counting, device=torch.device(kind))
        loader = DataLoader(
            _Frames(labels),
            batch_size=None,
            sampler=[0, 1],
            num_workers=1,
            multiprocessing_context="fork",
        )
        read[kind] = list(loader)
    assert read["cuda"][0].shape == read["cpu"][1].shape == (60, 84)
    assert "no label of sa1b/0/1" in read["cuda"][1]


def test_labels_are_sent_without_their_teacher(tmp_path: Path) -> None:
    labels = Labels(FrameCache(tmp_path, "counting 1"), Counting, device=CPU)
    labels(frame(0))
    sent = pickle.loads(pickle.dumps(labels))
    assert sent._network is None and labels._network is not None
    assert sent.has(frame(0)) and not sent.has(frame(1))


@pytest.mark.parametrize("name", FILES)
def test_moge_teaches_where_its_mask_says_so(name: str, moge: Callable[[str], str]) -> None:
    options = TeacherOptions(model=name, weights=moge(name), tokens=40, precision="fp32")
    teacher = make_teacher(options, device=CPU)
    assert isinstance(teacher, MogeTeacher)
    image = photo()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    wanted = estimate(teacher.network, pixels, tokens=40)
    label = teacher(image)
    mask = wanted.mask[0].numpy()
    np.testing.assert_array_equal(np.isfinite(label.depth), mask)
    np.testing.assert_allclose(label.depth[mask], wanted.depth[0].numpy()[mask], rtol=1e-5)
    if wanted.intrinsics[0, 0, 0] > 0:
        assert label.intrinsics is not None
        v, u = np.mgrid[:60, :84]
        k, z = label.intrinsics, wanted.depth[0].numpy()
        points = np.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z], -1)
        np.testing.assert_allclose(points, wanted.points[0].numpy(), rtol=1e-4, atol=1e-5)
    else:
        assert label.intrinsics is None


def test_a_camera_that_mirrors_is_none(moge: Callable[[str], str], monkeypatch: Any) -> None:
    teacher = make_teacher(TeacherOptions(model="moge", weights=moge("moge")), device=CPU)
    found = estimate(teacher.network, torch.rand(1, 3, 60, 84), tokens=40)  # type: ignore[attr-defined]
    for focal, has in ((0.7, True), (-0.7, False), (np.nan, False)):
        k = torch.tensor([[[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]]])
        answer = replace(found, intrinsics=k)
        monkeypatch.setattr("align3r.train.teacher.estimate", lambda *_, a=answer, **__: a)
        assert (teacher(photo()).intrinsics is not None) is has


def test_one_moge_is_not_the_other(moge: Callable[[str], str]) -> None:
    options = TeacherOptions(model="moge2", weights=moge("moge"))
    with pytest.raises(WeightsError, match="holds a MoGe, and the teacher is moge2"):
        make_teacher(options, device=CPU)


def test_who_teaches_is_told_apart(moge: Callable[[str], str], tmp_path: Path) -> None:
    options = TeacherOptions(model="moge", weights=moge("moge"), precision="fp32")
    known = {teacher_id(options, device=CPU)}
    known.add(teacher_id(replace(options, tokens=99), device=CPU))
    known.add(teacher_id(replace(options, precision="bf16"), device=CPU))
    known.add(teacher_id(replace(options, weights=moge("moge2")), device=CPU))
    assert len(known) == 4
    assert teacher_id(replace(options, labels="elsewhere"), device=CPU) in known


def test_labels_of_moge_from_options(moge: Callable[[str], str], tmp_path: Path) -> None:
    options = TeacherOptions(model="moge", weights=moge("moge"), tokens=40, precision="fp32")
    labels = make_labels(options, tmp_path / "labels", device=CPU)
    label = pickle.loads(pickle.dumps(labels))(frame()).label
    assert label is not None and label.shape == (60, 84)
    Path(str(options.weights)).rename(tmp_path / "gone.pt")
    np.testing.assert_array_equal(labels(frame()).label, label)


class Disparate:
    name, kind, is_metric, batch = "some", "depth", True, 1

    def __init__(self, focal: float | None) -> None:
        self.focal = focal

    def __call__(self, images: Any) -> list[PriorMap]:
        values = np.arange(12, dtype=np.float32).reshape(3, 4) - 1
        values[2, 3] = np.inf
        return [PriorMap(values, self.focal)]


def test_any_network_for_depth_teaches() -> None:
    label = DepthTeacher(Disparate(7.0))(photo(size=(3, 4)))  # type: ignore[arg-type]
    assert np.isnan(label.depth[[0, 0, 2], [0, 1, 3]]).all()
    assert np.isfinite(label.depth).sum() == 9
    assert label.intrinsics is not None
    np.testing.assert_array_equal(label.intrinsics, [[7, 0, 1.5], [0, 7, 1], [0, 0, 1]])
    assert DepthTeacher(Disparate(None))(photo()).intrinsics is None  # type: ignore[arg-type]


def test_tokens_are_moges_alone(tmp_path: Path) -> None:
    options = TeacherOptions(model="depthpro", weights=str(tmp_path), tokens=9)
    with pytest.raises(UsageError, match="tokens"):
        make_teacher(options, device=CPU)
