"""Students: the head that is taught is the one that evaluation looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
from networks import KINDS, config_of, public_state, write_folder
from test_multiview_predictor import CPU
from tiny_students import SIZES, make, make_batch
from torch import Tensor, nn

from align3r.errors import UsageError, WeightsError
from align3r.models.cut3r.network import Cut3r
from align3r.models.lora import LoraSettings
from align3r.models.pair_network import PairNetwork
from align3r.models.vggt.network import Vggt
from align3r.pairwise.multiview.cut3r import Cut3rLook
from align3r.pairwise.multiview.vggt import VggtLook
from align3r.pairwise.registry import MODELS
from align3r.train.data.values import Batch
from align3r.train.lora import add_adapters, frozen_digest, trained_parameters
from align3r.train.options import StudentName
from align3r.train.students import STUDENTS, answer, fit_of, load_student
from align3r.types import Frames

LENGTHS = [("dust3r", 1), ("dust3r", 2), ("align3r", 2), ("cut3r", 1), ("cut3r", 3), ("vggt", 3)]


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-5)


def answered(network: nn.Module, batch: Batch, **more: Any) -> Any:
    return answer(network, batch.images, batch.point_maps, **more)


@pytest.mark.parametrize("name", SIZES)
def test_shapes(name: str) -> None:
    views = 2 if name in ("dust3r", "align3r") else 4
    batch, (height, width) = make_batch(name, 3, views), SIZES[name]
    with torch.no_grad():
        found, apart = (answered(make(name), batch, joint=joint) for joint in (True, False))
    channels = 1 if name == "vggt" else 3
    assert found.own.shape == (3, views, height, width, channels)
    assert found.points.shape == (3, views, height, width, 3)
    for confidence in (found.own_confidence, found.points_confidence):
        assert confidence.shape == (3, views, height, width)
        assert (confidence > 0).all()
    assert torch.equal(found.depth, found.own[..., -1])
    # What nobody asked for is not computed, and changes nothing.
    assert apart.points is None and apart.points_confidence is None
    assert torch.equal(apart.own, found.own)


@torch.no_grad()
def test_an_image_alone_is_both_views_of_a_pair() -> None:
    network, batch = cast(PairNetwork, make("dust3r")), make_batch("dust3r", 2, 1)
    image = batch.images[:, 0] * 2 - 1
    wanted = network((image, image))
    found = answered(network, batch)
    assert_close(found.own[:, 0], wanted.points[0])
    assert_close(found.own_confidence[:, 0], wanted.confidence[0])


@torch.no_grad()
@pytest.mark.parametrize("name", ["dust3r", "align3r"])
def test_each_view_of_a_pair_is_the_first_of_one(name: str) -> None:
    network, batch = cast(PairNetwork, make(name)), make_batch(name, 3, 2)
    one, two = (batch.images[:, k] * 2 - 1 for k in (0, 1))
    maps = batch.point_maps
    there = network((one, two), None if maps is None else (maps[:, 0], maps[:, 1]))
    back = network((two, one), None if maps is None else (maps[:, 1], maps[:, 0]))
    found = answered(network, batch)
    assert_close(found.own, torch.stack([there.points[0], back.points[0]], 1))
    assert_close(found.own_confidence, torch.stack([there.confidence[0], back.confidence[0]], 1))
    assert_close(found.points, torch.stack(there.points, 1))
    assert_close(found.points_confidence, torch.stack(there.confidence, 1))


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 4])
def test_cut3r_tells_of_frames_as_they_come(length: int) -> None:
    network, batch = cast(Cut3r, make("cut3r")), make_batch("cut3r", 2, length)
    stream = [network.encode(image) for image in (batch.images * 2 - 1).unbind(1)]
    state, outputs = network.start(2), []
    for view in stream:
        state, output = network.step(state, view)
        outputs.append(output)
    found = answered(network, batch)
    for name, part in (
        ("own", "own_points"),
        ("own_confidence", "own_confidence"),
        ("points", "points"),
        ("points_confidence", "confidence"),
    ):
        wanted = torch.stack([getattr(output, part) for output in outputs], 1)
        assert_close(getattr(found, name), wanted)


def frames_of(batch: Batch) -> tuple[Frames, Tensor]:
    """Frames of the first sample as whole numbers, and what a student is given for them."""
    whole = (batch.images[0].permute(0, 2, 3, 1) * 255).round().byte().numpy()
    size = (whole.shape[2], whole.shape[1])
    frames = Frames(whole, np.arange(len(whole)) / 10.0, np.arange(len(whole)), size, "noise")
    return frames, torch.from_numpy(whole).permute(0, 3, 1, 2)[None].float() / 255


@torch.no_grad()
def test_depth_of_cut3r_is_that_of_a_run() -> None:
    network = cast(Cut3r, make("cut3r"))
    frames, images = frames_of(make_batch("cut3r", 1, 3))
    seen = Cut3rLook(network, CPU)(frames, None, lambda *_: None)
    assert_close(answer(network, images).depth[0], seen.points[..., 2])


@torch.no_grad()
def test_depth_of_vggt_is_that_of_a_run() -> None:
    network = cast(Vggt, make("vggt"))
    frames, images = frames_of(make_batch("vggt", 1, 3))
    seen = VggtLook(network, CPU)(frames, None, lambda *_: None)
    found = answer(network, images)
    assert_close(found.depth[0], seen.points[..., 2])
    assert_close(found.own_confidence[0], seen.confidence)


@torch.no_grad()
def test_points_of_vggt_are_those_of_its_head() -> None:
    network, batch = cast(Vggt, make("vggt")), make_batch("vggt", 2, 3)
    wanted, found = network(batch.images), answered(network, batch)
    assert_close(found.points, wanted.points)
    assert_close(found.points_confidence, wanted.points_confidence)


@pytest.mark.parametrize(("name", "length"), LENGTHS)
@pytest.mark.parametrize("joint", [True, False])
def test_gradients_reach_the_adapters_and_nothing_else(name: str, length: int, joint: bool) -> None:
    network, batch = make(name), make_batch(name, 2, length)
    add_adapters(network, LoraSettings(rank=2, alpha=2.0))
    before = frozen_digest(network)
    found = answered(network, batch, joint=joint)
    loss = (found.points if joint else found.own).square().mean() + found.own_confidence.mean()
    loss.backward()
    adapters = trained_parameters(network)
    assert adapters
    for parameter, value in network.named_parameters():
        assert (value.grad is not None) is (parameter in adapters), parameter
    # A starts with no say: B is zero. So the gradient of B alone is not.
    for parameter, value in adapters.items():
        assert value.grad is not None and bool(value.grad.isfinite().all())
        assert bool(value.grad.any()) is parameter.endswith("lora_B.weight"), parameter
    assert frozen_digest(network) == before


def test_three_views_are_no_pair() -> None:
    with pytest.raises(ValueError, match="3 views"):
        answered(make("dust3r"), make_batch("dust3r", 1, 3))


def test_an_align3r_wants_its_point_maps() -> None:
    batch = make_batch("align3r", 1, 2)
    with pytest.raises(ValueError, match="point map"):
        answer(make("align3r"), batch.images)
    with pytest.raises(ValueError, match="point map"):
        answer(make("dust3r"), batch.images, batch.point_maps)


def test_every_student_is_a_model_that_is_fitted_alike() -> None:
    assert STUDENTS.keys() == set(get_args(StudentName))
    for name, student in STUDENTS.items():
        model = MODELS[name]
        assert student.takes_point_maps is (model.prior is not None)
        tiny = "align3r" if student.takes_point_maps else name.replace("monst3r", "dust3r")
        assert fit_of(make(tiny)) == model.fit


@pytest.mark.parametrize(
    ("student", "kind"), [("dust3r", "dust3r"), ("align3r-depthpro", "align3r")]
)
def test_a_student_is_loaded_in_float32(student: Any, kind: str, tmp_path: Path) -> None:
    architecture = KINDS[kind]
    state = public_state(architecture)
    folder = write_folder(tmp_path / kind, state, config_of(architecture))
    network = load_student(student, str(folder))
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert cast(PairNetwork, network).takes_point_maps is (kind == "align3r")


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    for kind, student in (("align3r", "monst3r"), ("dust3r", "align3r-depthanything")):
        architecture = KINDS[kind]
        folder = write_folder(tmp_path / kind, public_state(architecture), config_of(architecture))
        with pytest.raises(UsageError, match=f"the student is {student}"):
            load_student(cast(StudentName, student), str(folder))
        with pytest.raises(WeightsError):
            load_student("vggt", str(folder))
